"""Pictures of what scores are worth: reliability, review budget, and a grid of conditions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from earwitness.figures.style import BONAFIDE, FAINT, INK, PALETTE, PAPER, legend_above, styled
from earwitness.metrics.review import Review

__all__ = ["condition_grid", "reliability", "review_curves"]

_BINS = 10
_BROWN = "#2b1d0e"
_LOWEST = 0.001  # share of the hours at which the review curve begins


@styled
def reliability(bonafide: NDArray[np.float64], spoof: NDArray[np.float64]) -> Figure:
    """How often trials of each stated probability are bonafide; calibrated scores lie on the diagonal.

    Scores are read as log-likelihood ratios and become probabilities at equal priors; both classes
    weigh the same, however many trials they have. Ten bins with equally many trials; the lines are
    95 % intervals of the share in a bin, trials taken as independent. The bars below are the share
    of the trials in each tenth of the probability.

    >>> rng = np.random.default_rng(0)
    >>> figure = reliability(rng.normal(2, 2, 200), rng.normal(-2, 2, 200))
    >>> figure.axes[0].get_ylabel()
    'observed share of bonafide, %'
    """
    figure = Figure(figsize=(5.4, 5.9), layout="constrained")
    panel, below = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True)
    panel.plot([0, 100], [0, 100], color=FAINT, linewidth=1.2)
    stated, observed, reach = _bins(bonafide, spoof)
    panel.errorbar(
        100 * stated, 100 * observed, yerr=100 * reach, color=BONAFIDE, marker="o", linewidth=1.2,
        elinewidth=1.0, label="this system",
    )  # fmt: skip
    panel.set(ylabel="observed share of bonafide, %", xlim=(-2, 102), ylim=(-2, 102))
    chances = _chances(np.concatenate([bonafide, spoof]))
    share = 100 * np.histogram(chances, np.linspace(0, 1, _BINS + 1))[0] / len(chances)
    below.bar(np.arange(5, 105, 10), share, width=9, color=FAINT, edgecolor=INK, linewidth=0.5)
    below.set(xlabel="stated probability of bonafide at equal priors, %", ylabel="trials, %")
    return figure


def _chances(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities at equal priors, without overflow."""
    return np.exp(-np.logaddexp(0.0, -ratios))


def _bins(
    bonafide: NDArray[np.float64], spoof: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean stated probability, weighted share of bonafide and its reach down and up, by bin."""
    scores = np.concatenate([bonafide, spoof])
    weight = np.repeat([0.5 / len(bonafide), 0.5 / len(spoof)], [len(bonafide), len(spoof)])
    is_bonafide = np.arange(len(scores)) < len(bonafide)
    order = np.argsort(scores, kind="stable")
    told = []
    for rows in np.array_split(order, min(_BINS, len(order))):
        mass = weight[rows]
        share = float(mass[is_bonafide[rows]].sum() / mass.sum())
        stated = float(mass @ _chances(scores[rows]) / mass.sum())
        # Wilson's interval with the number of equally weighted trials that would tell as much.
        n = float(mass.sum() ** 2 / (mass**2).sum())
        middle, half = _wilson(share, n)
        told.append((stated, share, share - (middle - half), middle + half - share))
    stated, share, down, up = np.array(told).T
    return stated, share, np.maximum([down, up], 0)


def _wilson(share: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    scale = 1 + z**2 / n
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / scale
    return (share + z**2 / (2 * n)) / scale, float(half)


@styled
def review_curves(
    told: Review,
    unit: str = "trials",
    band: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Figure:
    """The share of the fakes found against the share of the hours heard, most suspicious first.

    ``band`` are shares and the lowest and highest recall there (`metrics.review.review_band`).

    >>> from earwitness.metrics.review import review
    >>> figure = review_curves(review([0, 1, 2, 3], [True, False, True, False]))
    >>> [line.get_label() for line in figure.axes[0].get_lines()]
    ['this system', 'only fakes, shortest first', 'in any order']
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    panel = figure.subplots()
    shares = np.geomspace(_LOWEST, 1, 400)
    budgets = shares * told.total
    lines: Mapping[str, tuple[list[float], str, str]] = {
        "this system": ([told.recall_at(b) for b in budgets], PALETTE[0], "-"),
        "only fakes, shortest first": ([told.oracle_at(b) for b in budgets], INK, ":"),
        "in any order": ([told.random_at(b) for b in budgets], "#7b8794", "--"),
    }
    for label, (recall, colour, dashes) in lines.items():
        panel.plot(100 * shares, 100 * np.array(recall), color=colour, linestyle=dashes, label=label)
    if band is not None:
        shares, low, high = band
        panel.fill_between(
            100 * shares, 100 * low, 100 * high, color=PALETTE[0], alpha=0.2, linewidth=0
        )
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
    panel.set(xlabel=f"heard, % of {told.total:,.0f} {unit}", ylabel="fakes found, %", ylim=(0, 102))
    legend_above(figure, panel)
    return figure


@styled
def condition_grid(
    rows: Sequence[str],
    across: Sequence[str],
    table: NDArray[np.float64],
    *,
    names: tuple[str, str],
    percent: bool = True,
) -> Figure:
    """A table of values as a heat map; cells without a value stay empty.

    >>> grid = condition_grid(["A1", "(all)"], ["mp3"], np.array([[0.1], [np.nan]]),
    ...                       names=("attack", "codec"))
    >>> [text.get_text() for text in grid.axes[0].texts]
    ['10.0']
    """
    size = 2.2 + 0.62 * len(across), 1.5 + 0.36 * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    top = max(float(np.nanmax(table)), 1e-9)
    masked = np.ma.masked_invalid(table)
    panel.pcolormesh(masked, cmap="YlOrBr", vmin=0, vmax=1.25 * top, edgecolors=PAPER, linewidth=1.2)
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            text = f"{100 * value:.1f}" if percent else f"{value:.2f}"
            colour = _BROWN if value < 0.8 * top else "white"
            panel.text(column + 0.5, row + 0.5, text, color=colour, ha="center", va="center", size=8)
    panel.set_xticks(
        np.arange(len(across)) + 0.5, across, rotation=38, ha="right", rotation_mode="anchor"
    )
    panel.set_yticks(np.arange(len(rows)) + 0.5, rows)
    panel.set(xlabel=names[1], ylabel=names[0])
    panel.invert_yaxis()
    panel.grid(False)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return figure
