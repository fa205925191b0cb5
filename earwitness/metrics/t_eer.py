"""Concurrent tandem EER: countermeasure and verifier in series, judged without costs or priors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import require_scores

__all__ = ["TandemScores", "t_eer"]

_SHARE_OF_SPOOFS = 0.5  # any gives the same crossing
_Floats = NDArray[np.float64]


class TandemScores(NamedTuple):
    """Scores of one system for the three kinds of trial, one-dimensional each."""

    target: ArrayLike
    nontarget: ArrayLike
    spoof: ArrayLike


def t_eer(cm: TandemScores, asv: TandemScores) -> float:
    """The concurrent t-EER of a countermeasure and a speaker verifier in series.

    A trial is accepted if both accept it. For every threshold of the verifier there is one of the
    countermeasure where the tandem misses as often as it accepts what it should not; along this
    path, the point is taken where nontargets and spoofs are accepted equally often, so that the
    share of spoofs among the trials doesn't matter. The value is that error rate: Kinnunen et al.,
    "t-EER: parameter-free tandem evaluation of countermeasures and biometric comparators", TPAMI
    2023. Thresholds are realisable ones; without tied scores these are the points of the ASVspoof 5
    package, whose exact routine compares all pairs (this one bisects for all thresholds at once).

    Args:
        cm: scores of the countermeasure, higher = bonafide.
        asv: scores of the verifier for the same kinds of trial, higher = the claimed speaker.

    Returns:
        A fraction from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.

    >>> cm = TandemScores([2, 3, 1], [2.5, 0.5], [-1, 0, 1.5])
    >>> t_eer(cm, TandemScores([3, 2, 2.5], [-1, 0], [2.2, 1]))
    0.3333333333333333
    """
    asv_miss, fa_nontarget, fa_spoof = _rates(*_named("asv", asv))
    target, nontarget, spoof = _named("cm", cm)
    cm_miss, cm_alarm = _rates(np.concatenate([target, nontarget]), spoof)
    allowed = asv_miss < (1 - _SHARE_OF_SPOOFS) * fa_nontarget + _SHARE_OF_SPOOFS * fa_spoof
    allowed &= fa_spoof > 0
    asv_miss, fa_nontarget, fa_spoof = (one[allowed] for one in (asv_miss, fa_nontarget, fa_spoof))

    def gap(point: NDArray[np.int64]) -> _Floats:
        """Tandem misses minus tandem false alarms, for a point of the countermeasure each."""
        passed = 1 - cm_miss[point]
        miss = cm_miss[point] + passed * asv_miss
        alarm = (1 - _SHARE_OF_SPOOFS) * passed * fa_nontarget
        return miss - (alarm + _SHARE_OF_SPOOFS * cm_alarm[point] * fa_spoof)

    after = _first(lambda point: gap(point) >= 0, len(cm_miss), len(asv_miss))
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(gap(before)) <= np.abs(gap(after)), before, after)
    level = gap(nearest)
    nearest = _first(lambda point: gap(point) >= level, len(cm_miss), len(asv_miss))
    with np.errstate(divide="ignore", invalid="ignore"):  # a countermeasure that rejects everyone
        apart = np.abs(fa_nontarget / fa_spoof - cm_alarm[nearest] / (1 - cm_miss[nearest]))
    best = int(np.nanargmin(apart))
    return float(fa_spoof[best] * cm_alarm[nearest[best]])


def _named(system: str, scores: TandemScores) -> list[_Floats]:
    kinds = TandemScores._fields
    return [require_scores(one, f"{system} {kind}") for one, kind in zip(scores, kinds, strict=True)]


def _rates(positive: _Floats, *others: _Floats) -> list[_Floats]:
    """Miss, then a false alarm rate for each of the others, at every realisable threshold."""
    thresholds = np.append(np.unique(np.concatenate([positive, *others])), np.inf)
    miss = np.sort(positive).searchsorted(thresholds) / len(positive)
    alarms = [(len(one) - np.sort(one).searchsorted(thresholds)) / len(one) for one in others]
    return [miss, *alarms]


def _first(
    is_reached: Callable[[NDArray[np.int64]], NDArray[np.bool_]], points: int, rows: int
) -> NDArray[np.int64]:
    """For each row the first point where ``is_reached`` (once true, always true), else the last."""
    low, high = np.zeros(rows, dtype=np.int64), np.full(rows, points - 1)
    while np.any(low < high):
        middle = (low + high) // 2
        reached = is_reached(middle)
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    return high
