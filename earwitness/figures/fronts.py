"""Pictures of what a result costs: each method a point, and the front of those that no other beats."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from earwitness.figures.labels import Named, dot_key, name_points
from earwitness.figures.style import FAINT, INK, PALETTE, styled

__all__ = ["Point", "storage_front", "time_front", "trade_off"]

_Kept = Literal["nothing", "clips", "audio"]
_MARKERS: dict[_Kept, str] = {"nothing": "o", "clips": "D", "audio": "s"}
_KEYS: dict[str, str] = {"o": "keeps no clips", "D": "keeps clips, no audio", "s": "keeps audio"}
_FRONT, _OTHER = PALETTE[0], "#7b8794"
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


class Point(NamedTuple):
    """One method: ``x`` its cost, ``y`` its result, a fraction."""

    label: str
    x: float
    y: float
    keeps: _Kept = "nothing"
    is_bound: bool = False


@styled
def storage_front(
    points: Sequence[Point],
    front: Sequence[str],
    bounds: Mapping[str, float],
    *,
    what: str,
    lower: bool,
) -> Figure:
    """The result (``what``) against the bytes kept, on a logarithmic scale with a column for nothing.

    ``front`` names the points that no other beats in both; ``bounds`` are drawn as lines, because what
    they keep has no size of its own.

    >>> point = Point("naive", 0, 0.3)
    >>> storage_front([point], ["naive"], {}, what="EER", lower=True).axes[0].get_xlabel()
    'kept between tasks besides the detector'
    """
    sizes = [p.x for p in points if p.x > 0]
    lowest = np.floor(np.log10(min(sizes))) if sizes else 3.0
    highest = np.ceil(np.log10(max(sizes))) if sizes else 3.0
    nothing = lowest - 0.8
    placed = [p._replace(x=np.log10(p.x) if p.x > 0 else nothing) for p in points]
    figure, panel = _panel(placed, bounds, what, lower)
    panel.set_xlim(nothing - 0.5, max(highest, lowest + 1) + 0.2)
    decades = np.arange(lowest, max(highest, lowest + 1) + 1)
    panel.set_xticks([nothing, *decades], ["nothing", *(_size(10.0**d) for d in decades)])
    panel.axvline((nothing + lowest) / 2, color=FAINT, linewidth=1.2, linestyle=":")
    panel.set_xlabel("kept between tasks besides the detector")
    return _finish(figure, panel, placed, front, bounds)


@styled
def time_front(
    points: Sequence[Point],
    front: Sequence[str],
    bounds: Mapping[str, float],
    *,
    what: str,
    lower: bool,
) -> Figure:
    """The result against learning time, as a multiple of naive's, on a logarithmic scale.

    >>> time_front([Point("naive", 1, 0.3)], ["naive"], {}, what="EER", lower=True).axes[0].get_xlabel()
    'time to learn a task, as a multiple of naive'
    """
    placed = [p._replace(x=float(np.log10(p.x))) for p in points]
    figure, panel = _panel(placed, bounds, what, lower)
    low, high = min([p.x for p in placed] + [0.0]), max([p.x for p in placed] + [np.log10(2)])
    panel.set_xlim(low - 0.08 * (high - low) - 0.03, high + 0.16 * (high - low))
    ticks = [m * 10.0**d for d in range(-2, 4) for m in (1, 2, 5)]
    shown = [t for t in ticks if panel.get_xlim()[0] <= np.log10(t) <= panel.get_xlim()[1]]
    panel.set_xticks(np.log10(shown), [f"{t:g} ×" for t in shown])
    panel.set_xlabel("time to learn a task, as a multiple of naive")
    return _finish(figure, panel, placed, front, bounds)


@styled
def trade_off(points: Sequence[Point], *, across: str, up: str) -> Figure:
    """Two results of each method against each other, for instance plasticity against stability.

    Values are fractions, drawn in per cent; bounds are hollow.

    >>> drawn = trade_off([Point("ewc", 0.1, 0.2)], across="EER as learned", up="forgetting")
    >>> drawn.axes[0].get_ylabel()
    'forgetting, points'
    """
    placed = [p._replace(x=100 * p.x) for p in points]
    figure, panel = _panel(placed, {}, up, True)
    xs = [p.x for p in placed]
    room = 0.08 * max(max(xs) - min(xs), 1.0)
    panel.set_xlim(min(xs) - room, max(xs) + 2 * room)
    panel.set(xlabel=f"{across}, %", ylabel=f"{up}, points")
    panel.axhline(0, color=INK, linewidth=0.7, alpha=0.6)
    return _finish(figure, panel, placed, [], {})


def _panel(
    points: Sequence[Point], bounds: Mapping[str, float], what: str, lower: bool
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.2, 3.6 + 0.11 * len(points)), layout="constrained")
    panel = figure.subplots()
    levels = [100 * p.y for p in points] + [100 * level for level in bounds.values()]
    room = 0.08 * max(max(levels) - min(levels), 1.0)
    panel.set_ylim(min(levels) - room, max(levels) + room)
    panel.set_ylabel(f"{what}, % ({'lower' if lower else 'higher'} is better)")
    return figure, panel


def _finish(
    figure: Figure,
    panel: Axes,
    points: Sequence[Point],
    front: Sequence[str],
    bounds: Mapping[str, float],
) -> Figure:
    steps = _staircase([p for p in points if p.label in front], panel.get_xlim()[1])
    panel.plot([x for x, _ in steps], [y for _, y in steps], color=_FRONT, linewidth=1.2, alpha=0.55)
    for level in bounds.values():
        panel.axhline(100 * level, color=INK, linewidth=0.9, linestyle="--", alpha=0.7)
    for point in points:
        colour = _FRONT if point.label in front else _OTHER
        panel.plot(
            point.x, 100 * point.y, _MARKERS[point.keeps], color=colour, markersize=6,
            markerfacecolor="none" if point.is_bound else colour,
        )  # fmt: skip
    _draw_keys(figure, points, front)
    left, right = panel.get_xlim()
    lines = [((left, 100 * level), (right, 100 * level)) for level in bounds.values()]
    names = [Named(p.x, 100 * p.y, p.label, p.label in front) for p in points]
    names += [Named(right, 100 * y, f"{k} (bound)", has_line=False) for k, y in bounds.items()]
    name_points(panel, names, [*lines, *pairwise(steps)])
    return figure


def _staircase(front: Sequence[Point], end: float) -> list[tuple[float, float]]:
    """The corners of the best result that each cost can buy, up to the cost ``end``."""
    steps: list[tuple[float, float]] = []
    for point in sorted(front, key=lambda p: p.x):
        if steps:
            steps.append((point.x, steps[-1][1]))
        steps.append((point.x, 100 * point.y))
    return [*steps, (end, steps[-1][1])] if steps else []


def _draw_keys(figure: Figure, points: Sequence[Point], front: Sequence[str]) -> None:
    markers = {_MARKERS[p.keeps] for p in points}
    keys = [dot_key(_OTHER, name, marker) for marker, name in _KEYS.items() if marker in markers]
    if front:
        keys.append(Line2D([], [], color=_FRONT, label="front: no other is better in both"))
    if any(p.is_bound for p in points):
        keys.append(dot_key(_OTHER, "bound, not ranked", hollow=True))
    figure.legend(handles=keys, loc="outside upper left", ncols=len(keys))


def _size(size: float) -> str:
    factor, unit = next((f, u) for f, u in _UNITS if size >= f)
    return f"{size / factor:g} {unit}"
