"""Metrics: scores of bonafide and of spoof trials -> one number. One file each; this is the table.

A metric is a function ``f(bonafide, spoof, *, settings) -> float`` of two one-dimensional arrays.
Scores are real, higher = more bonafide, and never flipped; values are fractions, not per cent.
"""

from earwitness.errors import SettingsError
from earwitness.shelf import Shelf

__all__ = ["METRICS", "lower_is_better"]

METRICS = Shelf(
    "earwitness.metrics",
    "metric",
    {
        "eer": "eer:eer",
        "eer_challenge": "eer_challenge:eer_challenge",
        "eer_min_both_signs": "eer_min_both_signs:eer_min_both_signs",
        "min_dcf": "min_dcf:min_dcf",
        "min_tdcf": "min_tdcf:min_tdcf",
        "min_tdcf_legacy": "min_tdcf_legacy:min_tdcf_legacy",
        "act_dcf": "act_dcf:act_dcf",
        "cllr": "cllr:cllr",
        "min_cllr": "min_cllr:min_cllr",
        "auc": "auc:auc",
        "average_precision": "average_precision:average_precision",
        "accuracy": "accuracy:accuracy",
        "balanced_accuracy": "balanced_accuracy:balanced_accuracy",
        "f1": "f1:f1",
    },
    helpers=(
        *("asv", "base", "bootstrap", "continual", "curves", "decisions", "paired", "review"),
        *("sasv", "search", "seeds", "t_eer", "units"),
    ),
)


def lower_is_better(name: str) -> bool:
    """Whether a smaller value of the metric called ``name`` is a better one.

    >>> lower_is_better("eer"), lower_is_better("auc")
    (True, False)

    Raises:
        SettingsError: no such metric, or an installed one that does not say.
    """
    direction = getattr(METRICS.get(name), "lower_is_better", None)
    if direction is None:
        raise SettingsError(
            f"metric {name!r} does not say whether lower is better; "
            "mark its function with @metric(lower_is_better=...) of earwitness.metrics.base."
        )
    return bool(direction)
