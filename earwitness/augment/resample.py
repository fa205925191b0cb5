"""The clip at a lower rate, and back."""

import numpy as np

from earwitness.audio import SAMPLE_RATE
from earwitness.augment._resampling import resampled
from earwitness.augment.base import Augment, Drawn, Wave
from earwitness.errors import SettingsError

__all__ = ["Resample"]


class Resample(Augment):
    """Down to one of ``rates`` (Hz) and back to 16 kHz, which takes away all above half that rate.

    Each rate is equally likely; soxr resamples, band-limited. The length is kept.

    >>> tone = np.sin(np.arange(16_000) * 2 * np.pi * 6000 / 16_000)
    >>> narrow, drawn = Resample(rates=(8000,))(tone, np.random.default_rng(0))
    >>> drawn, bool(narrow.std() < 0.01)
    ({'rate': 8000}, True)

    Raises:
        SettingsError: no rate, or one that isn't within 1000 to 15,999 Hz.
    """

    def __init__(self, *, rates: tuple[int, ...] = (8000, 11_025, 12_000)):
        if not rates or not all(1000 <= rate < SAMPLE_RATE for rate in rates):
            raise SettingsError(
                f"resample: rates is {list(rates)}, expected rates of 1000 to {SAMPLE_RATE - 1} Hz."
            )
        self.rates = rates

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The rate in Hz."""
        return {"rate": self.rates[rng.integers(len(self.rates))]}

    def change(self, wave: Wave, drawn: Drawn) -> Wave:
        """Down and up."""
        rate = drawn["rate"]
        low = resampled(wave, SAMPLE_RATE, rate, -(-len(wave) * rate // SAMPLE_RATE))
        return resampled(low, rate, SAMPLE_RATE, len(wave))
