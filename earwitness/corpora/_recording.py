"""Recording conditions of the synthetic corpus: the same for both classes of a domain.

Waves are float64 of shape ``(samples,)`` at 16 kHz.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from earwitness.audio import SAMPLE_RATE

__all__ = ["CONDITIONS", "Condition", "record"]


@dataclass(frozen=True)
class Condition:
    """How a domain was recorded.

    >>> CONDITIONS["upsampler"].noise
    38
    """

    noise: float  # dB below the speech
    hue: float  # dB per octave of the noise
    tilt: float  # dB per octave of the microphone
    cutoff: float  # Hz, where a gentle low-pass has lost 3 dB
    reverberation: float  # seconds to -60 dB
    room: float  # dB of the room's echo against the direct sound


CONDITIONS = {
    "pulse-vocoder": Condition(42, 0, 0.0, 7500, 0.10, -14),
    "griffin-lim": Condition(38, -3, -1.5, 6500, 0.20, -13),
    "upsampler": Condition(38, 0, 1.5, 7800, 0.40, -6),
    "sinusoidal": Condition(34, -4, 1.0, 6000, 0.08, -14),
}


def record(
    wave: NDArray[np.float64],
    condition: Condition,
    pair: np.random.Generator,
    own: np.random.Generator,
) -> NDArray[np.float64]:
    """Pass a voice through room, microphone, noise, fades, limiter and level.

    ``pair`` draws what both classes share, ``own`` the hiss, which nobody shares. The level is -28
    to -22 dB of full scale, the highest peak 11.5 to 12.5 dB above it.

    >>> draw = np.random.default_rng
    >>> wave = record(draw(0).normal(size=8000), CONDITIONS["upsampler"], draw(1), draw(2))
    >>> wave.shape, bool(np.abs(wave).max() < 0.5)
    ((8000,), True)
    """
    noise_level = 10 ** (-(condition.noise + pair.uniform(-3, 3)) / 20)
    echo = _echo(condition, pair)
    size = fft.next_fast_len(len(wave) + len(echo), real=True)
    octaves = np.log2(np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 10) / 1000)
    microphone = _slope(octaves, condition.tilt) * _shoulders(octaves, condition.cutoff)
    speech = fft.irfft(fft.rfft(wave, size) * fft.rfft(echo, size) * microphone, size)
    hiss = fft.rfft(own.normal(size=size)) * _slope(octaves, condition.hue)
    noise = fft.irfft(hiss * microphone, size)
    heard = (_unit(speech) + noise_level * _unit(noise))[: len(wave)]
    limited = _limit(_fade(heard), crest=pair.uniform(11.5, 12.5))
    return limited * 10 ** (pair.uniform(-28, -22) / 20)


def _slope(octaves: NDArray[np.float64], decibel: float) -> NDArray[np.float64]:
    """Gains that rise by ``decibel`` an octave; octaves count from 1 kHz."""
    return np.exp2(octaves * decibel / 6.02)


def _shoulders(octaves: NDArray[np.float64], cutoff: float) -> NDArray[np.float64]:
    """Gains of two Butterworth filters of order 4, from 80 Hz up to ``cutoff``."""
    high, low = (8 * (octaves - np.log2(corner / 1000)) for corner in (cutoff, 80))
    return 1 / np.sqrt((1 + np.exp2(high)) * (1 + np.exp2(-low)))


def _echo(condition: Condition, rng: np.random.Generator) -> NDArray[np.float64]:
    """A direct sound and a decaying tail of noise (Polack's model of late reverberation)."""
    time = np.arange(round(condition.reverberation * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.normal(size=len(time)) * 10 ** (-3 * time / condition.reverberation)
    return np.concatenate([[1.0], 10 ** (condition.room / 20) * tail / np.sqrt(np.sum(tail**2))])


def _fade(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    rise = np.minimum(1, np.arange(1, len(wave) + 1) / (0.01 * SAMPLE_RATE))
    return wave * rise * rise[::-1]


def _limit(wave: NDArray[np.float64], crest: float) -> NDArray[np.float64]:
    """Ride the gain until no peak is more than ``crest`` dB above the root mean square, which is 1.

    Without it the peaks would tell: a generator that scrambles phases changes the crest factor.
    """
    width = 321  # 20 ms
    for _ in range(4):
        ceiling = 10 ** (crest / 20) * np.sqrt(np.mean(wave**2))
        gain = np.minimum(1, ceiling / np.maximum(maximum_filter1d(np.abs(wave), width), 1e-12))
        wave = wave * uniform_filter1d(gain, width)
    return _unit(wave)


def _unit(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    return wave / np.sqrt(np.mean(wave**2))
