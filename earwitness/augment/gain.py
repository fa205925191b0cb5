"""The clip louder or softer."""

import numpy as np
from numpy.typing import NDArray

from earwitness.augment.base import Augment, Drawn, Wave, require_range

__all__ = ["Gain"]


class Gain(Augment):
    """Every sample times ``10^(decibels / 20)``; with ``clip``, cut at [-1, 1] as a converter would.

    >>> half, _ = Gain(decibels=(-6.0206, -6.0206))(np.ones(400), np.random.default_rng(0))
    >>> round(float(half[0]), 4)
    0.5

    Raises:
        SettingsError: a gain that isn't a range, or beyond 100 dB.
    """

    def __init__(self, *, decibels: tuple[float, float] = (-12.0, 12.0), clip: bool = False):
        require_range("gain: decibels", decibels, -100, 100)
        self.decibels, self.clip = decibels, clip

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The gain in dB."""
        return {"decibels": rng.uniform(*self.decibels)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Multiply."""
        changed = wave.astype(np.float64) * 10 ** (drawn["decibels"] / 20)
        return np.clip(changed, -1, 1) if self.clip else changed
