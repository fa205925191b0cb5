"""A stretch of the clip silenced."""

import numpy as np

from earwitness.augment.base import Augment, Drawn, Wave, require_range

__all__ = ["TimeMask", "masked_span"]


class TimeMask(Augment):
    """One stretch of the clip set to zero, anywhere in it (after Park et al., SpecAugment, 2019).

    ``share`` is the range of the stretch's length, as a share of the clip. The start is uniform over
    where it fits. What is drawn are shares, so that the draw fits a clip of any length.

    >>> masked, drawn = TimeMask()(np.ones(16_000), np.random.default_rng(0))
    >>> start, stop = masked_span(drawn, 16_000)
    >>> bool((masked[start:stop] == 0).all()), int((masked == 0).sum()) == stop - start
    (True, True)

    Raises:
        SettingsError: a share that isn't within 0 to 1.
    """

    def __init__(self, *, share: tuple[float, float] = (0.2, 0.5)):
        require_range("time_mask: share", share, 0, 1)
        self.share = share

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The stretch's length as a share of the clip, its start as a share of where it fits."""
        return {"share": rng.uniform(*self.share), "start": rng.random()}

    def change(self, wave: Wave, drawn: Drawn) -> Wave:
        """Zeros in the span."""
        start, stop = masked_span(drawn, len(wave))
        masked = wave.copy()
        masked[start:stop] = 0
        return masked


def masked_span(drawn: Drawn, samples: int) -> tuple[int, int]:
    """First sample of the stretch and first after it.

    >>> masked_span({"share": 0.25, "start": 0.5}, 1000)
    (375, 625)
    """
    length = drawn["share"] * samples
    start = drawn["start"] * (samples - length)
    return int(start), int(start + length)
