"""Thresholds that mean something: from costs, from a wanted false-alarm rate, and with room for doubt.

All are chosen on development scores. A rate that was met there will not be met exactly elsewhere: the
interval says how far off it may be for trials of the same kind.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import SettingsError
from earwitness.metrics.base import both_classes
from earwitness.metrics.bootstrap import Clusters, bootstrap_values, percentiles
from earwitness.metrics.decisions import require_threshold

__all__ = ["Band", "Operating", "at_false_alarm", "at_miss", "operating", "three_way"]


class Operating(NamedTuple):
    """A threshold (``score >= threshold`` is bonafide) and both error rates, with 95 % intervals.

    The intervals are Clopper and Pearson's for independent trials; where clusters are resampled,
    theirs, and never narrower than those.
    """

    threshold: float
    miss: float
    false_alarm: float
    miss_interval: tuple[float, float]
    false_alarm_interval: tuple[float, float]


class Band(NamedTuple):
    """Three-way decisions: spoof below ``low``, bonafide from ``high`` on, inconclusive between.

    ``false_alarm`` is the share of spoofs called bonafide, ``miss`` that of bonafide trials called
    spoof; ``inconclusive_bonafide`` and ``inconclusive_spoof`` the shares left open.
    """

    low: float
    high: float
    miss: float
    false_alarm: float
    inconclusive_bonafide: float
    inconclusive_spoof: float

    def decide(self, score: float) -> str:
        """``"bonafide"``, ``"spoof"`` or ``"inconclusive"``.

        >>> Band(-1, 1, 0, 0, 0, 0).decide(0.5)
        'inconclusive'
        """
        if score >= self.high:
            return "bonafide"
        return "spoof" if score < self.low else "inconclusive"


def at_false_alarm(bonafide: ArrayLike, spoof: ArrayLike, rate: float) -> float:
    """The lowest threshold that accepts at most this share of the spoofs.

    It lies just above a spoof score, half-way to the next score, so that it has room on both sides.

    >>> at_false_alarm([2, 3], [0, 1, 1.5, 4], rate=0.25)
    1.75

    Raises:
        ProtocolError: bad scores.
        SettingsError: the rate is not between 0 and 1.
    """
    _require_rate(rate)
    bonafide, spoof = both_classes(bonafide, spoof)
    ranked = np.sort(spoof)
    accepted = int(np.floor(rate * len(ranked) + 1e-9))  # 0.1 of 30 trials is 3, also in floats
    if accepted >= len(ranked):
        return float(min(ranked[0], bonafide.min()))
    highest_rejected = ranked[len(ranked) - accepted - 1]
    return _above(highest_rejected, np.concatenate([bonafide, spoof]))


def at_miss(bonafide: ArrayLike, spoof: ArrayLike, rate: float) -> float:
    """The highest threshold that rejects at most this share of the bonafide trials.

    >>> at_miss([1, 2, 3, 4], [0, 1.5], rate=0.25)
    1.75

    Raises:
        ProtocolError: bad scores.
        SettingsError: the rate is not between 0 and 1.
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    return -_just_below(at_false_alarm(-spoof, -bonafide, rate), -bonafide)


def _just_below(threshold: float, scores: NDArray[np.float64]) -> float:
    """Mirrored, ``score >= threshold`` becomes ``score <= threshold``: no score may sit on it."""
    return float(np.nextafter(threshold, -np.inf)) if threshold in scores else threshold


def _above(score: float, others: NDArray[np.float64]) -> float:
    higher = others[others > score]
    if not len(higher):
        return float(np.nextafter(score, np.inf))
    middle = score / 2 + higher.min() / 2  # each halved by itself: their difference may overflow
    return float(middle if middle > score else higher.min())


def _require_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise SettingsError(f"the rate is {rate}; expected a share between 0 and 1, such as 0.01.")


def operating(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    threshold: float,
    *,
    clusters: Clusters | None = None,
    attacks: NDArray[np.str_] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Operating:
    """Error rates at a threshold, with 95 % intervals.

    Args:
        bonafide, spoof: scores, one-dimensional.
        threshold: ``score >= threshold`` is bonafide.
        clusters, attacks: as in `metrics.bootstrap.bootstrap_values`; without them trials are taken as
            independent and the intervals are exact.
        draws, seed: of the bootstrap.

    >>> at = operating([1, 2, 3, 4], [0, 1, 2, 3], threshold=2)
    >>> at.miss, at.false_alarm, [round(x, 2) for x in at.miss_interval]
    (0.25, 0.5, [0.01, 0.81])

    Raises:
        ProtocolError: bad scores.
        SettingsError: the threshold is NaN or infinite.
    """
    require_threshold(threshold, "operating")
    bonafide, spoof = both_classes(bonafide, spoof)
    missed, accepted = int(np.sum(bonafide < threshold)), int(np.sum(spoof >= threshold))
    if clusters is None and attacks is None:
        intervals = _exact(missed, len(bonafide)), _exact(accepted, len(spoof))
    else:
        rates = {
            "miss": lambda b, s: float(np.mean(b < threshold)),
            "false_alarm": lambda b, s: float(np.mean(s >= threshold)),
        }
        drawn = bootstrap_values(
            rates, bonafide, spoof, draws=draws, seed=seed, clusters=clusters, attacks=attacks
        )
        # Where no error was seen no resample has one: never narrower than for independent trials.
        intervals = (
            _widest(percentiles(drawn["miss"]), _exact(missed, len(bonafide))),
            _widest(percentiles(drawn["false_alarm"]), _exact(accepted, len(spoof))),
        )
    return Operating(threshold, missed / len(bonafide), accepted / len(spoof), *intervals)


def _widest(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


def _exact(errors: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper & Pearson, "The use of confidence or fiducial limits", Biometrika 1934."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(errors, trials - errors + 1, tail)) if errors else 0.0
    high = float(betaincinv(errors + 1, trials - errors, 1 - tail)) if errors < trials else 1.0
    return low, high


def three_way(
    bonafide: ArrayLike, spoof: ArrayLike, *, false_alarm: float = 0.01, miss: float = 0.01
) -> Band:
    """A band of scores that decides nothing, so that both kinds of error stay rare.

    At most ``false_alarm`` of the spoofs score at or above the upper end, at most ``miss`` of the
    bonafide trials below the lower one. Where the classes are so far apart that the ends would
    cross, both errors are below what is wanted at one threshold, and nothing is left open.

    >>> band = three_way([1, 2, 3, 4], [0, 0.5, 1.5, 2.5], false_alarm=0, miss=0)
    >>> band.low, band.high, band.inconclusive_bonafide, band.inconclusive_spoof
    (0.75, 2.75, 0.5, 0.5)

    Raises:
        ProtocolError: bad scores.
        SettingsError: a rate is not between 0 and 1.
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    low, high = at_miss(bonafide, spoof, miss), at_false_alarm(bonafide, spoof, false_alarm)
    if low > high:
        low = high = low / 2 + high / 2
    return Band(
        low,
        high,
        float(np.mean(bonafide < low)),
        float(np.mean(spoof >= high)),
        float(np.mean((bonafide >= low) & (bonafide < high))),
        float(np.mean((spoof >= low) & (spoof < high))),
    )
