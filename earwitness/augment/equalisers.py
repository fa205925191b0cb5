"""Equalisers: shelves and a peak, filters of second order.

Coefficients are those of R. Bristow-Johnson's Audio EQ Cookbook (w3.org/TR/audio-eq-cookbook), ranges
those of audiomentations 0.43; the frequency is drawn uniformly over the mel scale. A filter starts from
rest, as if silence went before.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment.base import Augment, Drawn, Wave, draw_mel, require_range

__all__ = ["HighShelf", "LowShelf", "Peaking"]

_Coefficients = tuple[tuple[float, float, float], tuple[float, float, float]]


class _Equaliser(Augment, ABC):
    name: str

    def __init__(self, centre: tuple[float, float], gain: tuple[float, float], q: tuple[float, float]):
        require_range(f"{self.name}: centre", centre, 1, 0.99 * SAMPLE_RATE / 2)
        require_range(f"{self.name}: gain", gain, -60, 60)
        require_range(f"{self.name}: q", q, 0.01, 100)
        self.centre, self.gain, self.q = centre, gain, q

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The centre in Hz, the gain in dB and the quality factor."""
        return {
            "centre": draw_mel(rng, self.centre),
            "gain": rng.uniform(*self.gain),
            "q": rng.uniform(*self.q),
        }

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Filter."""
        from scipy.signal import lfilter

        turn = 2 * np.pi * drawn["centre"] / SAMPLE_RATE
        amplitude = 10 ** (drawn["gain"] / 40)
        b, a = self.coefficients(amplitude, np.cos(turn), np.sin(turn) / (2 * drawn["q"]))
        return lfilter(b, a, wave.astype(np.float64))

    @abstractmethod
    def coefficients(self, a: float, cosine: float, alpha: float) -> _Coefficients:
        """Numerator and denominator; ``a`` is the square root of the gain's amplitude."""


class HighShelf(_Equaliser):
    """What lies above a centre made louder or softer by ``gain`` dB; at the centre, half of that.

    >>> tone = np.sin(np.arange(16_000) * 2 * np.pi * 7900 / 16_000)
    >>> shelf = HighShelf(centre=(1000.0, 1000.0), gain=(6.0, 6.0), q=(0.7, 0.7))
    >>> round(float(shelf(tone, np.random.default_rng(0))[0][1000:].std() / tone.std()), 2)
    2.0

    Raises:
        SettingsError: a range that isn't one, or beyond what is possible.
    """

    name = "high_shelf"

    def __init__(
        self,
        *,
        centre: tuple[float, float] = (300.0, 7500.0),
        gain: tuple[float, float] = (-18.0, 18.0),
        q: tuple[float, float] = (0.1, 0.999),
    ):
        super().__init__(centre, gain, q)

    def coefficients(self, a: float, cosine: float, alpha: float) -> _Coefficients:
        """The low shelf mirrored: the sign of the cosine changes, and that of the middle."""
        (b0, b1, b2), (a0, a1, a2) = _low_shelf(a, -cosine, alpha)
        return (b0, -b1, b2), (a0, -a1, a2)


class LowShelf(_Equaliser):
    """What lies below a centre made louder or softer by ``gain`` dB; at the centre, half of that.

    >>> shelf = LowShelf(centre=(1000.0, 1000.0), gain=(6.0, 6.0), q=(0.7, 0.7))
    >>> round(float(shelf(np.ones(16_000), np.random.default_rng(0))[0][-1]), 2)
    2.0

    Raises:
        SettingsError: a range that isn't one, or beyond what is possible.
    """

    name = "low_shelf"

    def __init__(
        self,
        *,
        centre: tuple[float, float] = (50.0, 4000.0),
        gain: tuple[float, float] = (-18.0, 18.0),
        q: tuple[float, float] = (0.1, 0.999),
    ):
        super().__init__(centre, gain, q)

    def coefficients(self, a: float, cosine: float, alpha: float) -> _Coefficients:
        """The cookbook's lowShelf."""
        return _low_shelf(a, cosine, alpha)


class Peaking(_Equaliser):
    """A band around a centre made louder or softer by ``gain`` dB, the narrower the larger ``q``.

    >>> tone = np.sin(np.arange(16_000) * 2 * np.pi * 1000 / 16_000)
    >>> peak = Peaking(centre=(1000.0, 1000.0), gain=(-6.0, -6.0))
    >>> round(float(peak(tone, np.random.default_rng(0))[0][1000:].std() / tone.std()), 2)
    0.5

    Raises:
        SettingsError: a range that isn't one, or beyond what is possible.
    """

    name = "peaking"

    def __init__(
        self,
        *,
        centre: tuple[float, float] = (50.0, 7500.0),
        gain: tuple[float, float] = (-24.0, 24.0),
        q: tuple[float, float] = (0.5, 5.0),
    ):
        super().__init__(centre, gain, q)

    def coefficients(self, a: float, cosine: float, alpha: float) -> _Coefficients:
        """The cookbook's peakingEQ."""
        above = (1 + alpha * a, -2 * cosine, 1 - alpha * a)
        below = (1 + alpha / a, -2 * cosine, 1 - alpha / a)
        return above, below


def _low_shelf(a: float, cosine: float, alpha: float) -> _Coefficients:
    slope = 2 * np.sqrt(a) * alpha
    up, down = a + 1, a - 1
    above = (up - down * cosine + slope, 2 * (down - up * cosine), up - down * cosine - slope)
    below = (up + down * cosine + slope, -2 * (down + up * cosine), up + down * cosine - slope)
    return (a * above[0], a * above[1], a * above[2]), below
