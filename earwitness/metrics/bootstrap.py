"""Bootstrap intervals: how much a metric would move with other trials of the same kind.

Trials are drawn with replacement, stratified by class. Trials of one speaker are alike, and so are
those of one attack: where these are known, whole speakers and whole attacks are drawn instead, and a
trial counts as often as its speaker times its attack was drawn. Intervals over trials would be too
narrow. A percentile interval with few trials, speakers or attacks is still too narrow: read it as a
lower bound of the doubt. It doesn't hold what another training run, seed or corpus would change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError, SettingsError
from earwitness.metrics.base import both_classes
from earwitness.metrics.curves import Sweep, sweep

__all__ = ["bootstrap_interval", "bootstrap_intervals", "bootstrap_values", "percentiles"]

Metric = Callable[..., float]
Clusters = tuple[Sequence[Any] | NDArray[Any], Sequence[Any] | NDArray[Any]]
_Counts = NDArray[np.int64]

# Draws are computed together while their table of trials stays about 8 MB: within the caches.
_CELLS = 2**20


def bootstrap_interval(
    metric: Metric,
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    clusters: Clusters | None = None,
    attacks: Sequence[Any] | NDArray[Any] | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval ``(low, high)`` of one metric.

    Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; for clusters Field &
    Welsh, "Bootstrapping clustered data", JRSS B 2007.

    Args:
        metric: ``f(bonafide, spoof) -> float``; settings by ``functools.partial``.
        bonafide: ``(n_bonafide,)`` scores.
        spoof: ``(n_spoof,)`` scores.
        draws: number of resamples.
        level: coverage that is aimed at, between 0 and 1.
        seed: the same seed gives the same interval.
        clusters: speaker of each bonafide and of each spoof trial, ``(n_bonafide,)`` and
            ``(n_spoof,)``. Trials of a speaker are not independent, so whole speakers are drawn
            with all their trials, as many as there are, stratified by the classes they have.
        attacks: attack of each spoof trial, ``(n_spoof,)``. Whole attacks are drawn too, beside
            speakers or alone: trials of an attack are not independent either, and a new attack is
            what the detector will meet next (Owen, "The pigeonhole bootstrap", AOAS 2007).

    Raises:
        ProtocolError: bad scores, or as many clusters or attacks as trials are not given.
        SettingsError: ``draws`` or ``level`` out of range.

    >>> from earwitness.metrics.eer import eer
    >>> low, high = bootstrap_interval(eer, [1, 2, 3, 4, 0, 5], [-1, 0, 1, -2, 2, -3], draws=200)
    >>> bool(low < eer([1, 2, 3, 4, 0, 5], [-1, 0, 1, -2, 2, -3]) < high)
    True
    """
    return bootstrap_intervals(
        {"": metric},
        bonafide,
        spoof,
        draws=draws,
        level=level,
        seed=seed,
        clusters=clusters,
        attacks=attacks,
    )[""]


def bootstrap_intervals(
    metrics: Mapping[str, Metric],
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    clusters: Clusters | None = None,
    attacks: Sequence[Any] | NDArray[Any] | None = None,
) -> dict[str, tuple[float, float]]:
    """`bootstrap_interval` of several metrics from the same resamples: name -> ``(low, high)``.

    >>> from earwitness.metrics.auc import auc
    >>> bootstrap_intervals({"auc": auc}, [2, 3], [0, 1], draws=10)
    {'auc': (1.0, 1.0)}
    """
    _require_level(level)
    values = bootstrap_values(
        metrics, bonafide, spoof, draws=draws, seed=seed, clusters=clusters, attacks=attacks
    )
    return {name: percentiles(drawn, level) for name, drawn in values.items()}


