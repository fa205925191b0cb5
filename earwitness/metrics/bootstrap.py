"""Bootstrap intervals: how much a metric would move with other trials of the same kind.

Trials are drawn with replacement, stratified by class. Trials of one speaker are alike, so where
speakers are known whole speakers are drawn instead; intervals over trials would be too narrow.
A percentile interval with few trials or few speakers is still too narrow: read it as a lower
bound of the doubt. It doesn't hold what another training run, seed or corpus would change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError, SettingsError
from earwitness.metrics.base import both_classes
from earwitness.metrics.curves import Sweep, sweep

__all__ = ["bootstrap_interval", "bootstrap_intervals"]

Metric = Callable[..., float]
Clusters = tuple[Sequence[Any], Sequence[Any]]

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

    Raises:
        ProtocolError: bad scores, or as many clusters as trials are not given.
        SettingsError: ``draws`` or ``level`` out of range.

    >>> from earwitness.metrics.eer import eer
    >>> low, high = bootstrap_interval(eer, [1, 2, 3, 4, 0, 5], [-1, 0, 1, -2, 2, -3], draws=200)
    >>> bool(low < eer([1, 2, 3, 4, 0, 5], [-1, 0, 1, -2, 2, -3]) < high)
    True
    """
    return bootstrap_intervals(
        {"": metric}, bonafide, spoof, draws=draws, level=level, seed=seed, clusters=clusters
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
) -> dict[str, tuple[float, float]]:
    """`bootstrap_interval` of several metrics from the same resamples: name -> ``(low, high)``.

    >>> from earwitness.metrics.auc import auc
    >>> bootstrap_intervals({"auc": auc}, [2, 3], [0, 1], draws=10)
    {'auc': (1.0, 1.0)}
    """
    if draws < 1 or not 0 < level < 1:
        raise SettingsError(f"bootstrap: draws={draws}, level={level}; expected >= 1, and 0 to 1.")
    bonafide, spoof = both_classes(bonafide, spoof)
    unit = _units(len(bonafide), len(spoof), clusters)
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in metrics}
    for resample in _resamples(bonafide, spoof, unit, draws, seed) if metrics else ():
        for name, metric in metrics.items():
            values[name].append(_values(metric, resample))
    return {name: _percentiles(np.concatenate(drawn), level) for name, drawn in values.items()}


def _percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _units(n_bonafide: int, n_spoof: int, clusters: Clusters | None) -> NDArray[np.int64]:
    """The sampling unit of each trial, bonafide first, as numbers from 0 without gaps."""
    if clusters is None:
        return np.arange(n_bonafide + n_spoof)
    found = (len(clusters[0]), len(clusters[1]))
    if found != (n_bonafide, n_spoof):
        raise ProtocolError(
            f"clusters for {found[0]} bonafide and {found[1]} spoof trials were given; "
            f"there are {n_bonafide} and {n_spoof}, and each needs one."
        )
    number: dict[Any, int] = {}
    return np.array([number.setdefault(one, len(number)) for one in (*clusters[0], *clusters[1])])


def _resamples(
    bonafide: NDArray[np.float64],
    spoof: NDArray[np.float64],
    unit: NDArray[np.int64],
    draws: int,
    seed: int,
) -> Iterator[Sweep]:
    """Sweeps of all resamples, some draws at a time: counts are ``(draw, point)``."""
    rng = np.random.default_rng(seed)
    whole = sweep(bonafide, spoof)
    edges = whole.bonafide + whole.spoof
    order = np.argsort(np.concatenate([bonafide, spoof]))
    is_bonafide = order < len(bonafide)
    strata = _strata(unit, len(bonafide))
    for some in _portions(draws, max(1, _CELLS // len(order))):
        times = _times_drawn(rng, strata, some)[:, unit[order]]
        yield Sweep(
            whole.thresholds,
            _below(times * is_bonafide, edges),
            _below(times * ~is_bonafide, edges),
        )


def _strata(unit: NDArray[np.int64], n_bonafide: int) -> list[NDArray[np.int64]]:
    """Units with both classes, with bonafide only, with spoof only: no draw lacks a class."""
    units = np.arange(unit.max() + 1)
    kind = np.isin(units, unit[:n_bonafide]) + 2 * np.isin(units, unit[n_bonafide:])
    return [units[kind == one] for one in (3, 1, 2) if np.any(kind == one)]


def _portions(total: int, most: int) -> Iterator[int]:
    for start in range(0, total, most):
        yield min(most, total - start)


def _times_drawn(
    rng: np.random.Generator, strata: list[NDArray[np.int64]], draws: int
) -> NDArray[np.int64]:
    """How often each unit is drawn, ``(draw, unit)``: each stratum as often as it has units."""
    times = np.zeros((draws, sum(map(len, strata))), dtype=np.int64)
    for units in strata:
        picks = rng.integers(len(units), size=(draws, len(units)))
        cells = picks + len(units) * np.arange(draws)[:, None]
        counts = np.bincount(cells.ravel(), minlength=cells.size)
        times[:, units] = counts.reshape(cells.shape)
    return times


def _below(times: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Trials drawn below each threshold, ``(draw, point)``."""
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
