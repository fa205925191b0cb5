"""What every explainer gives: a number for each patch of time and frequency of one window.

A window is heard through a grid of gains, one a patch: at gain 1 everywhere it is the window itself, at
0 a patch is gone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earwitness import audio
from earwitness.detector import Detector
from earwitness.errors import MissingExtra, SettingsError

__all__ = ["Attribution", "Explainer", "Grid", "agreement", "captum", "randomised"]

_MOST_BYTES = 2**30  # of patches
_SOFT_HERTZ, _SOFT_SECONDS = 100.0, 0.03  # how wide patches pass over into one another


@dataclass(frozen=True)
class Attribution:
    """How much each patch speaks for bonafide (above 0) or for spoof (below), in units of the score.

    Attributes:
        values: (bands, slices). ``hertz``: bounds of the bands (bands + 1,). ``seconds``: bounds of the
            slices within the window (slices + 1,).
        method: of the shelf, with its settings.
    """

    values: NDArray[np.float64]
    hertz: NDArray[np.float64]
    seconds: NDArray[np.float64]
    method: dict[str, Any]


class Explainer(ABC):
    """Base of explainers.

    Args:
        bands: of frequency, equally wide on the mel scale up to 8 kHz.
        slice_seconds: length of a patch in time.
        floor: level of a patch that is taken away, in dB below its own; such a patch is still there,
            only faint, as digital silence is nothing that detectors were trained on.
    """

    built_from: dict[str, Any]

    def __init__(self, *, bands: int = 8, slice_seconds: float = 0.25, floor: float = 40.0):
        if not 1 <= bands <= 64 or not slice_seconds >= 0.02 or not floor > 0:
            raise SettingsError(
                f"explainer: bands={bands}, slice_seconds={slice_seconds}, floor={floor}; expected "
                "1 to 64 bands, slices of at least 0.02 s, a floor above 0 dB."
            )
        self.bands, self.slice_seconds, self.floor = bands, slice_seconds, floor

    def attribute(self, detector: Detector, wave: NDArray[np.float32]) -> Attribution:
        """Of one window (samples,) at 16 kHz.

        Raises:
            MissingExtra: captum isn't installed.
        """
        with _judging(detector):
            grid = Grid(detector, wave, self.bands, self.slice_seconds)
            values = self._values(grid, 10 ** (-self.floor / 20))
        told = getattr(self, "built_from", {"name": type(self).__name__})
        return Attribution(values.double().cpu().numpy(), grid.hertz, grid.seconds, told)

    @abstractmethod
    def _values(self, grid: "Grid", gain: float) -> Tensor:
        """(bands, slices), with patches taken down to ``gain``."""


class Grid(nn.Module):
    """Scores (n,) of a window heard through gains (n, bands, slices).

    The window is the sum of its patches: bands of its spectrum, cut in time, both with soft edges. So
    each set of gains costs one product, and the detector.

    >>> grid = Grid(Detector.build("logmel", "linear"), np.ones(8000, np.float32), 4, 0.1)
    >>> grid(torch.ones(2, 4, 5)).shape, grid.shape
    (torch.Size([2]), (4, 5))
    """

    def __init__(self, detector: Detector, wave: NDArray[np.float32], bands: int, slice_seconds: float):
        super().__init__()
        self._detector = (detector,)  # in a tuple: its weights are not this module's
        seconds = len(wave) / audio.SAMPLE_RATE
        slices = max(1, round(seconds / slice_seconds))
        self.shape = (bands, slices)
        self.hertz, self.seconds = _mel_edges(bands), np.linspace(0, seconds, slices + 1)
        room = bands * slices * len(wave) * 4
        if room > _MOST_BYTES:
            raise SettingsError(
                f"explainer: {bands} bands by {slices} slices of {seconds:.1f} s take "
                f"{room / 2**30:.1f} GiB; ask for fewer bands or longer slices, or --method none."
            )
        spectrum = np.fft.rfft(wave.astype(np.float64))
        hertz = np.linspace(0, audio.SAMPLE_RATE / 2, len(spectrum))
        banded = np.fft.irfft(spectrum * _soft(self.hertz, hertz, _SOFT_HERTZ), n=len(wave))
        times = _soft(self.seconds, np.arange(len(wave)) / audio.SAMPLE_RATE, _SOFT_SECONDS)
        patches = banded.astype(np.float32)[:, None] * times.astype(np.float32)
        self.patches = torch.as_tensor(patches.reshape(-1, len(wave)), device=detector.device)

    def forward(self, gains: Tensor) -> Tensor:
        """The detector's score (n,) of each set of gains."""
        return self._detector[0](gains.flatten(1) @ self.patches).score

    def ones(self) -> Tensor:
        """The window as it is: gains (1, bands, slices)."""
        return torch.ones(1, *self.shape, device=self.patches.device)


def captum() -> Any:
    """captum's attribution methods.

    Raises:
        MissingExtra: it isn't installed.
    """
    try:
        import captum.attr
    except ImportError:
        raise MissingExtra("attribution over time and frequency", "explain") from None
    return captum.attr


def randomised(detector: Detector, seed: int = 0) -> Detector:
    """The same network with random weights.

    A map of what a network hears has to change when it has learned nothing: Adebayo et al., "Sanity
    checks for saliency maps", NeurIPS 2018.
    """
    front_end, back_end = (detector.settings[part] for part in ("front_end", "back_end"))
    fresh = Detector.build(
        front_end, back_end, seed=seed, windows=detector.windows, classes=detector.classes
    )
    return fresh.to(detector.device).eval()


def agreement(one: Attribution, other: Attribution) -> float:
    """Spearman's rank correlation of two maps' patches, -1 to 1; 0 where one of them is flat."""
    from scipy.stats import rankdata

    ranks = [rankdata(np.round(a.values, 12).ravel()) for a in (one, other)]
    a, b = (r - r.mean() for r in ranks)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


@contextmanager
def _judging(detector: Detector) -> Iterator[None]:
    modes = {module: module.training for module in detector.modules()}
    detector.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _mel_edges(bands: int) -> NDArray[np.float64]:
    """O'Shaughnessy's mel scale, 2595 log10(1 + f / 700)."""
    highest = 2595 * np.log10(1 + audio.SAMPLE_RATE / 2 / 700)
    return np.asarray(700 * (10 ** (np.linspace(0, highest, bands + 1) / 2595) - 1))


def _soft(edges: NDArray[np.float64], places: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """How much of each place belongs to each of the intervals (interval, place); sums to 1.

    Neighbours pass over into one another within ``width`` around their common edge, or within half the
    narrower of them where that is less.
    """
    rises = [np.ones_like(places)]
    for n in range(1, len(edges) - 1):
        room = min(width, 0.5 * (edges[n] - edges[n - 1]), 0.5 * (edges[n + 1] - edges[n]))
        ramp = np.clip((places - edges[n]) / room + 0.5, 0, 1)
        rises.append(np.sin(np.pi / 2 * ramp) ** 2)
    rises.append(np.zeros_like(places))
    return -np.diff(np.stack(rises), axis=0)
