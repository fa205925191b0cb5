"""Minimum Cllr: the information that scores carry after the best monotone calibration."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep, sweep

__all__ = ["min_cllr"]


def _of_counts(bonafide: NDArray[np.int64], spoof: NDArray[np.int64]) -> float:
    """From the trials of each class at each distinct score, rising."""
    from scipy.optimize import isotonic_regression  # not at start: it takes half a second

    total_b, total_s = bonafide.sum(), spoof.sum()
    both = bonafide + spoof
    here = both > 0  # a resample may lack a score
    pooled = isotonic_regression(bonafide[here] / both[here], weights=both[here].astype(float)).x
    # Pooled posteriors as odds over those of the trials; a class that a pool lacks costs nothing.
    with np.errstate(divide="ignore"):
        ratios = np.log(pooled) - np.log1p(-pooled) - np.log(total_b / total_s)
    of_b, of_s = bonafide[here], spoof[here]
    miss = of_b[of_b > 0] @ np.logaddexp(0.0, -ratios[of_b > 0]) / total_b
    alarm = of_s[of_s > 0] @ np.logaddexp(0.0, ratios[of_s > 0]) / total_s
    return min(float((miss + alarm) / (2 * np.log(2))), 1.0)  # above 1 by rounding alone


def _of_sweep(counts: Sweep) -> NDArray[np.float64]:
    rows = zip(
        np.diff(np.atleast_2d(counts.bonafide), axis=-1),
        np.diff(np.atleast_2d(counts.spoof), axis=-1),
        strict=True,
    )
    return np.reshape([_of_counts(b, s) for b, s in rows], counts.bonafide.shape[:-1])


@metric(lower_is_better=True, of_sweep=_of_sweep)
def min_cllr(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """`cllr` of the scores after the monotone map that makes it least, in bits.

    The map is found by the pool-adjacent-violators algorithm on the trials themselves (Brümmer &
    du Preez 2006, section 7). What `cllr` has above it is lost by calibration alone. Made on the
    very trials it judges, it is optimistic where they are few. 0 = perfect order, 1 = none.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.

    Returns:
        Bits, from 0 to 1, never above `cllr`.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.

    >>> min_cllr([1, 1], [1, 1, 1]), min_cllr([2, 3], [0, 1])
    (1.0, 0.0)
    """
    return float(_of_sweep(sweep(bonafide, spoof)))
