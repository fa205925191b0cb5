"""Names beside the points of a picture, so that none hides another name or a point."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from earwitness.figures.style import INK

__all__ = ["Named", "dot_key", "name_points"]

_SIZE = 8.0  # of the letters, in points
_ROOM = 6.0  # between a point's middle and its name, in points
_LEVELS = 24  # how many half lines up and down a name may move
_SIDES = (1.0, 4.0, 8.0)  # how far aside, in rooms


Line = tuple[tuple[float, float], tuple[float, float]]


class Named(NamedTuple):
    """A point in data coordinates, its name, whether the name stands out, and may have a line to it."""

    x: float
    y: float
    name: str
    is_bold: bool = False
    has_line: bool = True


def name_points(panel: Axes, points: Sequence[Named], lines: Sequence[Line] = ()) -> None:
    """Write each name at the nearest free place beside its point, with a line to it where it is far.

    The places are tried in a fixed order, so the same points give the same picture. Limits and scales
    of the axes must be set before. Names keep clear of ``lines``, which are level or upright, in data
    coordinates. Where there is no free place left, a name stands beside its point.

    >>> panel = Figure().subplots()
    >>> name_points(panel, [Named(0.5, 0.5, "one"), Named(0.5, 0.5, "other")])
    >>> [text.get_text() for text in panel.texts]
    ['one', 'other']
    """
    figure = panel.get_figure(root=True)
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # so that the axes have their place
    pixels = figure.dpi / 72
    inside = panel.get_window_extent(renderer)
    places = [tuple(panel.transData.transform((p.x, p.y))) for p in points]
    taken = [Bbox([[x, y], [x, y]]).padded(0.6 * _ROOM * pixels) for x, y in places]
    taken += [Bbox.from_extents(*panel.transData.transform(line).flat).padded(1) for line in lines]
    for point, (x, y) in sorted(zip(points, places, strict=True), key=_turn):
        text = panel.annotate(
            point.name, (point.x, point.y), xytext=(0, 0), textcoords="offset points",
            fontsize=_SIZE, fontweight="bold" if point.is_bold else "normal", va="center",
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.5, "alpha": 0.5,
                        "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
        text.set_in_layout(False)  # the axes keep the place that was reckoned with
        width = Text.get_window_extent(text, renderer).width / pixels  # without the line
        aside, up = _free(x, y, width, pixels, taken, inside)
        text.set_position((aside, up))
        text.set_horizontalalignment("left" if aside > 0 else "right")
        if text.arrow_patch is not None:
            is_far = abs(up) > _SIZE / 2 or abs(aside) > _ROOM
            text.arrow_patch.set_visible(point.has_line and is_far)
        taken.append(_name_box(x, y, aside, up, width, pixels))


def _turn(one: tuple[Named, tuple[float, float]]) -> tuple[bool, bool, float]:
    """Names without a line choose first, then bold ones, then from the top down."""
    point, (_, y) = one
    return point.has_line, not point.is_bold, -y


def dot_key(colour: str, label: str, marker: str = "o", *, hollow: bool = False) -> Line2D:
    """A point for a legend.

    >>> dot_key("black", "a bound", hollow=True).get_label()
    'a bound'
    """
    fill = "none" if hollow else colour
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markerfacecolor=fill,
        linestyle="",
        markersize=6,
        label=label,
    )


def _free(
    x: float, y: float, width: float, pixels: float, taken: Sequence[Bbox], inside: Bbox
) -> tuple[float, float]:
    for aside, up in _offsets():
        box = _name_box(x, y, aside, up, width, pixels)
        within = (
            inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        )
        if within and not any(box.overlaps(other) for other in taken):
            return aside, up
    return _ROOM, 0.0


def _offsets() -> Iterator[tuple[float, float]]:
    """Right and left, up and down, the nearest first; in points."""
    steps = [0] + [sign * step for step in range(1, _LEVELS + 1) for sign in (1, -1)]
    found = [
        (abs(step) * 1.0 + 1.5 * (far - 1) + 0.1 * (side < 0), side * far * _ROOM, step * _SIZE / 2)
        for step in steps
        for far in _SIDES
        for side in (1, -1)
    ]
    return ((aside, up) for _, aside, up in sorted(found, key=lambda one: one[0]))


def _name_box(x: float, y: float, aside: float, up: float, width: float, pixels: float) -> Bbox:
    left = x + aside * pixels if aside > 0 else x + (aside - width) * pixels
    middle = y + up * pixels
    across, half = width * pixels, 0.62 * _SIZE * pixels
    return Bbox.from_extents(left, middle - half, left + across, middle + half).padded(2 * pixels, 0)
