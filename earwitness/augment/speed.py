"""The clip played faster or slower."""

import numpy as np

from earwitness.augment.base import Augment, Drawn, Wave, require_range

__all__ = ["Speed"]


class Speed(Augment):
    """The clip played ``factor`` times as fast: shorter, and higher in pitch (Ko et al. 2015).

    The length becomes ``round(samples / factor)``. The wave is resampled by soxr, band-limited.

    >>> faster, drawn = Speed(factor=(1.25, 1.25))(np.ones(16_000), np.random.default_rng(0))
    >>> len(faster)
    12800

    Raises:
        SettingsError: a factor that isn't within 0.5 to 2.
    """

    def __init__(self, *, factor: tuple[float, float] = (0.9, 1.1)):
        require_range("speed: factor", factor, 0.5, 2)
        self.factor = factor

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The factor."""
        return {"factor": rng.uniform(*self.factor)}

    def change(self, wave: Wave, drawn: Drawn) -> Wave:
        """Resample."""
        from earwitness.augment._resampling import resampled

        return resampled(wave, drawn["factor"], 1.0, round(len(wave) / drawn["factor"]))

    def at_most(self, samples: int) -> int:
        """The length at the slowest."""
        return round(samples / self.factor[0])
