"""How every picture looks, and how it becomes a file.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), which people with the common
kinds of colour blindness can tell apart. The object interface of matplotlib is used throughout: no
pyplot, no display, no open figures left behind.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earwitness.files import write_atomically

__all__ = [
    "BONAFIDE",
    "FAINT",
    "INK",
    "PALETTE",
    "PAPER",
    "SPOOF",
    "Look",
    "colours",
    "grid_of_axes",
    "legend_above",
    "styled",
    "to_png",
    "to_svg",
]

INK, FAINT, PAPER = "#1f2a36", "#d9dee4", "#fdfdfc"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
BONAFIDE, SPOOF = PALETTE[0], PALETTE[1]
_REFERENCES = {"naive": ("#7b8794", "X"), "joint": (INK, "*")}
_MARKERS = "osD^vP"
_DASHES = ("-", "--", ":")
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "figure.facecolor": PAPER,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "earwitness",
}
# Without these matplotlib writes the date, its version and addresses of vocabularies.
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_PAGE_WIDTH = 9.8  # inches
_Given = ParamSpec("_Given")


class Look(NamedTuple):
    """How one strategy is drawn everywhere."""

    colour: str
    marker: str
    dashes: str


def colours(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each strategy; dashes tell apart those whose colours are the same.

    The references keep theirs in every report, grey for ``naive`` and ink for ``joint``; the others
    get one by position.

    >>> looks = colours(["naive", "ewc", "owm"])
    >>> looks["naive"].colour, looks["ewc"]
    ('#7b8794', Look(colour='#0072b2', marker='o', dashes='-'))
    """
    looks: dict[str, Look] = {}
    taken: Counter[str] = Counter()
    for label in labels:
        name = label.rsplit("/", 1)[-1]  # of several runs, each may have its references
        kind = name if name in _REFERENCES else ""
        turn, place = divmod(taken[kind], 1 if kind else len(PALETTE))
        colour, marker = _REFERENCES.get(kind, (PALETTE[place], _MARKERS[place]))
        looks[label] = Look(colour, marker, _DASHES[turn % len(_DASHES)])
        taken[kind] += 1
    return looks


def styled(draw: Callable[_Given, Figure]) -> Callable[_Given, Figure]:
    """Run a drawing function under the house style, leaving matplotlib's own settings alone."""

    @wraps(draw)
    def drawn(*args: _Given.args, **kwargs: _Given.kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def grid_of_axes(
    number: int, *, across: int | None = None, height: float = 2.3, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of ``number`` panels of some ``height`` (inches), ``across`` in a row.

    By default three in a row, or four where three would leave one alone.
    """
    across = across or (4 if number % 3 == 1 else 3)
    columns = min(number, across)
    rows = -(-number // columns)
    width = max(4.5, _PAGE_WIDTH * columns / across)
    figure = Figure(figsize=(width, height * rows + 0.5), layout="constrained")
    made: NDArray[Any] = figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False)
    panels = list(made.flat)
    for empty in panels[number:]:
        empty.remove()
    # With shared axes only the lowest row has numbers; a panel above a gap needs them too.
    for panel in panels[max(0, number - columns) : number]:
        panel.tick_params(labelbottom=True)
    return figure, panels[:number]


def legend_above(figure: Figure, panel: Axes) -> None:
    """One legend for the whole figure, above it, in as many columns as the names leave room for."""
    handles, labels = panel.get_legend_handles_labels()
    letters = max(len(label) for label in labels) + 8  # the key and the gap are 8 letters wide
    columns = max(1, int(figure.get_figwidth() * 12 / letters))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def to_svg(figure: Figure) -> str:
    """The picture as SVG text: words stay words, no date, the same bytes every time.

    >>> to_svg(Figure()) == to_svg(Figure())
    True
    """
    out = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(out, format="svg", metadata=_NO_METADATA)
    text = out.getvalue()
    return text[text.index("<svg") :]


def to_png(figure: Figure, path: str | Path, *, dots_per_inch: int = 150) -> None:
    """Write the picture as PNG, atomically."""
    with matplotlib.rc_context(_STYLE):
        write_atomically(
            path,
            lambda temporary: figure.savefig(
                temporary, format="png", dpi=dots_per_inch, metadata={"Software": None}
            ),
        )
