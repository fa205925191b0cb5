"""The threshold sweep behind every error rate, and what is read off it.

A trial is accepted as bonafide when ``score >= threshold``. A threshold cannot part trials that
have the same score, so there is one point for each distinct score and one that rejects everything;
points in between, which depend on the order of tied trials, are not realisable and not used.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import both_classes

__all__ = [
    "DetCurve",
    "Sweep",
    "det_curve",
    "eer_threshold",
    "equal_error_rate",
    "sweep",
]


class Sweep(NamedTuple):
    """How many trials each threshold rejects.

    ``thresholds`` is ``(point,)``, rising: every distinct score, then the next float after the
    highest. ``bonafide`` and ``spoof`` are ``(..., point)`` counts of trials below the threshold,
    from 0 to all; leading axes are resamples of the same trials.
    """

    thresholds: NDArray[np.float64]
    bonafide: NDArray[np.int64]
    spoof: NDArray[np.int64]

    @property
    def miss(self) -> NDArray[np.float64]:
        """Share of the bonafide trials that is rejected (FRR, P_miss): rises from 0 to 1."""
        return self.bonafide / self.bonafide[..., -1:]

    @property
    def false_alarm(self) -> NDArray[np.float64]:
        """Share of the spoof trials that is accepted (FAR, P_fa): falls from 1 to 0."""
        return (self.spoof[..., -1:] - self.spoof) / self.spoof[..., -1:]

    def below(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Trials of each class that score below any threshold, ``(...)``: bonafide, spoof."""
        # Above the highest score the last point stands for every threshold: it rejects all.
        place = np.searchsorted(self.thresholds[:-1], threshold)
        return self.bonafide[..., place], self.spoof[..., place]

    def rates_at(self, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Miss and false alarm at any threshold, ``(...)`` each."""
        missed, rejected = self.below(threshold)
        miss = missed / self.bonafide[..., -1]
        return miss, (self.spoof[..., -1] - rejected) / self.spoof[..., -1]

    def lowest_cost(self, miss_cost: float, false_alarm_cost: float) -> NDArray[np.float64]:
        """The minimum of ``miss_cost * miss + false_alarm_cost * false_alarm``, ``(...)``."""
        of_misses = miss_cost / self.bonafide[..., -1:]
        of_alarms = false_alarm_cost / self.spoof[..., -1:]
        cost = of_misses * self.bonafide
        cost -= of_alarms * self.spoof
        return cost.min(axis=-1) + false_alarm_cost


class DetCurve(NamedTuple):
    """Both error rates at every realisable threshold; three arrays of one length."""

    miss: NDArray[np.float64]
    false_alarm: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def sweep(bonafide: ArrayLike, spoof: ArrayLike) -> Sweep:
    """Count the rejected trials of each class at every realisable threshold.

    >>> sweep([1, 2], [0, 1, 1]).spoof.tolist()
    [0, 1, 3, 3]

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    pooled = np.sort(np.concatenate([bonafide, spoof]))
    begins = np.flatnonzero(np.append(True, pooled[1:] > pooled[:-1]))
    thresholds = np.append(pooled[begins], np.nextafter(pooled[-1], np.inf))
    rejected = np.searchsorted(np.sort(bonafide), thresholds)
    return Sweep(thresholds, rejected, np.append(begins, len(pooled)) - rejected)


def det_curve(bonafide: ArrayLike, spoof: ArrayLike) -> DetCurve:
    """Detection error trade-off: ``(miss, false_alarm, thresholds)``, fractions, each ``(point,)``.

    Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997.

    >>> miss, false_alarm, thresholds = det_curve([1, 2], [0, 1])
    >>> miss.tolist(), false_alarm.tolist()
    ([0.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0])

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
    """
    counts = sweep(bonafide, spoof)
    return DetCurve(counts.miss, counts.false_alarm, counts.thresholds)


def equal_error_rate(counts: Sweep) -> NDArray[np.float64]:
    """Mean of both error rates where they are nearest; ``(...)`` for counts ``(..., point)``.

    The difference of the rates rises from point to point, so at most two pairs of rates are equally
    near, one on each side of the crossing. Their mean is taken: with the first alone, the same
    errors would have another value when classes and signs are both swapped.

    >>> float(equal_error_rate(sweep([0, 1, 1, 2], [0, 0, 1, 1])))
    0.375
    """
    after = _crossing(counts)
    points = np.stack([after - 1, after], axis=-1)
    missed, rejected = (np.take_along_axis(one, points, -1) for one in (counts.bonafide, counts.spoof))
    n_bonafide, n_spoof = counts.bonafide[..., -1:], counts.spoof[..., -1:]
    apart = np.abs(missed * n_spoof - (n_spoof - rejected) * n_bonafide)
    rates = (missed / n_bonafide + (n_spoof - rejected) / n_spoof) / 2
    return np.mean(rates, axis=-1, where=apart == apart.min(axis=-1, keepdims=True))


def _crossing(counts: Sweep) -> NDArray[np.int64]:
    """The first point where misses are not fewer than false alarms, ``(...)``; never the first of all.

    Bisection: of a million points some twenty are looked at.
    """
    n_bonafide, n_spoof = counts.bonafide[..., -1], counts.spoof[..., -1]
    low = np.zeros(counts.bonafide.shape[:-1], dtype=np.int64)
    high = np.full_like(low, counts.bonafide.shape[-1] - 1)
    while np.any(low < high):
        middle = (low + high) // 2
        missed, rejected = (
            np.take_along_axis(one, middle[..., None], -1)[..., 0]
            for one in (counts.bonafide, counts.spoof)
        )
        reached = missed * n_spoof >= (n_spoof - rejected) * n_bonafide  # in integers, exact
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return high


def eer_threshold(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """The threshold of the EER: half-way between the scores that it parts.

    Any threshold between the highest rejected and the lowest accepted score has the same error
    rates; the middle leaves most room on both sides for other trials. Where two points are equally
    near, the lower one.

    >>> eer_threshold([2, 3], [-1, 0])
    1.0

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
    """
    counts = sweep(bonafide, spoof)
    place = int(_crossing(counts))
    gaps = np.abs(
        counts.bonafide * counts.spoof[-1] - (counts.spoof[-1] - counts.spoof) * counts.bonafide[-1]
    )
    place -= int(gaps[place - 1] <= gaps[place])
    accepted = float(counts.thresholds[place])
    rejected = float(counts.thresholds[place - 1]) if place else accepted
    middle = rejected / 2 + accepted / 2  # each halved by itself: their difference may overflow
    # Between neighbouring floats there is no middle, and `rejected` itself would be accepted.
    return middle if middle > rejected else accepted