def bootstrap_values(
    metrics: Mapping[str, Metric],
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    draws: int = 1000,
    seed: int = 0,
    clusters: Clusters | None = None,
    attacks: Sequence[Any] | NDArray[Any] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Metrics on resamples of the trials: name -> one value a draw.

    What is drawn depends on ``seed``, the number of trials, clusters and attacks, and not on scores:
    two systems scored on the same trials, in one order, are resampled alike. Draws that lack a
    class, possible with few attacks and speakers, are left out.

    >>> from earwitness.metrics.auc import auc
    >>> bootstrap_values({"auc": auc}, [2, 3], [0, 1], draws=3)
    {'auc': array([1., 1., 1.])}

    Raises:
        ProtocolError: bad scores, as many clusters or attacks as trials are not given, or no draw
            has both classes.
        SettingsError: ``draws`` out of range.
    """
    if draws < 1:
        raise SettingsError(f"bootstrap: draws={draws}; expected 1 or more.")
    bonafide, spoof = both_classes(bonafide, spoof)
    units = _units(len(bonafide), len(spoof), clusters, attacks)
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in metrics}
    for resample in _resamples(bonafide, spoof, units, draws, seed) if metrics else ():
        for name, metric in metrics.items():
            values[name].append(_values(metric, resample))
    return {name: np.concatenate(drawn) for name, drawn in values.items()}


def percentiles(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """The middle ``level`` of some values.

    >>> percentiles(np.arange(101.0), 0.5)
    (25.0, 75.0)

    Raises:
        SettingsError: ``level`` is not between 0 and 1.
    """
    _require_level(level)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _require_level(level: float) -> None:
    if not 0 < level < 1:
        raise SettingsError(f"bootstrap: level={level}; expected a number between 0 and 1.")


class _Units(NamedTuple):
    """The unit of each trial and how many units each stratum has; strata are numbered on and on.

    ``of_trial`` has bonafide trials first; None where every trial is a unit of its own.
    """

    n_bonafide: int
    of_trial: _Counts | None
    strata: list[int]
    attack: _Counts | None

    def times(self, rng: np.random.Generator, draws: int) -> tuple[_Counts, _Counts]:
        """How often each trial counts, ``(draw, trial)`` of either class."""
        times = _times_drawn(rng, self.strata, draws)
        if self.of_trial is not None:
            times = times[:, self.of_trial]
        bonafide, spoof = times[:, : self.n_bonafide], times[:, self.n_bonafide :]
        if self.attack is not None:
            attacks = _times_drawn(rng, [int(self.attack.max()) + 1], draws)
            spoof = spoof * attacks[:, self.attack]
        return bonafide, spoof


def _units(
    n_bonafide: int,
    n_spoof: int,
    clusters: Clusters | None,
    attacks: Sequence[Any] | NDArray[Any] | None,
) -> _Units:
    """Trials are units of their own unless there are clusters."""
    unit, strata = None, [n_bonafide, n_spoof]
    if clusters is not None:
        found = (len(clusters[0]), len(clusters[1]))
        if found != (n_bonafide, n_spoof):
            raise ProtocolError(
                f"clusters for {found[0]} bonafide and {found[1]} spoof trials were given; "
                f"there are {n_bonafide} and {n_spoof}, and each needs one."
            )
        unit, strata = _stratified(_numbered([*clusters[0], *clusters[1]]), n_bonafide)
    if attacks is not None and len(attacks) != n_spoof:
        raise ProtocolError(
            f"attacks of {len(attacks)} spoof trials were given; there are {n_spoof}, and each "
            "needs one."
        )
    attack = None if attacks is None else _numbered(list(attacks))
    return _Units(n_bonafide, unit, strata, attack)


def _numbered(names: list[Any]) -> _Counts:
    """Names as numbers, in order of appearance."""
    number: dict[Any, int] = {}
    return np.array([number.setdefault(one, len(number)) for one in names])


def _stratified(unit: _Counts, n_bonafide: int) -> tuple[_Counts, list[int]]:
    """Units numbered by stratum: with both classes, with bonafide only, with spoof only.

    Each stratum is drawn by itself, so no draw of speakers lacks a class.
    """
    units = np.arange(unit.max() + 1)
    of_spoof = np.isin(units, unit[n_bonafide:])
    kind = np.where(np.isin(units, unit[:n_bonafide]), np.where(of_spoof, 0, 1), 2)
    number = np.empty_like(units)
    number[np.argsort(kind, kind="stable")] = units
    return number[unit], [size for size in np.bincount(kind).tolist() if size]


def _resamples(
    bonafide: NDArray[np.float64],
    spoof: NDArray[np.float64],
    units: _Units,
    draws: int,
    seed: int,
) -> Iterator[Sweep]:
    """Sweeps of all resamples, some draws at a time: counts are ``(draw, point)``."""
    rng = np.random.default_rng(seed)
    whole = sweep(bonafide, spoof)
    orders = np.argsort(bonafide), np.argsort(spoof)
    empty = True
    for some in _portions(draws, max(1, _CELLS // (len(bonafide) + len(spoof)))):
        times = units.times(rng, some)
        both = times[0].any(axis=1) & times[1].any(axis=1)
        if both.any():
            empty = False
            b, s = (one[both][:, order] for one, order in zip(times, orders, strict=True))
            yield Sweep(whole.thresholds, _below(b, whole.bonafide), _below(s, whole.spoof))
    if empty:
        raise ProtocolError("bootstrap: no draw has trials of both classes; there are too few units.")


def _portions(total: int, most: int) -> Iterator[int]:
    for start in range(0, total, most):
        yield min(most, total - start)


def _times_drawn(rng: np.random.Generator, strata: list[int], draws: int) -> _Counts:
    """How often each unit is drawn, ``(draw, unit)``: each stratum as often as it has units."""
    parts = []
    for size in strata:
        picks = rng.integers(size, size=(draws, size))
        if draws > 1:  # all draws are counted at once, in cells of their own
            picks += size * np.arange(draws)[:, None]
        parts.append(np.bincount(picks.ravel(), minlength=draws * size).reshape(draws, size))
    return np.concatenate(parts, axis=1)


def _below(times: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Trials drawn below each threshold, ``(draw, point)``; ``times`` in the order of scores."""
    total = np.zeros((len(times), times.shape[1] + 1), dtype=np.int64)
    np.cumsum(times, axis=1, out=total[:, 1:])
    return total[:, edges]


def _values(metric: Metric, resample: Sweep) -> NDArray[np.float64]:
    """The metric on each draw: at once where it can be read off a sweep, else one by one."""
    settings = metric.keywords if isinstance(metric, partial) else {}
    of_sweep = getattr(metric.func if isinstance(metric, partial) else metric, "of_sweep", None)
    if of_sweep is not None:
        return of_sweep(resample, **settings)
    scores = resample.thresholds[:-1]
    times = (np.diff(resample.bonafide, axis=1), np.diff(resample.spoof, axis=1))
    return np.array(
        [metric(np.repeat(scores, b), np.repeat(scores, s)) for b, s in zip(*times, strict=True)]
    )
