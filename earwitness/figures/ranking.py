"""A picture that ranks methods: a row each, its mean, its interval, and the runs it is made of."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from earwitness.figures.labels import dot_key
from earwitness.figures.style import FAINT, INK, PALETTE, styled

__all__ = ["Row", "ranked_rows"]

_MARKED, _OTHER, _RUN = PALETTE[0], "#7b8794", "#9aa5b1"
_HEIGHT = 0.27  # of a row, in inches
_GAP = 0.6  # between the ranked and the bounds, in rows


class Row(NamedTuple):
    """One method: mean, low and high end (None without interval), fractions, and each run's value."""

    label: str
    mean: float
    low: float | None
    high: float | None
    runs: Sequence[float]
    is_marked: bool = False
    is_bound: bool = False


@styled
def ranked_rows(
    rows: Sequence[Row], *, what: str, reference: str | None, marked: str, lower: bool = True
) -> Figure:
    """A row for each method in the given order, the bounds below a gap.

    Args:
        rows: as they should stand, best first.
        what: the measure.
        reference: the label whose mean is drawn as a line through all rows.
        marked: what the marked rows have in common, for the key.
        lower: whether lower is better.

    >>> row = Row("naive", 0.3, None, None, [0.3])
    >>> ranked_rows([row], what="EER", reference="naive", marked="best").axes[0].get_xlabel()
    'EER, % (lower is better)'
    """
    figure = Figure(figsize=(8.2, 1.3 + _HEIGHT * len(rows)), layout="constrained")
    panel = figure.subplots()
    places = [i + _GAP * row.is_bound for i, row in enumerate(rows)]
    for row, place in zip(rows, places, strict=True):
        _draw(panel, row, place)
        if row.label == reference:
            panel.axvline(100 * row.mean, color=_OTHER, linewidth=1, linestyle="--", zorder=1)
    _set_limits(panel, rows)
    panel.set_yticks(places, [row.label for row in rows])
    panel.set_ylim(places[-1] + 0.7, -0.7)
    values = panel.secondary_yaxis("right")
    values.set_yticks(places, [f"{100 * row.mean:.1f}" for row in rows])
    for axis in (panel, values):
        axis.tick_params(axis="y", length=0)
        axis.spines[:].set_visible(False)
    panel.spines["bottom"].set_visible(True)
    panel.grid(False, axis="y")
    panel.set_xlabel(f"{what}, % ({'lower' if lower else 'higher'} is better)")
    _draw_keys(figure, rows, reference, marked)
    return figure


def _draw(panel: Axes, row: Row, place: float) -> None:
    colour = _MARKED if row.is_marked else _OTHER
    panel.axhline(place, color=FAINT, linewidth=0.7, zorder=0)
    runs = [100 * value for value in row.runs]
    panel.plot(runs, [place] * len(runs), "|", color=_RUN, markersize=6, alpha=0.8)
    if row.low is not None and row.high is not None:
        panel.plot([100 * row.low, 100 * row.high], [place, place], color=INK, linewidth=1.4)
    fill = "none" if row.is_bound else colour
    panel.plot(100 * row.mean, place, "o", color=colour, markersize=6.5, markerfacecolor=fill)


def _set_limits(panel: Axes, rows: Sequence[Row]) -> None:
    """From the runs themselves: an interval of two or three may leave the picture."""
    values = [100 * value for row in rows for value in (*row.runs, row.mean)]
    room = 0.05 * max(max(values) - min(values), 1.0)
    panel.set_xlim(min(values) - room, max(values) + room)


def _draw_keys(figure: Figure, rows: Sequence[Row], reference: str | None, marked: str) -> None:
    keys = [
        Line2D([], [], color=INK, linewidth=1.4, label="95 % interval"),
        dot_key(_RUN, "one run", "|"),
    ]
    if any(row.is_marked for row in rows):
        keys.insert(0, dot_key(_MARKED, marked))
    if any(row.is_bound for row in rows):
        keys.append(dot_key(_OTHER, "bound", hollow=True))
    if reference is not None:
        keys.append(Line2D([], [], color=_OTHER, linestyle="--", linewidth=1, label=reference))
    figure.legend(handles=keys, loc="outside upper left", ncols=len(keys))
