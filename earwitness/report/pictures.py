"""The pictures of a report, drawn once and named by the place they take on the page."""

import re
from collections.abc import Mapping

import numpy as np
from markupsafe import escape
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earwitness import figures
from earwitness.figures.collapsing import collapse_curves, drawable
from earwitness.figures.matrices import highest
from earwitness.figures.style import FAINT, INK, PAPER
from earwitness.report.result import Report, StrategyResult
from earwitness.runs import Run

__all__ = ["draw_detail", "draw_overview", "front_picture", "inline", "matrix_picture"]


def draw_overview(report: Report) -> dict[str, Figure]:
    """Pictures that compare the strategies; the matrices are means over seeds."""
    stacks = _stacks(report)
    finals = {one.label: _ends(one.summaries["final_average"]) for one in report.strategies}
    differences = {
        one.label: _ends(one.against_naive["final_average"])
        for one in report.strategies
        if one.against_naive is not None
    }
    top = max(highest(stack.mean(axis=0)) for stack in stacks.values())
    matrices = {
        f"matrix {label}": figures.matrix_heatmap(stack.mean(axis=0), report.tasks, label, top=top)
        for label, stack in stacks.items()
    }
    return {
        "bars": figures.summary_bars(finals, differences),
        "average": figures.average_curve(stacks, report.tasks),
        "forgetting": figures.forgetting_curves(stacks, report.tasks),
        **matrices,
    }


def draw_detail(label: str, run: Run, split: str) -> dict[str, Figure]:
    """Pictures of one run: scores of its final model, and its logs as far as it has them."""
    last = len(run.tasks) - 1
    scores = {task: run.scores(last, on, split) for on, task in enumerate(run.tasks)}
    drawn = {
        f"scores {label}": figures.score_histograms(scores),
        f"det {label}": figures.det_curves(scores),
    }
    if steps := run.steps():
        drawn[f"loss {label}"] = figures.loss_curve(steps)
    if action := run.action():
        drawn[f"action {label}"] = figures.action_plot(action)
    if collapse := drawable(run.collapse()):
        drawn[f"collapse {label}"] = collapse_curves(collapse)
    return drawn


def front_picture(report: Report) -> Figure:
    """The picture for a front page: all curves, and the matrices of naive and the best two."""
    naive = [one.label for one in report.strategies if one.role == "naive"][:1]
    ranked = sorted(report.strategies, key=_rank)
    shown = naive + [one.label for one in ranked if one.label not in naive]
    return figures.headline(_stacks(report), report.tasks, _title(report), shown=shown[:3])


def matrix_picture(report: Report) -> Figure:
    """The mean task matrix of every strategy."""
    means = {label: stack.mean(axis=0) for label, stack in _stacks(report).items()}
    return figures.matrix_sheet(means, report.tasks, _title(report))


def inline(name: str, figure: Figure) -> str:
    """The picture as SVG for a page: ids of its own, and colours that follow light and dark.

    Several pictures share a page, so each one's ids get the picture's name; ink, grid and paper
    become the page's own colours.
    """
    own = re.sub(r"\W+", "-", name)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{own}-", figures.to_svg(figure))
    for colour, variable in ((INK, "ink"), (FAINT, "line"), (PAPER, "paper")):
        text = text.replace(colour, f"var(--{variable})")
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(name)}" ', 1)


def _rank(one: StrategyResult) -> tuple[bool, float]:
    """Best first, joint training behind all that keep learning."""
    return one.role == "joint", one.summaries["final_average"]["mean"] or 0.0


def _stacks(report: Report) -> Mapping[str, NDArray[np.float64]]:
    return {one.label: np.asarray(one.matrices, dtype=np.float64) for one in report.strategies}


def _ends(interval: Mapping[str, float | None]) -> tuple[float, float | None, float | None]:
    mean = interval["mean"]
    assert mean is not None
    return mean, interval["low"], interval["high"]


def _title(report: Report) -> str:
    seeds = len({seed for one in report.strategies for seed in one.seeds})
    title = f"{report.name}: EER in %, mean over {seeds} seed" + ("" if seeds == 1 else "s")
    return f"{title}\nsynthetic stand-in: says nothing about real speech" if report.stand_in else title
