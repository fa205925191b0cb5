"""What one score file is worth, as a page: metrics, curves, conditions and a review budget."""

from earwitness.scorecard.page import render
from earwitness.scorecard.result import Scorecard

__all__ = ["Scorecard", "render"]
