"""Copy-synthesis with phases that are guessed."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment._short_time import SIZE, inverse, stft
from earwitness.augment.base import Augment, Drawn, Wave, draw_seed, require_range
from earwitness.errors import SettingsError

__all__ = ["GriffinLim"]

_MOMENTUM = 0.99  # Perraudin et al. recommend it


class GriffinLim(Augment):
    """A spoof from genuine speech: its mel magnitudes are kept and its phases are guessed.

    Spectra of 32 ms every 8 ms are averaged in ``bands`` triangular mel bands and spread out again by
    the pseudo-inverse; with 0 bands they stay as they are. From random phases, ``iterations`` rounds of
    the fast Griffin-Lim algorithm follow (Griffin and Lim 1984; Perraudin, Balazs and Søndergaard
    2013).

    >>> wave = np.random.default_rng(0).normal(size=16_000)
    >>> spoof, drawn = GriffinLim()(wave, np.random.default_rng(0))
    >>> len(spoof), GriffinLim.makes_spoof
    (16000, True)

    Raises:
        SettingsError: iterations that aren't within 1 to 1000, or bands that aren't within 0 to 128.
    """

    makes_spoof = True

    def __init__(self, *, bands: int = 80, iterations: tuple[int, int] = (16, 32)):
        require_range("griffin_lim: iterations", iterations, 1, 1000)
        if not 0 <= bands <= 128:
            raise SettingsError(f"griffin_lim: bands is {bands}, expected 0 to 128.")
        self.bands, self.iterations = bands, iterations

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The number of iterations, and the seed of the first phases."""
        low, high = self.iterations
        return {"iterations": int(rng.integers(low, high, endpoint=True)), "seed": draw_seed(rng)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Analyse, guess, synthesise."""
        magnitude = np.abs(stft(wave.astype(np.float64)))
        if self.bands:
            average, spread = _mel(self.bands)
            magnitude = np.maximum((magnitude @ average) @ spread, 0)
        phase = np.random.default_rng(drawn["seed"]).random(magnitude.shape)
        guess = np.exp(2j * np.pi * phase)
        before: NDArray[np.complex128] | float = 0.0
        for _ in range(drawn["iterations"]):
            found = stft(inverse(magnitude * guess, len(wave)))
            ahead = found + _MOMENTUM * (found - before)
            guess = ahead / np.maximum(np.abs(ahead), 1e-12)
            before = found
        return inverse(magnitude * guess, len(wave))


@cache
def _mel(bands: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Averages over triangular bands on O'Shaughnessy's mel scale, (bin, band), and a way back."""
    mel = 2595 * np.log10(1 + np.linspace(0, SAMPLE_RATE / 2, SIZE // 2 + 1) / 700)
    place = mel / mel[-1] * (bands + 1)
    weight = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(1, bands + 1)))
    # Low bands are narrower than a bin: one that holds none takes its nearest.
    empty = np.flatnonzero(weight.sum(axis=0) == 0)
    weight[np.abs(place[:, None] - (empty + 1)).argmin(axis=0), empty] = 1
    weight /= weight.sum(axis=0)
    return weight, np.linalg.pinv(weight)
