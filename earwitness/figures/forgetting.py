"""Pictures of what was learned and forgotten: curves and bars, with intervals over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earwitness.evaluation import mean_interval
from earwitness.figures.matrices import draw_matrices
from earwitness.figures.style import FAINT, INK, Look, colours, grid_of_axes, legend_above, styled

__all__ = ["average_curve", "forgetting_curves", "headline", "summary_bars"]

_Interval = tuple[float, float | None, float | None]
_SEEDS_FOR_A_BAND = 3


@styled
def forgetting_curves(stacks: Mapping[str, NDArray[np.float64]], tasks: Sequence[str]) -> Figure:
    """A panel for each judged task: its error rate after every task learned, a line a strategy.

    ``stacks`` maps a strategy to ``(seeds, tasks, tasks)``. The shaded band is the 95 % interval
    over seeds; two seeds are thin lines instead. The hatched part is before the task was learned.

    >>> len(forgetting_curves({"naive": np.full((2, 3, 3), 0.1)}, ["a", "b", "c"]).axes)
    3
    """
    figure, panels = grid_of_axes(len(tasks))
    times = np.arange(1, len(tasks) + 1)
    for on, (panel, task) in enumerate(zip(panels, tasks, strict=True)):
        for label, look in colours(stacks).items():
            _draw_line(panel, times, stacks[label][:, :, on], label, look)
        panel.axvspan(0.7, on + 1, facecolor="none", edgecolor=FAINT, hatch="///", linewidth=0)
        panel.axvline(on + 1, color=INK, linewidth=0.9)
        panel.set_title(f"{on + 1}  {task}")
        panel.set_xticks(times)
        panel.set_xlim(0.7, len(tasks) + 0.3)
    panels[0].set_ylim(0, _ceiling(*stacks.values()))
    figure.supxlabel("tasks learned so far", fontsize=10)
    figure.supylabel("EER, %", fontsize=10)
    legend_above(figure, panels[0])
    return figure


@styled
def average_curve(stacks: Mapping[str, NDArray[np.float64]], tasks: Sequence[str]) -> Figure:
    """Mean error rate over the tasks seen so far, against how many were learned.

    >>> average_curve({"naive": np.full((1, 2, 2), 0.1)}, ["a", "b"]).axes[0].get_ylabel()
    'mean EER of the tasks seen, %'
    """
    figure = Figure(figsize=(8.2, 4), layout="constrained")
    panel = figure.subplots()
    _draw_average(panel, stacks, tasks)
    legend_above(figure, panel)
    return figure


@styled
def summary_bars(finals: Mapping[str, _Interval], differences: Mapping[str, _Interval]) -> Figure:
    """Final average error of each strategy and, beside it, its paired difference to naive.

    Both map a strategy to ``(mean, low, high)``, fractions; low and high are None for one seed.

    >>> len(summary_bars({"naive": (0.2, None, None)}, {}).axes)
    1
    """
    figure = Figure(figsize=(9, 1.3 + 0.36 * len(finals)), layout="constrained")
    looks = colours(finals)
    if not differences:
        _draw_bars(figure.subplots(), finals, looks)
        return figure
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_bars(left, finals, looks)
    places = {label: place for place, label in enumerate(finals)}
    _draw_differences(right, {places[k]: (ends, looks[k]) for k, ends in differences.items()})
    return figure


@styled
def headline(
    stacks: Mapping[str, NDArray[np.float64]],
    tasks: Sequence[str],
    title: str,
    *,
    shown: Sequence[str],
) -> Figure:
    """One picture for a front page: the average curve above the mean matrices of ``shown``.

    >>> stacks = {"naive": np.full((1, 2, 2), 0.1)}
    >>> len(headline(stacks, ["a", "b"], "a run", shown=["naive"]).axes)
    2
    """
    figure = Figure(figsize=(10.5, 8.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1), squeeze=False)[:, 0]
    above.suptitle(title, fontsize=12, x=0.01, ha="left")
    panel = above.subplots()
    _draw_average(panel, stacks, tasks)
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    places = list(below.subplots(1, len(shown), squeeze=False)[0])
    draw_matrices(places, {label: stacks[label].mean(axis=0) for label in shown}, tasks)
    return figure


def _draw_average(panel: Axes, stacks: Mapping[str, NDArray[np.float64]], tasks: Sequence[str]) -> None:
    times = np.arange(1, len(tasks) + 1)
    means = {label: _seen_so_far(stack) for label, stack in stacks.items()}
    for label, look in colours(stacks).items():
        _draw_line(panel, times, means[label], label, look)
    panel.set_xticks(times, [f"{n}\n{task}" for n, task in zip(times, tasks, strict=True)])
    if len(tasks) > 4:
        panel.tick_params(axis="x", labelsize=8)
    panel.set_xlim(0.7, len(tasks) + 0.3)
    panel.set_ylim(0, _ceiling(*means.values()))
    panel.set(xlabel="tasks learned, in order", ylabel="mean EER of the tasks seen, %")


def _seen_so_far(stack: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(seeds, tasks)``: the mean of each row over the columns of tasks already learned."""
    return np.stack([stack[:, i, : i + 1].mean(axis=1) for i in range(stack.shape[1])], axis=1)


