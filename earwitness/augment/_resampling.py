"""Another rate, and the length that follows from it."""

import numpy as np
import soxr

from earwitness.augment.base import Wave

__all__ = ["resampled"]


def resampled(wave: Wave, from_rate: float, to_rate: float, samples: int) -> Wave:
    """The wave at ``to_rate``, cut or filled with zeros to ``samples`` samples.

    soxr's length may differ by a sample from that which is wanted; it adds no delay.

    >>> resampled(np.ones(160, dtype=np.float32), 16_000, 8_000, 80).shape
    (80,)
    """
    if from_rate == to_rate:
        made = wave
    else:
        made = soxr.resample(wave.copy(), from_rate, to_rate, quality="HQ")
    return np.pad(made[:samples], (0, max(0, samples - len(made))))
