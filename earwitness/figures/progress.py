"""How the mean over the tasks seen so far goes along the stream, for few methods or many."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from earwitness.figures.style import FAINT, PALETTE, Look, colours, grid_of_axes, legend_above, styled

__all__ = ["Curve", "progress"]

Curve = Sequence[tuple[float, float | None, float | None]]
"""Mean, low and high after each task; fractions, the ends None without an interval."""

_TOGETHER = 6  # lines that one panel can hold
_ACROSS = 5
_OWN, _GREY = PALETTE[0], "#7b8794"
_DASHES: tuple[Any, ...] = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))


@styled
def progress(
    curves: Mapping[str, Curve], *, what: str, reference: str | None, bounds: Collection[str]
) -> Figure:
    """Up to six methods share a panel; more have one each, before the range of all and the references.

    Args:
        curves: of each method, in the order in which they should stand.
        what: the metric's name.
        reference: the label that every panel shows.
        bounds: labels that are not part of the range.

    >>> line = [(0.1, None, None), (0.2, 0.1, 0.3)]
    >>> len(progress({"naive": line, "ewc": line}, what="EER", reference="naive", bounds=[]).axes)
    1
    >>> many = {f"method {n}": line for n in range(7)}
    >>> len(progress(many, what="EER", reference=None, bounds=[]).axes)
    7
    """
    names = [label for label in curves if label not in bounds and label != reference]
    if len(curves) <= _TOGETHER or not names:
        return _together(curves, what)
    figure, panels = grid_of_axes(len(names), across=_ACROSS, height=1.45)
    times = list(range(1, len(curves[names[0]]) + 1))
    ranked = np.array([_means(curve) for label, curve in curves.items() if label not in bounds])
    shown = [label for label in curves if label in bounds or label == reference]
    dashes = {label: _DASHES[place % len(_DASHES)] for place, label in enumerate(shown)}
    for panel, label in zip(panels, names, strict=True):
        panel.fill_between(times, ranked.min(0), ranked.max(0), color=FAINT, linewidth=0)
        for other, style in dashes.items():
            panel.plot(times, _means(curves[other]), color=_GREY, linestyle=style, linewidth=1)
        _draw(panel, curves[label], Look(_OWN, "o", "-"))
        panel.set_title(label, fontsize=9, pad=3)
        panel.set_xticks(times)
    _set_limits(panels[0], curves)
    figure.supxlabel("tasks learned so far", fontsize=10)
    figure.supylabel(f"mean {what} of the tasks seen, %", fontsize=10)
    _draw_keys(figure, dashes)
    return figure


def _together(curves: Mapping[str, Curve], what: str) -> Figure:
    figure = Figure(figsize=(8.2, 4), layout="constrained")
    panel = figure.subplots()
    for label, look in colours(curves).items():
        _draw(panel, curves[label], look, label)
    panel.set_xticks(range(1, len(next(iter(curves.values()))) + 1))
    _set_limits(panel, curves)
    panel.set(xlabel="tasks learned so far", ylabel=f"mean {what} of the tasks seen, %")
    legend_above(figure, panel)
    return figure


def _draw(panel: Axes, curve: Curve, look: Look, label: str = "") -> None:
    times = range(1, len(curve) + 1)
    line = panel.plot(times, _means(curve), look.dashes, color=look.colour, label=label)[0]
    line.set(marker=look.marker, markersize=3.5)
    if all(low is not None for _, low, _ in curve):
        low, high = ([100 * (point[end] or 0.0) for point in curve] for end in (1, 2))
        panel.fill_between(times, low, high, color=look.colour, alpha=0.2, linewidth=0)


def _draw_keys(figure: Figure, dashes: Mapping[str, Any]) -> None:
    keys: list[Artist] = [Line2D([], [], color=_OWN, marker="o", markersize=3.5, label="this method")]
    for label, style in dashes.items():
        keys.append(Line2D([], [], color=_GREY, linestyle=style, linewidth=1, label=label))
    keys.append(Patch(color=FAINT, label="range of all ranked"))
    figure.legend(handles=keys, loc="outside upper left", ncols=min(len(keys), 8))


def _means(curve: Curve) -> list[float]:
    return [100 * mean for mean, _, _ in curve]


def _set_limits(panel: Axes, curves: Mapping[str, Curve]) -> None:
    """From the means: an interval of a few runs may leave the picture."""
    levels = [level for curve in curves.values() for level in _means(curve)]
    room = 0.06 * max(max(levels) - min(levels), 1.0)
    panel.set_ylim(min(levels) - room, max(levels) + room)