def _draw_line(
    panel: Axes, times: NDArray[np.int64], values: NDArray[np.float64], label: str, look: Look
) -> None:
    """Mean over seeds, and how sure it is; ``values`` is ``(seeds, times)``.

    An interval of two seeds is thirteen standard errors wide to either side: it would hide the
    picture and say nothing, so up to two seeds are shown as themselves.
    """
    colour = look.colour
    points = [mean_interval(column) for column in values.T]
    means = [100 * mean for mean, _, _ in points]
    panel.plot(times, means, color=colour, marker=look.marker, linestyle=look.dashes, label=label)
    if len(values) >= _SEEDS_FOR_A_BAND:
        low, high = ([100 * (ends[i] or 0) for ends in points] for i in (1, 2))
        panel.fill_between(times, low, high, color=colour, alpha=0.13, linewidth=0)
    elif len(values) > 1:
        panel.plot(times, 100 * values.T, color=colour, linewidth=0.7, alpha=0.55)


def _draw_bars(panel: Axes, finals: Mapping[str, _Interval], looks: Mapping[str, Look]) -> None:
    for place, (label, (mean, low, high)) in enumerate(finals.items()):
        panel.barh(place, 100 * mean, height=0.56, color=looks[label].colour, alpha=0.85)
        _draw_ends(panel, place, low, high)
    panel.set_yticks(range(len(finals)), list(finals))
    panel.invert_yaxis()
    # No error rate is below 0, though the interval of a few seeds may be.
    panel.set_xlim(left=0)
    panel.set(xlabel="EER, %", title="final average EER")
    _without_rows(panel)


def _draw_differences(panel: Axes, differences: Mapping[int, tuple[_Interval, Look]]) -> None:
    panel.axvline(0, color=INK, linewidth=0.9)
    for place, ((mean, low, high), look) in differences.items():
        _draw_ends(panel, place, low, high)
        panel.plot(100 * mean, place, look.marker, color=look.colour, markersize=7)
    panel.set(xlabel="EER points (left of 0 is better)", title="difference to naive")
    _without_rows(panel)


def _draw_ends(panel: Axes, place: int, low: float | None, high: float | None) -> None:
    if low is not None and high is not None:
        panel.plot([100 * low, 100 * high], [place, place], color=INK, linewidth=1.4)


def _without_rows(panel: Axes) -> None:
    panel.grid(False, axis="y")
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def _ceiling(*values: NDArray[np.float64]) -> float:
    """The top of a shared axis, in per cent, from the seeds themselves.

    Intervals of two or three seeds can be wider than everything else; they may leave the picture.
    """
    return max(1.0, 108 * max(float(value.max()) for value in values))
