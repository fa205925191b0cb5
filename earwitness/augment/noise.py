"""Noise of a colour at a ratio, and white noise at a level."""

import numpy as np
from numpy.typing import NDArray

from earwitness.augment.base import Augment, Drawn, Wave, add_at_ratio, draw_seed, require_range

__all__ = ["Hiss", "Noise"]

_OCTAVE = 10 * np.log10(4)  # dB of power per octave where the amplitude is proportional to f


class Noise(Augment):
    """Gaussian noise at ``snr`` dB below the clip, its power changing by ``slope`` dB per octave.

    A slope of 0 is white, the default; -3 is pink, -6 brown, 3 blue, 6 violet. The ratio is of the
    energies over the whole clip and is met exactly. Silence stays silent.

    The spectrum is shaped over the whole clip's transform, with nothing at 0 Hz where the slope isn't
    0; audiomentations' ``AddColorNoise`` approaches the same slope with a filter of 128 taps.

    >>> wave = np.sin(np.arange(16_000) / 9)
    >>> noisy, drawn = Noise(snr=(20.0, 20.0))(wave, np.random.default_rng(0))
    >>> float(20 * np.log10(np.linalg.norm(wave) / np.linalg.norm(noisy - wave)).round(3))
    20.0

    Raises:
        SettingsError: a range that isn't one, or a slope beyond 20 dB.
    """

    def __init__(
        self, *, snr: tuple[float, float] = (5.0, 40.0), slope: tuple[float, float] = (0.0, 0.0)
    ):
        require_range("noise: snr", snr)
        require_range("noise: slope", slope, -20, 20)
        self.snr, self.slope = snr, slope

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The ratio, the slope, and the seed of the noise."""
        return {
            "snr": rng.uniform(*self.snr),
            "slope": rng.uniform(*self.slope),
            "seed": draw_seed(rng),
        }

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Add the noise."""
        white = np.random.default_rng(drawn["seed"]).standard_normal(len(wave))
        return add_at_ratio(wave, _coloured(white, drawn["slope"]), drawn["snr"])


class Hiss(Augment):
    """White Gaussian noise at a level that doesn't depend on the clip's.

    ``amplitude`` is the range of its standard deviation, 1 being full scale.

    >>> hissing, drawn = Hiss(amplitude=(0.01, 0.01))(np.zeros(16_000), np.random.default_rng(0))
    >>> round(float(hissing.std()), 3)
    0.01

    Raises:
        SettingsError: an amplitude that isn't within 0 to 1.
    """

    def __init__(self, *, amplitude: tuple[float, float] = (0.001, 0.015)):
        require_range("hiss: amplitude", amplitude, 0, 1)
        self.amplitude = amplitude

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The amplitude and the seed of the noise."""
        return {"amplitude": rng.uniform(*self.amplitude), "seed": draw_seed(rng)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Add the noise."""
        white = np.random.default_rng(drawn["seed"]).standard_normal(len(wave))
        return wave + drawn["amplitude"] * white


def _coloured(white: NDArray[np.float64], slope: float) -> NDArray[np.float64]:
    if slope == 0:
        return white
    from scipy import fft

    spectrum = fft.rfft(white)
    spectrum[1:] *= np.arange(1, len(spectrum), dtype=np.float64) ** (slope / _OCTAVE)
    spectrum[0] = 0
    return fft.irfft(spectrum, len(white))
