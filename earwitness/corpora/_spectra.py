"""Short-time spectra for the synthetic corpus: analysis, overlap-add, filters that move.

Conventions: waves are float64 of shape ``(samples,)``; spectra are complex of shape
``(frames, bins)``; frame ``i`` is centred on sample ``i * HOP``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = [
    "HOP",
    "SIZE",
    "frame_count",
    "frames_of",
    "inverse",
    "move_filter",
    "overlap_add",
    "stft",
]

HOP = 128  # 8 ms at 16 kHz
SIZE = 512  # length of a frame: 32 ms
POINTS = 640  # a moving filter has POINTS // 2 + 1 bins, and 24 ms to ring before it wraps around
_TAPER = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE))


def frame_count(samples: int) -> int:
    """How many frames cover a wave.

    >>> frame_count(1280)
    11
    """
    return -(-samples // HOP) + 1


def frames_of(wave: NDArray[np.float64], size: int = SIZE) -> NDArray[np.float64]:
    """Cut a wave into overlapping frames, ``(frames, size)``; zeros stand beyond its ends.

    >>> frames_of(np.ones(1280)).shape
    (11, 512)
    """
    count = frame_count(len(wave))
    padded = np.zeros((count - 1) * HOP + size)
    padded[size // 2 : size // 2 + len(wave)] = wave
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::HOP]


def overlap_add(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum frames at their places; their length is a multiple of ``HOP``.

    >>> overlap_add(np.ones((2, 256)))[[0, 128, 256]]
    array([1., 2., 1.])
    """
    count, size = frames.shape
    blocks = frames.reshape(count, size // HOP, HOP)
    summed = np.zeros((count + size // HOP - 1, HOP))
    for shift in range(size // HOP):
        summed[shift : shift + count] += blocks[:, shift]
    return summed.ravel()


def stft(wave: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Short-time Fourier transform with a root-Hann window.

    >>> wave = np.random.default_rng(0).normal(size=1000)
    >>> bool(np.allclose(inverse(stft(wave), 1000), wave))
    True
    """
    return fft.rfft(frames_of(wave) * _TAPER)


def inverse(spectrum: NDArray[np.complex128], samples: int) -> NDArray[np.float64]:
    """The wave whose transform is nearest to ``spectrum`` (Griffin and Lim 1984, equation 6)."""
    inside = slice(SIZE // 2, SIZE // 2 + samples)
    weight = overlap_add(np.tile(_TAPER**2, (len(spectrum), 1)))
    return overlap_add(fft.irfft(spectrum, SIZE) * _TAPER)[inside] / weight[inside]


def move_filter(*parts: tuple[NDArray[np.float64], NDArray[Any]]) -> NDArray[np.float64]:
    """Sum of sources, each filtered by one response a frame, ``(frames, POINTS // 2 + 1)``.

    Neighbouring responses are cross-faded.

    >>> wave = np.ones(1000)
    >>> bool(np.allclose(move_filter((wave, np.full((9, 321), 2.0))), 2 * wave))
    True
    """
    size = 2 * HOP
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    spectrum = sum(fft.rfft(frames_of(w, size) * window, POINTS) * r for w, r in parts)
    return overlap_add(fft.irfft(spectrum, POINTS))[HOP:][: len(parts[0][0])]


def at_samples(track: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Straight lines between the values of a track, one value a frame.

    >>> at_samples(np.array([0.0, 128.0, 128.0]), 200)[[1, 127, 199]]
    array([  1., 127., 128.])
    """
    ramp = np.arange(HOP) / HOP
    return (track[:-1, None] + np.diff(track)[:, None] * ramp).ravel()[:samples]
