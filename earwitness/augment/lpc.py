"""Copy-synthesis by linear prediction."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.augment._short_time import HOP, frames_of, overlap_add
from earwitness.augment.base import Augment, Drawn, Wave, draw_seed, require_range

__all__ = ["LinearPrediction"]

_SIZE = 640  # samples of an analysis frame, 40 ms: three periods of a low voice
_POINTS = 1024  # of a transform: a filter rings for 48 ms before it wraps around
_SHORTEST, _LONGEST = 40, 229  # samples of a period: 400 Hz and 70 Hz
_VOICED = 0.4  # normalised autocorrelation at the period


class _Voice(NamedTuple):
    """One row a frame: the filter's frequency response, the period in samples, whether it is voiced."""

    response: NDArray[np.complex128]
    period: NDArray[np.float64]
    is_voiced: NDArray[np.bool_]


class LinearPrediction(Augment):
    """A spoof from genuine speech: the vocoder of Atal and Hanauer (1971), buzzy.

    Every 8 ms an all-pole filter of ``order`` poles is fitted (autocorrelation method, Hann window of
    40 ms) and excited by pulses at the period where the frame is voiced (autocorrelation above 0.4),
    and by white noise elsewhere. Neighbouring filters are cross-faded. Length is kept, and so is about
    the level.

    >>> wave = 0.1 * np.random.default_rng(0).normal(size=16_000)
    >>> spoof, drawn = LinearPrediction()(wave, np.random.default_rng(0))
    >>> len(spoof), 16 <= drawn["order"] <= 24
    (16000, True)

    Raises:
        SettingsError: an order that isn't within 2 to 64.
    """

    makes_spoof = True

    def __init__(self, *, order: tuple[int, int] = (16, 24)):
        require_range("lpc: order", order, 2, 64)
        self.order = order

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The order, and the seed of the noise."""
        order = int(rng.integers(self.order[0], self.order[1], endpoint=True))
        return {"order": order, "seed": draw_seed(rng)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Analyse and synthesise."""
        from scipy import fft

        voice = _analysed(wave.astype(np.float64), drawn["order"])
        excitation = _excitation(voice, len(wave), np.random.default_rng(drawn["seed"]))
        fade = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)
        spectra = fft.rfft(frames_of(excitation, 2 * HOP) * fade, _POINTS)
        return overlap_add(fft.irfft(spectra * voice.response, _POINTS))[HOP:][: len(wave)]


def _analysed(wave: NDArray[np.float64], order: int) -> _Voice:
    from scipy import fft

    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(_SIZE) + 0.5) / _SIZE)
    points = 2 * _SIZE
    alike = fft.irfft(np.abs(fft.rfft(frames_of(wave, _SIZE) * window, points)) ** 2)[:, :_SIZE]
    period, is_voiced = _periods(alike, fft.irfft(np.abs(fft.rfft(window, points)) ** 2)[:_SIZE])
    # A little white noise makes every frame solvable, silence too; 1e-5 is 50 dB below the frame.
    alike[:, 0] = alike[:, 0] * (1 + 1e-5) + 1e-12
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    weights = np.linalg.solve(alike[:, lags], alike[:, 1 : order + 1, None])[..., 0]
    left = alike[:, 0] - (weights * alike[:, 1 : order + 1]).sum(axis=1)
    gain = np.sqrt(np.maximum(left, 0) / (window**2).sum())
    whitening = fft.rfft(np.concatenate([np.ones((len(weights), 1)), -weights], axis=1), _POINTS)
    return _Voice(gain[:, None] / whitening, period, is_voiced)


def _periods(
    alike: NDArray[np.float64], of_window: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The lag of the highest autocorrelation, the window's own divided out (Boersma 1993), smoothed."""
    from scipy.ndimage import median_filter

    level = np.maximum(alike[:, :1], 1e-12)
    curve = (alike / level)[:, _SHORTEST:_LONGEST] / (of_window / of_window[0])[_SHORTEST:_LONGEST]
    is_voiced = median_filter(curve.max(axis=1) > _VOICED, 5)
    is_voiced &= alike[:, 0] > 1e-4 * alike[:, 0].max()
    return median_filter(curve.argmax(axis=1) + float(_SHORTEST), 5), is_voiced


def _excitation(voice: _Voice, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Pulses and noise, both of unit power."""
    at = np.arange(samples) // HOP
    period = np.interp(np.arange(samples), np.arange(len(voice.period)) * HOP, voice.period)
    cycles = np.cumsum(1 / period)
    pulses = np.diff(np.floor(cycles), prepend=0.0) * np.sqrt(period)
    noise = rng.standard_normal(samples)
    return np.where(voice.is_voiced[at], pulses, noise)
