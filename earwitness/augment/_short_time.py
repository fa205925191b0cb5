"""Short-time spectra for copy-synthesis: cut, transform, and add up again.

Spectra are complex, (frame, bin); frame ``i`` is centred on sample ``i * HOP``.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["HOP", "SIZE", "frames_of", "inverse", "overlap_add", "stft"]

HOP, SIZE = 128, 512  # samples: 8 ms and 32 ms
_TAPER = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE))


def frames_of(wave: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Overlapping frames (frame, size), with zeros beyond the wave's ends.

    >>> frames_of(np.ones(1280), 512).shape
    (11, 512)
    """
    count = -(-len(wave) // HOP) + 1
    padded = np.zeros((count - 1) * HOP + size)
    inside = padded[size // 2 :][: len(wave)]
    inside[:] = wave[: len(inside)]
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::HOP]


def overlap_add(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of frames, each at its place; their length is a multiple of ``HOP``.

    >>> overlap_add(np.ones((2, 256)))[[0, 128, 256]]
    array([1., 2., 1.])
    """
    count, size = frames.shape
    shifts = size // HOP
    total = np.zeros((count + shifts - 1, HOP))
    for shift, block in enumerate(np.moveaxis(frames.reshape(count, shifts, HOP), 1, 0)):
        total[shift : shift + count] += block
    return total.ravel()


def stft(wave: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The transform under a root-Hann window.

    >>> wave = np.random.default_rng(0).normal(size=1000)
    >>> bool(np.allclose(inverse(stft(wave), 1000), wave))
    True
    """
    from scipy import fft

    return fft.rfft(frames_of(wave, SIZE) * _TAPER)


def inverse(spectra: NDArray[np.complex128], samples: int) -> NDArray[np.float64]:
    """The wave whose transform is nearest to ``spectra`` (Griffin and Lim 1984, equation 6)."""
    from scipy import fft

    # The Hann windows of four overlapping frames sum to 2 except where fewer overlap, at the ends.
    weight = overlap_add(np.broadcast_to(_TAPER**2, (len(spectra), SIZE)))
    wave = overlap_add(fft.irfft(spectra, SIZE) * _TAPER)
    return (wave / np.maximum(weight, 1e-9))[SIZE // 2 :][:samples]
