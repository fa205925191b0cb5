"""Accuracy at a threshold that was chosen elsewhere."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep, sweep
from earwitness.metrics.decisions import require_threshold

__all__ = ["accuracy"]


def _of_sweep(counts: Sweep, *, threshold: float) -> NDArray[np.float64]:
    missed, rejected = counts.below(require_threshold(threshold, "accuracy"))
    all_bonafide, all_spoof = counts.bonafide[..., -1], counts.spoof[..., -1]
    return (all_bonafide - missed + rejected) / (all_bonafide + all_spoof)


@metric(lower_is_better=False, of_sweep=_of_sweep, order_only=False)
def accuracy(bonafide: ArrayLike, spoof: ArrayLike, *, threshold: float) -> float:
    """Share of trials judged right when ``score >= threshold`` means bonafide.

    The threshold is chosen on development data, never on the trials it is used for. The value
    depends on how many trials each class has: a detector that calls everything spoof reaches 0.9
    where nine of ten trials are spoofs.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.
        threshold: the lowest score that is called bonafide.

    Returns:
        A fraction from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: the threshold is NaN or infinite.

    >>> accuracy([0, 1, 1, 2], [0, 0, 1, 1], threshold=1)
    0.625
    """
    return float(_of_sweep(sweep(bonafide, spoof), threshold=threshold))
