"""What may be said of the methods: differences, marks, fronts, and the sentences these earn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from earwitness.comparison.reading import View
from earwitness.comparison.result import Mark, Method
from earwitness.comparison.statistics import UNITS, Difference, holm, paired
from earwitness.comparison.words import (
    LEVEL,
    MEASURES,
    counted,
    enumerated,
    higher_is_better,
    name_of,
    verdict,
)
from earwitness.metrics import lower_is_better
from earwitness.report.words import percent

__all__ = ["against", "fronts", "headline", "mark", "marks", "notes", "pairs"]

_FEWEST = 3  # units; the interval of two is far too wide, or by accident far too narrow
