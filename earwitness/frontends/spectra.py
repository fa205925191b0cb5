"""Short-time power spectra and filter banks, shared by the spectral front ends.

Frames lie wholly inside the clip (no centring, no reflection), so a frame depends only on its own
samples and a clip's frames don't depend on what it was padded to.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.audio import SAMPLE_RATE
from earwitness.frontends.base import exporting, time_mask

__all__ = ["frame_count", "linear_bank", "mel_bank", "normalise", "power_spectrum", "unit_level"]


def unit_level(wave: Tensor, length: Tensor) -> Tensor:
    """Scale each clip to a root mean square of 1 over its own samples, so level tells nothing."""
    mask = time_mask(length, wave.shape[1])
    wave = wave * mask
    energy = wave.square().sum(1, keepdim=True) / length[:, None]
    return wave / energy.clamp_min(1e-12).sqrt()


def frame_count(length: Tensor, fft: int, hop: int) -> Tensor:
    """How many whole frames a clip of ``length`` samples has."""
    return (torch.div(length - fft, hop, rounding_mode="floor") + 1).clamp_min(0)


def power_spectrum(wave: Tensor, window: Tensor, fft: int, hop: int) -> Tensor:
    """Squared magnitudes (batch, fft // 2 + 1, frame) under ``window``, centred in ``fft``."""
    if exporting():
        return _as_convolution(wave, window, fft, hop)
    spectrum = torch.stft(wave, fft, hop, len(window), window, center=False, return_complex=True)
    return spectrum.real.square() + spectrum.imag.square()


def _as_convolution(wave: Tensor, window: Tensor, fft: int, hop: int) -> Tensor:
    """The same by a convolution with cosines and sines: ONNX Runtime's STFT takes longer."""
    before = (fft - len(window)) // 2
    turns = np.outer(np.arange(fft // 2 + 1), np.arange(len(window))) * (2 * np.pi / fft)
    basis = torch.tensor(np.concatenate([np.cos(turns), np.sin(turns)]).astype(np.float32))
    inside = wave.narrow(1, before, wave.shape[1] - (fft - len(window)))[:, None]
    parts = torch.nn.functional.conv1d(inside, (basis.to(window) * window)[:, None], stride=hop)
    real, imaginary = parts.chunk(2, dim=1)
    return real.square() + imaginary.square()


def normalise(values: Tensor, length: Tensor, how: str) -> Tensor:
    """Per clip and feature: subtract the mean (``"mean"``), also divide by the deviation
    (``"mean-variance"``), or leave as is (``"none"``); frames after ``length`` become zero.
    """
    mask = time_mask(length, values.shape[-1])[:, None]
    if how == "none":
        return values * mask
    count = length[:, None, None].to(values.dtype)
    centred = (values - (values * mask).sum(-1, keepdim=True) / count) * mask
    if how == "mean":
        return centred
    deviation = (centred.square().sum(-1, keepdim=True) / count).clamp_min(1e-8).sqrt()
    return centred / deviation


def _triangles(edges: NDArray[np.float64], fft: int) -> Tensor:
    """Triangular filters between successive edge frequencies in Hz: (filters, fft // 2 + 1)."""
    bins = np.arange(fft // 2 + 1) * SAMPLE_RATE / fft
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return torch.tensor(np.clip(np.minimum(rising, falling), 0, None), dtype=torch.float32)


def linear_bank(filters: int, fft: int, low: float, high: float) -> Tensor:
    """Triangles with equally spaced centres in Hz."""
    return _triangles(np.linspace(low, high, filters + 2), fft)


def mel_bank(filters: int, fft: int, low: float, high: float) -> Tensor:
    """Triangles with equally spaced centres in mel (O'Shaughnessy: 2595 log10(1 + f / 700))."""
    mel = np.linspace(2595 * math.log10(1 + low / 700), 2595 * math.log10(1 + high / 700), filters + 2)
    return _triangles(700 * (10 ** (mel / 2595) - 1), fft)
