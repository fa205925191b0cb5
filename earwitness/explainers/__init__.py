"""Explainers: which parts of a window, in time and frequency, a detector's score rests on.

One method a file, in this table. They change the recording and look at the score, so they work with any
detector that hears audio; the methods themselves are captum's.
"""

from earwitness.explainers.base import Attribution, Explainer, agreement, randomised
from earwitness.shelf import Shelf

__all__ = ["EXPLAINERS", "Attribution", "Explainer", "agreement", "randomised"]

EXPLAINERS = Shelf(
    "earwitness.explainers",
    "explainer",
    {
        "occlusion": "occlusion:Occlusion",
        "integrated-gradients": "integrated_gradients:IntegratedGradients",
    },
    helpers=("base",),
)
