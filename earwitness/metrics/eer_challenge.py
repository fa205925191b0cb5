"""Equal error rate as the ASVspoof challenges compute it, for comparison with published tables."""

from numpy.typing import ArrayLike

from earwitness.metrics.base import both_classes, metric
from earwitness.metrics.search import challenge_point

__all__ = ["eer_challenge"]


@metric(lower_is_better=True)
def eer_challenge(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Equal error rate of the ASVspoof evaluation packages: mostly pessimistic where scores tie.

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
    missed, rejected = challenge_point(bonafide, spoof)
    return (missed / len(bonafide) + (len(spoof) - rejected) / len(spoof)) / 2
