"""The pictures that their scripts draw, of whatever methods are there: accuracies and EERs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from earwitness.figures.style import colours, legend_above, styled, to_png
from earwitness.files import write_atomically

__all__ = ["accuracy_curves", "accuracy_heatmap", "draw_accuracies", "draw_eers", "eer_curves"]


@styled
def accuracy_heatmap(matrix: ArrayLike, title: str) -> Figure:
    """One accuracy matrix: row = after training on a bucket, column = test bucket, cells in per cent.

    >>> accuracy_heatmap([[0.9, 0.5], [0.7, 0.8]], "RWM").axes[0].get_xticklabels()[1].get_text()
    'Test 2'
    """
    rates = np.asarray(matrix, dtype=np.float64)
    names = [str(number + 1) for number in range(len(rates))]
    side = 2.2 + 0.72 * len(rates)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    panel = figure.subplots()
    shown = panel.imshow(rates, cmap="Blues", interpolation="none")
    middle = (rates.min() + rates.max()) / 2
    for after, on in np.ndindex(rates.shape):
        colour = "white" if rates[after, on] > middle else "black"
        panel.text(on, after, f"{rates[after, on]:.2%}", color=colour, ha="center", va="center", size=8)
    panel.set_xticks(range(len(rates)), [f"Test {n}" for n in names], rotation=-90)
    panel.set_yticks(range(len(rates)), [f"Train {n}" for n in names])
    panel.grid(False)
    panel.set_title(title)
    figure.colorbar(shown, label="Test Accuracy")
    return figure


@styled
def accuracy_curves(matrices: Mapping[str, NDArray[np.float64]], on: int) -> Figure:
    """Accuracy on one test set after each training task, a line a method.

    >>> len(accuracy_curves({"RWM": np.eye(2), "EWC": np.eye(2)}, on=0).axes[0].lines)
    2
    """
    values = {label: 100 * matrix[:, on] for label, matrix in matrices.items()}
    return _lines(values, f"Acc(%) on Experience {on + 1}", ("Experiences", "Acc(%)"))


@styled
def eer_curves(rows: ArrayLike, on: Sequence[int]) -> Figure:
    """EER on one or several test sets after each training task, a line a test set.

    >>> len(eer_curves([[0.1, 0.4], [0.2, 0.1]], on=[0, 1]).axes[0].lines)
    2
    """
    rates = 100 * np.asarray(rows, dtype=np.float64)
    values = {f"Eval on Task {k + 1}": rates[:, k] for k in on}
    return _lines(values, "Evaluation EER (%)", ("After Training on Tasks", "EER (%)"))


def draw_accuracies(
    matrices: Mapping[str, NDArray[np.float64]], labels: Mapping[str, str], folder: Path
) -> Iterator[Path]:
    """Write a heat map for each name and a page of curves for each test set, as PDF and PNG."""
    for name, matrix in matrices.items():
        yield from _write(accuracy_heatmap(matrix, labels[name]), folder / name)
    tasks = {len(matrix) for matrix in matrices.values()}
    for on in range(max(tasks, default=0)):
        long = {name: matrix for name, matrix in matrices.items() if len(matrix) > on}
        unique = len({labels[name] for name in long}) == len(long)
        lines = {labels[name] if unique else name: matrix for name, matrix in long.items()}
        yield from _write(accuracy_curves(lines, on), folder / f"rwm_clear_exp_{on + 1}")


def draw_eers(rows: ArrayLike, folder: Path) -> None:
    """Write ``Evaluation_on_task_<k>.png`` for each test set and ``Evaluation_on_all_tasks.png``."""
    tests = range(np.asarray(rows).shape[1])
    for on in tests:
        to_png(eer_curves(rows, [on]), folder / f"Evaluation_on_task_{on + 1}.png")
    to_png(eer_curves(rows, tests), folder / "Evaluation_on_all_tasks.png")


def _lines(values: Mapping[str, NDArray[np.float64]], title: str, axes: tuple[str, str]) -> Figure:
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    panel = figure.subplots()
    for label, look in colours(values).items():
        times = np.arange(1, len(values[label]) + 1)
        panel.plot(
            times, values[label], look.dashes, color=look.colour, marker=look.marker, label=label
        )
        panel.set_xticks(times)
    panel.set(title=title, xlabel=axes[0], ylabel=axes[1])
    legend_above(figure, panel)
    return figure


def _write(figure: Figure, stem: Path) -> Iterator[Path]:
    pdf = stem.with_name(f"{stem.name}.pdf")
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        write_atomically(
            pdf, lambda path: figure.savefig(path, format="pdf", metadata={"CreationDate": None})
        )
    png = stem.with_name(f"{stem.name}.png")
    to_png(figure, png)
    yield from (pdf, png)
