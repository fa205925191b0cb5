"""Accuracy at a threshold that was chosen elsewhere."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import SettingsError
from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep, sweep

__all__ = ["accuracy"]


def _of_sweep(counts: Sweep, *, threshold: float) -> NDArray[np.float64]:
    if not np.isfinite(threshold):
        raise SettingsError(f"accuracy: the threshold is {threshold}; expected a finite number.")
    # Above the highest score the last point stands for every threshold: it rejects all.
    place = np.searchsorted(counts.thresholds[:-1], threshold)
    all_bonafide, all_spoof = counts.bonafide[..., -1], counts.spoof[..., -1]
    right = all_bonafide - counts.bonafide[..., place] + counts.spoof[..., place]
    return right / (all_bonafide + all_spoof)


@metric(lower_is_better=False, of_sweep=_of_sweep)
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
