"""What all metrics share: the check of their two arrays, and which way is better."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError

__all__ = ["both_classes", "metric", "require_scores"]

_Function = TypeVar("_Function", bound=Callable[..., float])


def metric(
    *,
    lower_is_better: bool,
    of_sweep: Callable[..., NDArray[Any]] | None = None,
    order_only: bool = True,
) -> Callable[[_Function], _Function]:
    """Mark a function as a metric: say which way is better.

    Args:
        lower_is_better: true for errors and costs, false for accuracies.
        of_sweep: the same metric as a function of a `curves.Sweep` and the metric's settings, for
            many resamples at once; without it the bootstrap calls the metric once a draw.
        order_only: whether only the order of the scores counts. False where a score is read as a
            number, as a log-likelihood ratio or beside a threshold.

    >>> @metric(lower_is_better=True)
    ... def share_of_spoofs_above_zero(bonafide, spoof):
    ...     return float(np.mean(np.asarray(spoof) > 0))
    >>> share_of_spoofs_above_zero.lower_is_better
    True
    """

    def mark(function: _Function) -> _Function:
        vars(function).update(lower_is_better=lower_is_better, of_sweep=of_sweep, order_only=order_only)
        return function

    return mark


def both_classes(
    bonafide: ArrayLike, spoof: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both arrays as float64, checked.

    >>> both_classes([1, 2], [0])
    (array([1., 2.]), array([0.]))

    Raises:
        ProtocolError: not numbers, not one-dimensional, empty, NaN or infinite.
    """
    return require_scores(bonafide, "bonafide"), require_scores(spoof, "spoof")


def require_scores(values: ArrayLike, label: str) -> NDArray[np.float64]:
    """The scores of one kind of trial as float64, checked; ``label`` names it in messages.

    Raises:
        ProtocolError: not numbers, not one-dimensional, empty, NaN or infinite.
    """
    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{label} scores are not an array of real numbers ({error}).") from None
    if scores.ndim != 1:
        raise ProtocolError(
            f"{label} scores have the shape {scores.shape}; expected one number for each trial."
        )
    if not len(scores):
        raise ProtocolError(f"no {label} scores: error rates need trials of both classes.")
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ProtocolError(
            f"{len(wrong)} of {len(scores)} {label} scores are NaN or infinite, "
            f"first {scores[wrong[0]]} at position {wrong[0]}; scores are finite."
        )
    return scores
