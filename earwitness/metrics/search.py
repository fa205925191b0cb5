"""The threshold that matters, without sorting every score.

Counting scores into bins takes a tenth of the time of sorting them. Bins are in the order of the
scores and equal scores share one, so the counts below a bin are those of a realisable threshold,
exact. Only bins in which the answer may lie are sorted. Where scores crowd into one bin (an outlier
far away), everything is sorted, and the values are the same.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import both_classes, require_scores

__all__ = ["around_crossing", "challenge_point", "lowest_cost"]

_MOST_BINS = 4096
_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]


class _Binned(NamedTuple):
    """One class: its scores, the bin of each, and how many lie below each bin, ``(bins + 1,)``."""

    scores: _Floats
    bin: _Integers
    below: _Integers

    def within(self, keep: NDArray[np.bool_]) -> tuple[_Floats, _Integers]:
        """Sorted scores of the bins to keep, and how many others lie below each of these bins."""
        counts = np.diff(self.below)
        kept_below = np.append(0, np.cumsum(counts * keep))
        return np.sort(self.scores[keep[self.bin]]), self.below - kept_below


def _binned(*classes: _Floats) -> list[_Binned]:
    low = min(one.min() for one in classes)
    bins = max(1, min(_MOST_BINS, sum(map(len, classes)) // 16))
    with np.errstate(over="ignore"):
        span = max(one.max() for one in classes) - low
        scale = bins / span if span else np.inf
    if not 0 < scale < np.inf:  # all equal, or so near or far apart that floats don't hold it
        bins, scale = 1, 0.0

    def of(scores: _Floats) -> _Binned:
        place = np.zeros(len(scores), dtype=np.int64)
        if bins > 1:
            np.minimum(((scores - low) * scale).astype(np.int64), bins - 1, out=place)
        counts = np.bincount(place, minlength=bins)
        return _Binned(scores, place, np.append(0, np.cumsum(counts)))

    return [of(one) for one in classes]


def around_crossing(bonafide: ArrayLike, spoof: ArrayLike) -> list[tuple[int, int]]:
    """Rejected (bonafide, spoof) at the last threshold with fewer misses, and at the first without.

    One of the two is nearest to the equal error rate, or both are.

    >>> around_crossing([0, 1, 1, 2], [0, 0, 1, 1])
    [(1, 2), (3, 4)]
    """
    b, s = _binned(*both_classes(bonafide, spoof))
    n_bonafide, n_spoof = len(b.scores), len(s.scores)

    def gap(missed: _Integers, rejected: _Integers) -> _Integers:
        """N_b N_s (miss - false alarm): exact, and rising with the threshold."""
        return missed * n_spoof - (n_spoof - rejected) * n_bonafide

    crossing = int(np.argmax(gap(b.below, s.below) >= 0)) - 1
    inside = [np.sort(one.scores[one.bin == crossing]) for one in (b, s)]
    thresholds = np.append(np.unique(np.concatenate(inside)), np.inf)
    missed, rejected = (
        one.below[crossing] + scores.searchsorted(thresholds)
        for one, scores in zip((b, s), inside, strict=True)
    )
    first = int(np.argmax(gap(missed, rejected) >= 0))
    return [(int(missed[n]), int(rejected[n])) for n in (first - 1, first)]


def challenge_point(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[int, int]:
    """Rejected (bonafide, spoof) where the ASVspoof packages read off their EER.

    Trials are rejected one by one, of equal scores the bonafide first; it is the first point where
    misses and false alarms are nearest, and inside a tied group no threshold's.

    >>> challenge_point([0, 1, 1, 2], [0, 0, 1, 1])
    (2, 2)
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    n_bonafide, n_spoof = len(bonafide), len(spoof)
    (b, s), (b_after, _) = around_crossing(bonafide, spoof)
    # From one realisable point to the next, bonafide trials are rejected one by one, then spoofs.
    lacking = (n_spoof - s) * n_bonafide - b * n_spoof  # N_b N_s (false alarm - miss), above 0
    by_bonafide = min(b_after - b, -(-lacking // n_spoof))
    by_spoof = max(0, -(-(lacking - by_bonafide * n_spoof) // n_bonafide))
    b, s = b + by_bonafide, s + by_spoof
    before = (b, s - 1) if by_spoof else (b - 1, s)
    # In floats, as there, and the first of two that are equally near.
    return min(before, (b, s), key=lambda p: abs(p[0] / n_bonafide - (n_spoof - p[1]) / n_spoof))


def lowest_cost(accept: ArrayLike, miss_cost: float, *reject: tuple[str, ArrayLike, float]) -> float:
    """The minimum over all thresholds of ``miss_cost * miss`` plus each false alarm rate's cost.

    A bin in which the cost could not be lower, had it all the trials accepted that should be and all
    others rejected, is passed over. Within a bin the best thresholds are scores of trials to accept:
    from one to the next only false alarms become fewer.

    Args:
        accept: scores of the trials that should be accepted.
        miss_cost: of rejecting all of them.
        reject: (name, scores, cost of accepting all of them) of each kind that should be rejected.

    >>> lowest_cost([0, 1, 1, 2], 1.0, ("spoof", [0, 0, 1, 1], 1.0))
    0.75

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
    """
    scores = [require_scores(one, name) for name, one, _ in reject]
    wanted, *others = _binned(require_scores(accept, "bonafide"), *scores)
    n_wanted, sizes = len(wanted.scores), [len(one.scores) for one in others]

    def cost(missed: _Integers, *rejected: _Integers) -> _Floats:
        total = miss_cost * (missed / n_wanted)
        for (_, _, weight), size, one in zip(reject, sizes, rejected, strict=True):
            total = total + weight * ((size - one) / size)
        return total

    best = cost(wanted.below, *(one.below for one in others)).min()
    may_be_lower = cost(wanted.below[:-1], *(one.below[1:] for one in others)) < best
    kept, outside = wanted.within(may_be_lower)
    if not len(kept):
        return float(best)
    bin_of = np.repeat(np.arange(len(may_be_lower)), np.diff(wanted.below) * may_be_lower)
    rejected = []
    for one in others:
        inside, beside = one.within(may_be_lower)
        rejected.append(inside.searchsorted(kept) + beside[bin_of])
    missed = np.arange(len(kept)) + outside[bin_of]
    return float(min(best, cost(missed, *rejected).min()))
