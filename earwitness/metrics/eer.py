"""Equal error rate, tie-aware: the metric to report."""

from numpy.typing import ArrayLike

from earwitness.metrics.base import both_classes, metric
from earwitness.metrics.curves import equal_error_rate
from earwitness.metrics.search import around_crossing

__all__ = ["eer"]


@metric(lower_is_better=True, of_sweep=equal_error_rate)
def eer(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Equal error rate (tie-aware): the error where misses and false alarms are equally frequent.

    The mean of both rates at the realisable threshold where they differ least, and the mean of the
    two values where two thresholds are equally near. Nothing is interpolated: on scores without
    ties it is the challenge's value (`eer_challenge`), except that the challenge keeps the first of
    two equally near points, which moves it by at most 1 / (4 n), n the size of the smaller class.
    Tied scores are rejected or accepted together, so the order of trials never matters.

    Swapping the classes gives 1 - EER. Constant scores have 0.5, perfect ones 0, inverted ones 1.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.

    Returns:
        A fraction from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.

    >>> eer([2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0])
    0.24285714285714285
    >>> eer([1, 1], [1, 1, 1])
    0.5
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    n_bonafide, n_spoof = len(bonafide), len(spoof)
    points = around_crossing(bonafide, spoof)
    apart = [abs(b * n_spoof - (n_spoof - s) * n_bonafide) for b, s in points]
    rates = [(b / n_bonafide + (n_spoof - s) / n_spoof) / 2 for b, s in points]
    nearest = [rate for rate, gap in zip(rates, apart, strict=True) if gap == min(apart)]
    return sum(nearest) / len(nearest)
