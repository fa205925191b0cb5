"""Generators of the synthetic corpus: each re-makes a voice and leaves traces of its own kind.

A generator is a function of a wave, ``(samples,)`` at 16 kHz, and a random generator; it returns
a wave of the same length and timing, at any level.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import resample_poly

from earwitness.audio import SAMPLE_RATE
from earwitness.corpora._spectra import (
    POINTS,
    SIZE,
    at_samples,
    frames_of,
    inverse,
    move_filter,
    stft,
)

__all__ = ["GENERATORS", "Generator", "griffin_lim", "pulse_vocoder", "sinusoidal", "upsampler"]

Generator = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]


def griffin_lim(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Phases guessed for 24 smoothed mel bands (Griffin and Lim 1984): hollow, smeared.

    >>> griffin_lim(np.ones(4000), np.random.default_rng(0)).shape
    (4000,)
    """
    magnitude = uniform_filter1d(_through_mel(np.abs(stft(wave))), 3, axis=0)
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    for _ in range(3):
        guess = stft(inverse(magnitude * phase, len(wave)))
        phase = guess / np.maximum(np.abs(guess), 1e-12)
    return inverse(magnitude * phase, len(wave))


def pulse_vocoder(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Linear prediction excited by pulses without jitter or by noise, never both: buzzy.

    >>> pulse_vocoder(np.ones(4000), np.random.default_rng(0)).shape
    (4000,)
    """
    pitch, voiced = _track_pitch(wave)
    cycles = np.cumsum(at_samples(pitch, len(wave))) / SAMPLE_RATE
    pulses = np.diff(np.floor(cycles), prepend=0.0) * np.sqrt(
        SAMPLE_RATE / at_samples(pitch, len(wave))
    )
    is_voiced = at_samples(voiced, len(wave)) > 0.5
    excitation = np.where(is_voiced, pulses, rng.normal(size=len(wave)))
    return move_filter((excitation, _prediction_response(wave, order=18)))


def upsampler(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Halve the rate, then double it with a short uneven kernel: images and a checkerboard.

    The traces of strided transposed convolutions (Pons et al. 2021): spectral images mirrored at
    4 kHz because the kernel is too short, and a tone there because its two phases differ.

    >>> upsampler(np.ones(4000), np.random.default_rng(0)).shape
    (4000,)
    """
    low = resample_poly(wave, 1, 2)
    doubled = np.zeros(2 * len(low))
    doubled[::2] = low
    kernel = np.array([0.1, 0.5, 0.85, 0.5, 0.05])
    uneven = np.convolve(doubled, kernel, mode="same")[: len(wave)]
    high = wave - resample_poly(low, 2, 1)[: len(wave)]
    loudness = uniform_filter1d(np.abs(uneven), 512)
    checkerboard = 0.005 * np.resize([1.0, 0.0, -1.0, 0.0], len(wave))
    return uneven + 0.5 * high + checkerboard * loudness


def sinusoidal(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Harmonics under a smoothed envelope, 100 Hz apart where there is no pitch; no noise at all.

    After McAulay and Quatieri (1986), but with the phases thrown away.

    >>> sinusoidal(np.ones(4000), np.random.default_rng(0)).shape
    (4000,)
    """
    pitch, voiced = _track_pitch(wave)
    pitch = np.where(voiced > 0.5, pitch, 100.0)
    envelope = np.abs(_prediction_response(wave, order=14)) * np.sqrt(pitch)[:, None]
    turn = np.exp(2j * np.pi * np.cumsum(at_samples(pitch, len(wave))) / SAMPLE_RATE)
    partial, total = np.ones(len(wave), dtype=complex), np.zeros(len(wave))
    rows = np.arange(len(pitch))
    for number in range(1, int(0.5 * SAMPLE_RATE / pitch.min())):
        partial = partial * turn
        bins = np.rint(number * pitch * POINTS / SAMPLE_RATE).astype(int)
        last = POINTS // 2
        level = np.where(bins <= last, envelope[rows, np.minimum(bins, last)], 0.0)
        start = np.exp(2j * np.pi * rng.random())
        total += at_samples(level, len(wave)) * (partial * start).real
    return total


GENERATORS: dict[str, Generator] = {
    "pulse-vocoder": pulse_vocoder,
    "griffin-lim": griffin_lim,
    "upsampler": upsampler,
    "sinusoidal": sinusoidal,
}


def _through_mel(magnitude: NDArray[np.float64], bands: int = 24) -> NDArray[np.float64]:
    """Average into triangular mel bands (O'Shaughnessy 1987), then draw lines between."""
    frequency = np.linspace(0, SAMPLE_RATE / 2, SIZE // 2 + 1)
    mel = 2595 * np.log10(1 + frequency / 700)
    position = mel / mel[-1] * (bands - 1)
    weight = np.maximum(0, 1 - np.abs(position - np.arange(bands)[:, None]))
    averages = magnitude @ (weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)).T
    return averages @ weight


def _track_pitch(wave: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F0 in Hz and whether the frame is voiced (1.0 or 0.0), by autocorrelation of 48 ms frames."""
    frames = frames_of(wave, 768) * np.hanning(768)  # 1024 points hold all lags that are looked at
    correlation = fft.irfft(np.abs(fft.rfft(frames, 1024)) ** 2)
    window = fft.irfft(np.abs(fft.rfft(np.hanning(768), 1024)) ** 2)
    shortest, longest = SAMPLE_RATE // 350, SAMPLE_RATE // 70
    energy = correlation[:, :1] / window[0] + 1e-12
    strength = correlation[:, shortest:longest] / window[shortest:longest] / energy
    best = strength.argmax(axis=1)
    voiced = (strength.max(axis=1) > 0.55) & (energy[:, 0] > 1e-3 * energy.max())
    pitch = np.where(voiced, SAMPLE_RATE / (best + shortest), np.nan)
    if not voiced.any():
        return np.full(len(pitch), 100.0), np.zeros(len(pitch))
    known = np.flatnonzero(voiced)
    filled = np.interp(np.arange(len(pitch)), known, pitch[known])
    return uniform_filter1d(median_filter(filled, 7), 5), median_filter(voiced.astype(float), 3)


def _prediction_response(wave: NDArray[np.float64], order: int) -> NDArray[np.complex128]:
    """Gain over A(f), a row a frame, by the autocorrelation method (Makhoul 1975)."""
    frames = frames_of(wave, 384) * np.hanning(384)
    correlation = fft.irfft(np.abs(fft.rfft(frames, POINTS)) ** 2)[:, : order + 1]
    correlation[:, 0] = correlation[:, 0] * 1.0001 + 1e-12
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    weights = np.linalg.solve(correlation[:, lags], correlation[:, 1:, None])[..., 0]
    gain = np.sqrt(correlation[:, 0] - np.sum(weights * correlation[:, 1:], axis=1))
    inverse_filter = np.concatenate([np.ones((len(weights), 1)), -weights], axis=1)
    return gain[:, None] / fft.rfft(inverse_filter, POINTS)
