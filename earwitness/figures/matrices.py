"""Pictures of task matrices: what a model knew after each task, about every task."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from earwitness.figures.style import INK, PAPER, grid_of_axes, styled

__all__ = ["draw_matrices", "highest", "matrix_heatmap", "matrix_sheet"]

_ACROSS = 3
_BROWN = "#2b1d0e"
_HATCH = "#b5a89f"  # seen on light and on dark paper


@styled
def matrix_heatmap(
    matrix: ArrayLike, tasks: Sequence[str], title: str, *, top: float | None = None
) -> Figure:
    """One task matrix: row = after learning a task, column = the task it is judged on.

    Args:
        matrix: ``(tasks, tasks)`` error rates, fractions.
        tasks: names, in the order of learning.
        title: usually the strategy.
        top: the rate drawn darkest, so that several matrices can share a scale.

    >>> matrix_heatmap([[0.1, 0.5], [0.2, 0.1]], ["one", "two"], "naive").axes[0].get_title("left")
    'naive'
    """
    side = 1.4 + 0.52 * len(tasks)
    figure = Figure(figsize=(side + 0.1, side), layout="constrained")
    rates = np.asarray(matrix, dtype=np.float64)
    _draw_matrix(figure.subplots(), rates, tasks, title, highest(rates) if top is None else top)
    return figure


@styled
def matrix_sheet(
    matrices: Mapping[str, NDArray[np.float64]], tasks: Sequence[str], title: str
) -> Figure:
    """The matrices of several strategies on one sheet and one colour scale.

    >>> len(matrix_sheet({"naive": np.eye(2), "ewc": np.eye(2)}, ["a", "b"], "a run").axes)
    2
    """
    figure, panels = grid_of_axes(len(matrices), across=_ACROSS, height=4.2, share=False)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    draw_matrices(panels, matrices, tasks)
    return figure


def draw_matrices(
    panels: Sequence[Axes],
    matrices: Mapping[str, NDArray[np.float64]],
    tasks: Sequence[str],
) -> None:
    """Draw on one colour scale; only the first panel of a row names its rows."""
    top = max(highest(matrix) for matrix in matrices.values())
    for place, (panel, (label, matrix)) in enumerate(zip(panels, matrices.items(), strict=True)):
        _draw_matrix(panel, matrix, tasks, label, top)
        if place % _ACROSS:
            panel.set_ylabel("")
            panel.set_yticklabels([])


def highest(matrix: NDArray[np.float64]) -> float:
    """The highest error rate on a task that was already learned.

    >>> highest(np.array([[0.1, 0.5], [0.2, 0.1]]))
    0.2
    """
    return float(matrix[np.tril_indices(len(matrix))].max())


def _draw_matrix(
    panel: Axes, matrix: NDArray[np.float64], tasks: Sequence[str], title: str, top: float
) -> None:
    panel.pcolormesh(
        matrix, cmap="YlOrBr", vmin=0, vmax=max(1.25 * top, 1e-9), edgecolors=PAPER, linewidth=1.5
    )
    for after, on in np.ndindex(matrix.shape):
        rate = matrix[after, on]
        colour = _BROWN if rate < 0.8 * top else "white"
        if on > after:
            _veil(panel, (on, after))
            colour = INK
        middle = (on + 0.5, after + 0.5)
        panel.text(*middle, f"{100 * rate:.1f}", color=colour, ha="center", va="center", size=8.5)
    panel.set(title=title, xlabel="judged on", ylabel="after learning", aspect="equal")
    middles = np.arange(len(tasks)) + 0.5
    panel.set_xticks(middles, tasks, rotation=38, ha="right", rotation_mode="anchor")
    panel.set_yticks(middles, tasks)
    panel.invert_yaxis()
    panel.grid(False)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def _veil(panel: Axes, corner: tuple[float, float]) -> None:
    """Fade and hatch the cell of a task that was not yet learned."""
    panel.add_patch(Rectangle(corner, 1, 1, facecolor=PAPER, alpha=0.8, linewidth=0))
    panel.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=_HATCH, hatch="//", linewidth=0))
