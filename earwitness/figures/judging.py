"""Pictures of scores: how far apart the two classes lie, and what each threshold would cost."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri

from earwitness.figures.style import (
    BONAFIDE,
    FAINT,
    PALETTE,
    SPOOF,
    grid_of_axes,
    legend_above,
    styled,
)
from earwitness.metrics.curves import det_curve
from earwitness.scores import Scores

__all__ = ["det_curves", "score_histograms"]

_RATES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_DASHES = ("-", "--", ":")
_MOST_POINTS = 2000  # of a curve


@styled
def score_histograms(scores: Mapping[str, Scores]) -> Figure:
    """A panel for each task: the share of bonafide and of spoof trials at each score.

    The bins are the same in all panels. Each class sums to 100 %, however many trials it has.

    >>> one = Scores(["a", "b", "c"], [2, 1, -1], ["bonafide", "bonafide", "spoof"])
    >>> score_histograms({"clean": one}).axes[0].get_title("left")
    'clean'
    """
    figure, panels = grid_of_axes(len(scores))
    everything = np.concatenate([one.values for one in scores.values()])
    bins = np.histogram_bin_edges(everything, bins=32)
    for panel, (task, one) in zip(panels, scores.items(), strict=True):
        _draw_share(panel, one.bonafide, bins, BONAFIDE, "bonafide")
        _draw_share(panel, one.spoof, bins, SPOOF, "spoof")
        panel.set_title(task)
    figure.supxlabel("score (higher: more likely bonafide)", fontsize=10)
    figure.supylabel("share of the class, %", fontsize=10)
    legend_above(figure, panels[0])
    return figure


@styled
def det_curves(scores: Mapping[str, Scores]) -> Figure:
    """Detection error trade-off of each task: missed bonafide against accepted spoofs.

    Both axes are stretched by the probit function, as in Martin et al., "The DET curve in
    assessment of detection task performance" (Eurospeech 1997). The diagonal is where the two
    error rates are equal; a curve crosses it at its EER.

    >>> one = Scores(["a", "b", "c"], [2, 1, -1], ["bonafide", "bonafide", "spoof"])
    >>> det_curves({"clean": one}).axes[0].get_xlabel()
    'spoof accepted, %'
    """
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    panel = figure.subplots()
    edges = ndtri([_RATES[0], _RATES[-1]])
    panel.plot(edges, edges, color=FAINT, linewidth=1.2)
    for place, (task, one) in enumerate(scores.items()):
        miss, false_alarm, _ = det_curve(one.bonafide, one.spoof)
        turn, colour = divmod(place, len(PALETTE))
        across, up = _thinned(_stretched(false_alarm), _stretched(miss))
        panel.plot(
            across, up, drawstyle="steps-post", label=task,
            color=PALETTE[colour], linestyle=_DASHES[turn % len(_DASHES)],
        )  # fmt: skip
    ticks = [f"{100 * rate:g}" for rate in _RATES]
    panel.set_xticks(ndtri(_RATES), ticks)
    panel.set_yticks(ndtri(_RATES), ticks)
    panel.set(xlim=edges, ylim=edges, box_aspect=1)
    panel.set(xlabel="spoof accepted, %", ylabel="bonafide rejected, %")
    legend_above(figure, panel)
    return figure


def _draw_share(
    panel: Axes, values: NDArray[np.float64], bins: NDArray[np.float64], colour: str, label: str
) -> None:
    share = 100 * np.histogram(values, bins)[0] / max(1, len(values))
    panel.stairs(share, bins, fill=True, color=colour, alpha=0.3)
    panel.stairs(share, bins, color=colour, linewidth=1.5, label=label)


def _thinned(
    across: NDArray[np.float64], up: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of very many points, those that can be told apart in the picture."""
    if len(across) <= _MOST_POINTS:
        return across, up
    places = np.round(np.stack([across, up]) * _MOST_POINTS / 8)
    kept = np.append(np.any(np.diff(places) != 0, axis=0), True)
    return across[kept], up[kept]


def _stretched(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probit of rates; 0 and 1, which are infinitely far, go just outside the picture."""
    return ndtri(np.clip(rates, _RATES[0] / 2, (1 + _RATES[-1]) / 2))
