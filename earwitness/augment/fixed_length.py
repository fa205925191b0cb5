"""A clip of one length."""

import numpy as np

from earwitness.augment.base import MIN_SAMPLES, Augment, Drawn, Wave
from earwitness.errors import SettingsError

__all__ = ["FixedLength"]


class FixedLength(Augment):
    """The first ``samples`` samples; a shorter clip gets zeros at its end. Nothing is drawn.

    >>> FixedLength()(np.ones(100_000), np.random.default_rng(0))[0].shape
    (64000,)

    Raises:
        SettingsError: under 400 samples.
    """

    def __init__(self, *, samples: int = 64_000):
        if samples < MIN_SAMPLES:
            raise SettingsError(f"fixed_length: samples is {samples}, expected at least {MIN_SAMPLES}.")
        self.samples = samples

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """Nothing."""
        return {}

    def change(self, wave: Wave, drawn: Drawn) -> Wave:
        """Crop or pad."""
        return np.pad(wave[: self.samples], (0, max(0, self.samples - len(wave))))

    def at_most(self, samples: int) -> int:
        """Always the same."""
        return self.samples
