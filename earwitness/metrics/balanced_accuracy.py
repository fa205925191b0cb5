"""Balanced accuracy at a threshold that was chosen elsewhere."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep, sweep
from earwitness.metrics.decisions import require_threshold

__all__ = ["balanced_accuracy"]


def _of_sweep(counts: Sweep, *, threshold: float) -> NDArray[np.float64]:
    miss, false_alarm = counts.rates_at(require_threshold(threshold, "balanced_accuracy"))
    return 1 - (miss + false_alarm) / 2


@metric(lower_is_better=False, of_sweep=_of_sweep, order_only=False)
def balanced_accuracy(bonafide: ArrayLike, spoof: ArrayLike, *, threshold: float) -> float:
    """Mean of the shares of bonafide and of spoof trials judged right; both classes weigh the same.

    The threshold is chosen on development data, never on the trials it is used for. A detector that
    calls everything spoof has 0.5, however many spoofs there are.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.
        threshold: the lowest score that is called bonafide.

    Returns:
        A fraction from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: the threshold is NaN or infinite.

    >>> balanced_accuracy([0, 1, 1, 2], [0, 0, 1, 1], threshold=1)
    0.625
    """
    return float(_of_sweep(sweep(bonafide, spoof), threshold=threshold))
