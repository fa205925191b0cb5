"""The pictures of a comparison, drawn once and named by the place they take."""

from typing import Any

from matplotlib.figure import Figure

from earwitness.comparison.result import Comparison, Interval, Method
from earwitness.comparison.statistics import gather
from earwitness.comparison.words import METRICS, name_of
from earwitness.figures.fronts import Point, storage_front, time_front, trade_off
from earwitness.figures.progress import progress
from earwitness.figures.ranking import Row, ranked_rows

__all__ = ["draw"]

_FOR_A_BAND = 3


def draw(comparison: Comparison) -> dict[str, Figure]:
    """``final``, ``curves``, and as far as the runs know them ``storage``, ``time``, ``trade-off``."""
    metric, reference = comparison.metric, comparison.reference
    curves = {one.label: _curve(one, comparison.units) for one in comparison.methods}
    bounds = [one.label for one in comparison.bounds]
    drawn = {
        "final": _final(comparison),
        "curves": progress(curves, what=METRICS[metric], reference=reference, bounds=bounds),
    }
    result: dict[str, Any] = {
        "bounds": {one.label: _final_mean(one) for one in comparison.bounds},
        "what": name_of("final_average", metric),
        "lower": comparison.lower_is_better,
    }
    if stored := [_point(one, one.stores["bytes"]) for one in comparison.ranked if one.stores]:
        drawn["storage"] = storage_front(stored, comparison.fronts["storage"], **result)
    times = [(one, (one.times_naive or {}).get("mean")) for one in comparison.ranked]
    if timed := [_point(one, factor) for one, factor in times if factor is not None]:
        drawn["time"] = time_front(timed, comparison.fronts["time"], **result)
    if points := _trades(comparison):
        across = name_of("learning_accuracy", metric)
        drawn["trade-off"] = trade_off(points, across=across, up="forgetting")
    return drawn


def _final(comparison: Comparison) -> Figure:
    mark = comparison.marks.get("final_average")
    rows = [
        Row(
            one.label,
            *_ends(one.means["final_average"]),
            runs=list(one.by_run("final_average").values()),
            is_marked=mark is not None and one.label in mark.group,
            is_bound=not one.is_ranked,
        )
        for one in comparison.methods
    ]
    return ranked_rows(
        rows,
        what=name_of("final_average", comparison.metric),
        reference=comparison.reference,
        marked="better than every other" if mark and mark.is_alone else "cannot be told from the best",
        lower=comparison.lower_is_better,
    )


def _curve(one: Method, units: str) -> list[tuple[float, float | None, float | None]]:
    """With its interval from three observations on: that of two would hide the picture."""
    points = [_ends(point) for point in one.curve]
    if len(gather(one.by_run("final_average"), units)) < _FOR_A_BAND:
        return [(mean, None, None) for mean, _, _ in points]
    return points


def _trades(comparison: Comparison) -> list[Point]:
    """Plasticity and stability; a single task has no forgetting."""
    return [
        _point(one, learned)._replace(y=lost)
        for one in comparison.methods
        if (learned := one.means["learning_accuracy"]["mean"]) is not None
        and (lost := one.means.get("forgetting", {}).get("mean")) is not None
    ]


def _point(one: Method, x: float) -> Point:
    point = Point(one.label, x, _final_mean(one), is_bound=not one.is_ranked)
    if one.stores.get("keeps_audio"):
        return point._replace(keeps="audio")
    return point._replace(keeps="clips") if one.stores.get("clips") else point


def _final_mean(one: Method) -> float:
    mean = one.means["final_average"]["mean"]
    assert mean is not None  # an interval always has its middle
    return mean


def _ends(interval: Interval) -> tuple[float, float | None, float | None]:
    mean = interval["mean"]
    assert mean is not None
    return mean, interval["low"], interval["high"]
