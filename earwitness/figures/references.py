"""Pictures of what a reference is worth: error rates with it spoilt, and how much it is leaned on."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from earwitness.figures.style import BONAFIDE, FAINT, INK, PALETTE, styled

__all__ = ["degradation", "leaning"]


class _Heard(Protocol):
    @property
    def way(self) -> str: ...
    @property
    def judged(self) -> Any: ...


class _Diagnosis(Protocol):
    @property
    def test_gradient(self) -> NDArray[np.float64]: ...
    @property
    def reference_gradient(self) -> NDArray[np.float64]: ...
    @property
    def margin(self) -> NDArray[np.float64]: ...
    @property
    def noise(self) -> NDArray[np.float64]: ...
    @property
    def zero(self) -> NDArray[np.float64]: ...
    @property
    def branch_ratio(self) -> NDArray[np.float64]: ...


@styled
def degradation(heard: Sequence[_Heard]) -> Figure:
    """EER with each kind of reference, with its interval; the band is that of real references."""
    figure = Figure(figsize=(6.4, 1.2 + 0.34 * len(heard)), layout="constrained")
    panel = figure.subplots()
    values = [100 * one.judged.values["eer"] for one in heard]
    ends = np.array([one.judged.intervals["eer"] for one in heard]) * 100
    places = np.arange(len(heard))
    panel.axvspan(*ends[0], color=FAINT, alpha=0.35, linewidth=0)
    panel.axvline(values[0], color=FAINT, linewidth=1.2)
    reach = np.abs(ends.T - np.array(values))
    panel.errorbar(values, places, xerr=reach, fmt="o", color=BONAFIDE, elinewidth=1.2)
    panel.set_yticks(places, [one.way for one in heard])
    panel.set_ylim(len(heard) - 0.5, -0.5)
    panel.set(
        xlabel="EER, %, with 95 % intervals; the band is that of real references", ylabel="reference"
    )
    return figure


@styled
def leaning(found: _Diagnosis) -> Figure:
    """Slopes of the loss, margins with noise or nothing for a reference, and the branches' sizes."""
    figure = Figure(figsize=(10.2, 3.5), layout="constrained")
    slopes, margins, branches = figure.subplots(1, 3)
    _cloud(slopes, found.test_gradient, found.reference_gradient, INK)
    slopes.set(
        xscale="log", yscale="log", xlabel="slope by the recording, RMS",
        ylabel="slope by the reference, RMS",
    )  # fmt: skip
    for axis in (slopes.xaxis, slopes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
        axis.set_major_locator(LogLocator(numticks=4))
        axis.set_minor_locator(NullLocator())
    for name, values, colour in (("noise", found.noise, PALETTE[1]), ("none", found.zero, PALETTE[0])):
        _cloud(margins, found.margin, values, colour, name)
    margins.set(xlabel="margin with the reference", ylabel="margin with noise, or none")
    margins.legend(frameon=False, title="in its place")
    branches.hist(found.branch_ratio, bins=30, color=PALETTE[0], edgecolor="white", linewidth=0.4)
    branches.set(xlabel="attention over MLP, RMS", ylabel="trials")
    return figure


def _cloud(
    panel: Any, across: NDArray[np.float64], up: NDArray[np.float64], colour: str, label: str = ""
) -> None:
    """Points and the diagonal on which both are equal."""
    ends = [min(across.min(), up.min()), max(across.max(), up.max())]
    panel.plot(ends, ends, color=FAINT, linewidth=1.0, zorder=1)
    panel.scatter(across, up, s=6, color=colour, alpha=0.5, linewidths=0, label=label or None)
