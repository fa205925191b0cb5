"""Equal error rate as the ASVspoof challenges compute it, for comparison with published tables."""

import numpy as np
from numpy.typing import ArrayLike

from earwitness.metrics.base import both_classes, metric

__all__ = ["eer_challenge"]


@metric(lower_is_better=True)
def eer_challenge(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Equal error rate of the ASVspoof evaluation packages: pessimistic where scores are tied.

    Bonafide scores come before spoof scores, a stable sort orders them, and each trial in turn is
    rejected; the value is the mean of both rates at the first point where they differ least. In a
    group of tied scores all bonafide trials are thus rejected before any spoof: thresholds that
    nobody can set. Rounded or saturated scores are judged worse than they are, constant ones as 1.

    Source: ``compute_det_curve`` and ``compute_eer`` of the ASVspoof 2021 and ASVspoof 5 packages.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.

    Returns:
        A fraction from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.

    >>> eer_challenge([0, 1, 1, 2], [0, 0, 1, 1])
    0.5
    >>> eer_challenge([1, 1], [1, 1, 1])
    1.0
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    # Where each bonafide trial stands in the stable order: after the spoofs strictly below it.
    places = np.arange(len(bonafide)) + np.searchsorted(np.sort(spoof), np.sort(bonafide))
    is_bonafide = np.zeros(len(bonafide) + len(spoof), dtype=bool)
    is_bonafide[places] = True
    rejected = np.append(0, np.cumsum(is_bonafide))
    rejected_spoof = np.append(0, np.cumsum(~is_bonafide))
    miss = rejected / len(bonafide)
    false_alarm = (len(spoof) - rejected_spoof) / len(spoof)
    first = np.argmin(np.abs(miss - false_alarm))
    return float((miss[first] + false_alarm[first]) / 2)
