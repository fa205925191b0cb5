"""Pictures of one verdict: where the recording lies among training clips, when, and at what pitch."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from earwitness.figures.style import BONAFIDE, FAINT, INK, PAPER, SPOOF, styled

__all__ = ["patches", "plane_card", "timeline"]

Floats = NDArray[np.float64]
_RATE = 16_000
_SHARES = (0.5, 0.9, 0.99)  # of a class's clips inside each contour
_FLOOR = -70  # dB below the loudest spot


@styled
def plane_card(
    u: float,
    v: float,
    density: Floats,
    edges_u: Floats,
    edges_v: Floats,
    *,
    windows: Floats | None = None,
    word: str = "",
) -> Figure:
    """The plane of both class means: the recording, its two distances, and the training clips.

    Both axes have one unit, the distance between the means, so lengths in the picture are distances.

    Args:
        u, v: of the recording, see `earwitness.landmarks`.
        density: (2, cells of u, cells of v), share of each class's training clips.
        edges_u, edges_v: bounds of the cells.
        windows: u of the recording's windows, drawn below the axis as small marks.
        word: the verdict.

    >>> edges = np.linspace(-1, 1, 4), np.linspace(0, 1, 3)
    >>> figure = plane_card(0.3, 0.2, np.ones((2, 3, 2)) / 6, *edges)
    >>> figure.axes[0].get_ylabel()[:3]
    'v: '
    """
    low, high = min(edges_u[0], u - 0.15), max(edges_u[-1], u + 0.15)
    top = max(edges_v[-1], 1.15 * v, 0.3)
    height = np.clip(6.6 * 1.07 * top / (high - low), 1.6, 6.0)  # inches, of panels 6.6 wide
    figure = Figure(figsize=(7.6, height + 1.5), layout="constrained")
    panel = figure.subplots()
    for share, colour, name in zip(density, (BONAFIDE, SPOOF), ("bonafide", "spoof"), strict=True):
        _contours(panel, share, edges_u, edges_v, colour)
        panel.plot([], [], "s", color=colour, alpha=0.45, markersize=9, label=f"{name} training clips")
    for mean, colour, name in ((-0.5, BONAFIDE, "bonafide"), (0.5, SPOOF, "spoof")):
        told = f"to the {name} mean: {np.hypot(u - mean, v):.2f}"
        panel.plot([mean, u], [0, v], color=PAPER, linewidth=4.5, zorder=3)
        panel.plot([mean, u], [0, v], color=colour, linewidth=2.4, zorder=4, label=told)
        panel.plot(mean, 0, "D", color=colour, markeredgecolor=PAPER, markersize=9, zorder=5)
    title = f"this recording: {word}" if word else "this recording"
    panel.plot(u, v, "*", color=INK, markersize=17, markeredgecolor=PAPER, zorder=7, label=title)
    panel.axvline(0, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), label="nearest-mean boundary")
    if windows is not None and len(windows) > 1:
        shown = np.clip(windows, low, high)
        panel.plot(shown, np.full(len(shown), -0.035 * top), "|", color=INK, markersize=7, alpha=0.6)
    panel.set(
        xlabel="u: from the bonafide mean (-0.5) to the spoof mean (+0.5)",
        ylabel="v: off the line\nthrough both means",
        xlim=(low, high), ylim=(-0.07 * top, top),
    )  # fmt: skip
    panel.set_aspect("equal")
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    figure.legend(loc="outside upper left", ncols=3)
    return figure


@styled
def timeline(
    starts: Floats,
    scores: Floats,
    *,
    window: float,
    seconds: float,
    threshold: float | None = None,
    telling: float | None = None,
    wave: NDArray[np.float32] | None = None,
) -> Figure:
    """Each window's score over the recording, under its spectrogram where the wave is given.

    Args:
        starts: of the windows; ``window``: their length; ``seconds``: of the recording.
        scores: higher = more bonafide.
        threshold: chosen on dev. ``telling``: start of the window that is looked at more closely.
        wave: (samples,) at 16 kHz.

    >>> timeline(np.array([0.0, 1.0]), np.array([1.0, -1.0]), window=2, seconds=3).axes[0].get_xlabel()
    'seconds'
    """
    both = wave is not None
    figure = Figure(figsize=(9.8, 4.6 if both else 2.7), layout="constrained")
    rows = 2 if both else 1
    panels: list[Axes] = list(
        figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=(1.3, 1)[:rows]).flat
    )
    if wave is not None:
        _spectrogram(panels[0], wave)
    panel = panels[-1]
    ends = np.minimum(starts + window, seconds)
    if len(starts) <= 400:
        colours = [BONAFIDE if score > 0 else SPOOF for score in scores]
        panel.hlines(scores, starts, ends, colors=colours, linewidth=3.2, alpha=0.85)
    else:  # so many that single windows can't be seen
        panel.plot((starts + ends) / 2, scores, color=INK, linewidth=0.7)
    panel.axhline(0, color=INK, linewidth=0.9)
    if threshold is not None:
        panel.axhline(threshold, color=INK, linewidth=0.9, linestyle=":")
        panel.annotate(
            "threshold", (1, threshold), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            fontsize=8.5,
        )  # fmt: skip
    if telling is not None and len(starts) > 1:
        end = min(telling + window, seconds)
        panel.axvspan(telling, end, color=FAINT, alpha=0.55, zorder=0)
        for place in (telling, end) if both else ():
            panels[0].axvline(place, color=PAPER, linewidth=1.1, linestyle="--")
    most = 1.35 * max(1e-9, float(np.abs(scores).max()), abs(threshold or 0))
    panel.set(ylabel="score", ylim=(-most, most), xlim=(0, seconds))
    _name_time(panel, seconds)
    for text, place in (("bonafide", 0.96), ("spoof", 0.04)):
        panel.annotate(
            text, (0.005, place), xycoords="axes fraction", va="top" if place > 0.5 else "bottom",
            color=BONAFIDE if text == "bonafide" else SPOOF, fontsize=9, fontweight="bold",
        )  # fmt: skip
    return figure


@styled
def patches(
    wave: NDArray[np.float32], values: Floats, hertz: Floats, seconds: Floats, *, start: float = 0.0
) -> Figure:
    """One window's spectrogram, and over it how much each patch speaks for which class.

    Args:
        wave: the window (samples,) at 16 kHz, which begins at ``start`` seconds of the recording.
        values: (bands, slices) in units of the score, above 0 for bonafide; ``hertz`` and ``seconds``
            bound bands and slices.

    >>> wave = np.sin(np.arange(8000) / 9).astype(np.float32)
    >>> figure = patches(wave, np.ones((2, 3)), np.array([0, 500, 8000.0]), np.linspace(0, 0.5, 4))
    >>> [panel.get_title("left") for panel in figure.axes[:2]]
    ['spectrogram', 'what the score rests on']
    """
    figure = Figure(figsize=(9.8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for panel, name in ((left, "spectrogram"), (right, "what the score rests on")):
        _spectrogram(panel, wave, start=start, colour="magma" if panel is left else "Greys")
        panel.set_title(name)
        panel.set_xlabel("seconds")
    right.set_ylabel("")
    most = max(1e-12, float(np.abs(values).max()))
    edges_s, edges_h = np.meshgrid(start + seconds, hertz / 1000)
    # As opaque as a patch matters: what says nothing leaves the spectrogram as it is.
    mesh = right.pcolormesh(
        edges_s, edges_h, values, cmap=_DIVERGING, norm=TwoSlopeNorm(0, -most, most),
        alpha=np.clip(np.abs(values) / most, 0, 1) * 0.85, linewidth=0,
    )  # fmt: skip
    bar = figure.colorbar(mesh, ax=right, pad=0.01, aspect=14)
    bar.set_label("change of the score\nspoof    bonafide", fontsize=8.5)
    return figure


_DIVERGING = LinearSegmentedColormap.from_list("spoof-bonafide", [SPOOF, "#f5f3ee", BONAFIDE])


def _contours(panel: Axes, share: Floats, edges_u: Floats, edges_v: Floats, colour: str) -> None:
    """Regions that hold half, nine tenths and 99 % of a class's clips, by a smoothed density."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(share, 1.7, mode=("constant", "reflect"))
    # Counted in the clips themselves: smoothing spreads them, and would make a region hold too many.
    order = np.argsort(-smooth, axis=None, kind="stable")
    inside = np.cumsum(share.ravel()[order])
    ends = [min(int(np.searchsorted(inside, one)), len(order) - 1) for one in _SHARES]
    levels = sorted({float(smooth.ravel()[order[end]]) for end in ends} - {0.0})
    if not levels:
        return
    middle_u, middle_v = ((e[1:] + e[:-1]) / 2 for e in (edges_u, edges_v))
    # v can't be below 0: the lowest cells reach down to it, where their middles don't.
    middle_v, smooth = np.append(0.0, middle_v), np.concatenate([smooth[:, :1], smooth], axis=1)
    bounds = [*levels, max(float(smooth.max()), levels[-1]) * 1.001]
    if len(set(bounds)) < 2 or min(smooth.shape) < 2:
        return
    panel.contourf(middle_u, middle_v, smooth.T, bounds, colors=[colour], alpha=0.16, zorder=1)
    for n in range(len(levels)):
        panel.contourf(middle_u, middle_v, smooth.T, bounds[n:], colors=[colour], alpha=0.12, zorder=1)
    panel.contour(
        middle_u, middle_v, smooth.T, levels, colors=[colour], linewidths=0.8, alpha=0.7, zorder=2
    )


def _spectrogram(
    panel: Axes, wave: NDArray[np.float32], *, start: float = 0.0, colour: str = "magma"
) -> None:
    hop = max(128, len(wave) // 2000)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 256), 512)[::hop]
    level = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(512))) + 1e-10).T
    panel.imshow(
        level - level.max(), origin="lower", aspect="auto", cmap=colour, vmin=_FLOOR, vmax=0,
        extent=(start, start + len(wave) / _RATE, 0, _RATE / 2000),
    )  # fmt: skip
    panel.grid(False)
    panel.set_ylabel("kHz")


def _name_time(panel: Axes, seconds: float) -> None:
    if seconds < 120:
        panel.set_xlabel("seconds")
        return

    def clock(place: float, _: int) -> str:
        whole = round(place)
        hours = f"{whole // 3600}:" if seconds >= 3600 else ""
        return f"{hours}{whole // 60 % 60:02d}:{whole % 60:02d}"

    panel.xaxis.set_major_formatter(FuncFormatter(clock))
    panel.set_xlabel("hours:minutes:seconds" if seconds >= 3600 else "minutes:seconds")
