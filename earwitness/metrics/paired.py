"""Whether one of two systems is better, from their scores of the same trials.

Both systems heard the same trials, so their errors go together, and the difference is known better
than either value. Intervals of two systems that overlap don't say that they are alike.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError
from earwitness.metrics.base import both_classes
from earwitness.metrics.bootstrap import Clusters, bootstrap_values, percentiles

__all__ = ["Difference", "delong", "differences"]


class Difference(NamedTuple):
    """``first - second`` of a metric, its 95 % interval, and a two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def delong(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], *, level: float = 0.95
) -> Difference:
    """The difference of two AUCs on the same, independent trials.

    DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves", Biometrics 1988, by mid-ranks (Sun & Xu, IEEE SPL 2014).

    Args:
        first, second: (bonafide, spoof) scores of either system, trials in the same order.
        level: of the interval.

    Raises:
        ProtocolError: bad scores, or systems with different numbers of trials.

    >>> bonafide, spoof = [3, 2, 4, 1.5], [1, 0, 2.5, -1]
    >>> delong((bonafide, spoof), (bonafide, spoof))
    Difference(value=0.0, low=0.0, high=0.0, p=1.0)
    """
    from scipy.special import ndtr, ndtri

    parts = [_placements(*one) for one in (first, second)]
    _require_alike(*(tuple(map(len, part)) for part in parts))
    of_bonafide, of_spoof = (a - b for a, b in zip(*parts, strict=True))
    value = float(of_bonafide.mean())
    if min(len(of_bonafide), len(of_spoof)) < 2:
        return Difference(value, -1.0, 1.0, 1.0)  # one trial says nothing of the spread
    error = float(np.sqrt(sum(one.var(ddof=1) / len(one) for one in (of_bonafide, of_spoof))))
    if error == 0:  # no spread was seen: equal systems, or too few trials to see any
        return Difference(value, 0.0, 0.0, 1.0) if value == 0 else Difference(value, -1.0, 1.0, 1.0)
    reach = float(ndtri((1 + level) / 2)) * error
    p = float(2 * ndtr(-abs(value) / error))
    return Difference(value, value - reach, value + reach, p)


def _placements(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each trial the share of the other class that it is ordered right with, ties by halves."""
    bonafide, spoof = both_classes(bonafide, spoof)
    ranked_b, ranked_s = np.sort(bonafide), np.sort(spoof)
    of_b = ranked_s.searchsorted(bonafide) + ranked_s.searchsorted(bonafide, side="right")
    of_s = ranked_b.searchsorted(spoof) + ranked_b.searchsorted(spoof, side="right")
    return of_b / (2 * len(spoof)), 1 - of_s / (2 * len(bonafide))


def differences(
    metrics: Mapping[str, Callable[..., float]],
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    clusters: Clusters | None = None,
    attacks: Sequence[Any] | NDArray[Any] | None = None,
) -> dict[str, Difference]:
    """Differences of metrics by a paired bootstrap: both systems on the same resamples.

    p is twice the share of draws on the other side of 0, counted with the observed value as one
    draw more (Davison & Hinkley, 1997, section 4.2), so never below 2 / (draws + 1).

    Args:
        metrics: name -> ``f(bonafide, spoof)``.
        first, second: (bonafide, spoof) scores of either system, trials in the same order.
        draws, level, seed, clusters, attacks: as in `bootstrap_interval`.

    Raises:
        ProtocolError: bad scores, or systems with different numbers of trials.

    >>> from earwitness.metrics.eer import eer
    >>> rng = np.random.default_rng(0)
    >>> good = rng.normal(3, 1, 200), rng.normal(0, 1, 200)
    >>> poor = tuple(one + rng.normal(0, 2, 200) for one in good)
    >>> found = differences({"eer": eer}, good, poor, draws=200)["eer"]
    >>> found.high < 0, found.p < 0.05
    (True, True)
    """
    both = [both_classes(*one) for one in (first, second)]
    _require_alike(*(tuple(map(len, one)) for one in both))
    drawn = [
        bootstrap_values(metrics, *one, draws=draws, seed=seed, clusters=clusters, attacks=attacks)
        for one in both
    ]
    found = {}
    for name, metric in metrics.items():
        apart = drawn[0][name] - drawn[1][name]
        low, high = percentiles(apart, level)
        beyond = min(int(np.sum(apart <= 0)), int(np.sum(apart >= 0)))
        p = min(1.0, 2 * (beyond + 1) / (len(apart) + 1))
        found[name] = Difference(metric(*both[0]) - metric(*both[1]), low, high, p)
    return found


def _require_alike(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    if first != second:
        raise ProtocolError(
            f"the systems have {first} and {second} bonafide and spoof trials; a paired comparison "
            "needs the same trials, in one order."
        )
