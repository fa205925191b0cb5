"""Concurrent tandem EER: countermeasure and verifier in series, judged without costs or priors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import require_scores

__all__ = ["TandemScores", "t_eer"]

_SHARE_OF_SPOOFS = 0.5  # any gives the same crossing
_STRIDE = 64
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
    With a dozen trials several points may be equally near; which one is taken is up to rounding.

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

    # miss - false alarm of the tandem = m + (1 - m) a - b c, for a verifier's (a, b) each.
    a = asv_miss - (1 - _SHARE_OF_SPOOFS) * fa_nontarget
    b = _SHARE_OF_SPOOFS * fa_spoof

    def gap(point: NDArray[np.int64], of: Any = slice(None)) -> _Floats:
        miss = cm_miss[point]
        return miss + (1 - miss) * a[of] - b[of] * cm_alarm[point]

    after = _crossings(gap, len(cm_miss), len(a))
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(gap(before)) <= np.abs(gap(after)), before, after)
    level = gap(nearest)
    # Of points with one value the first counts; few have a neighbour of their value.
    flat = gap(np.maximum(nearest - 1, 0)) >= level
    nearest[flat] = _first(
        lambda point: gap(point, flat) >= level[flat], np.zeros_like(nearest[flat]), nearest[flat]
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # a countermeasure that rejects everyone
        apart = np.abs(fa_nontarget / fa_spoof - cm_alarm[nearest] / (1 - cm_miss[nearest]))
    best = int(np.nanargmin(apart))
    return float(fa_spoof[best] * cm_alarm[nearest[best]])


def _named(system: str, scores: TandemScores) -> list[_Floats]:
    kinds = TandemScores._fields
    return [require_scores(one, f"{system} {kind}") for one, kind in zip(scores, kinds, strict=True)]


def _rates(positive: _Floats, *others: _Floats) -> list[_Floats]:
    """Miss, then a false alarm rate for each of the others, at every realisable threshold."""
    together = np.concatenate([positive, *others])
    order = np.argsort(together)
    ranked = together[order]
    first = np.append(np.flatnonzero(np.append(True, ranked[1:] > ranked[:-1])), len(ranked))
    kind = np.repeat(np.arange(len(others) + 1), [len(positive), *map(len, others)])[order]
    below = [np.append(0, np.cumsum(kind == number))[first] for number in range(len(others) + 1)]
    alarms = [(len(one) - under) / len(one) for one, under in zip(others, below[1:], strict=True)]
    return [below[0] / len(positive), *alarms]


def _crossings(gap: Callable[..., _Floats], points: int, rows: int) -> NDArray[np.int64]:
    """For each threshold of the verifier the first point where the gap is not negative.

    The stricter the verifier, the earlier that point. So a few rows are searched first, and each of
    the others only between its two neighbours among them.
    """
    few = np.append(np.arange(0, rows - 1, _STRIDE), rows - 1)
    last = np.full(len(few), points - 1)
    found = _first(lambda point: gap(point, few) >= 0, np.zeros_like(last), last)
    block = np.arange(rows) // _STRIDE
    low = found[np.minimum(block + 1, len(few) - 1)]
    return _first(lambda point: gap(point) >= 0, low, found[block])


def _first(
    is_reached: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> NDArray[np.int64]:
    """For each row the first point from low to high that is reached (then all after it are)."""
    while np.any(low < high):
        middle = (low + high) // 2
        reached = is_reached(middle)
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    return high
