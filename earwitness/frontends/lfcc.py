"""Linear-frequency cepstral coefficients, the ASVspoof baselines' features."""

import math
from typing import Literal

import torch
from torch import Tensor

from earwitness.frontends.base import Frames, FrontEnd
from earwitness.frontends.spectra import (
    frame_count,
    linear_bank,
    normalise,
    power_spectrum,
    unit_level,
)

__all__ = ["LFCC"]


class LFCC(FrontEnd):
    """Orthonormal DCT-II of log energies in linearly spaced bands, with differences over time.

    Defaults follow the ASVspoof 2019/2021 LFCC baseline: 20 ms windows every 10 ms, 20 bands,
    20 coefficients with first and second differences (60 in all). The difference of a frame is
    ``x[t + 1] - x[t - 1]``, with the clip's own first and last frame repeated at its ends.

    >>> LFCC()(torch.randn(1, 16000), torch.tensor([16000])).values.shape
    torch.Size([1, 60, 97])
    """

    window: Tensor
    bank: Tensor
    dct: Tensor

    def __init__(
        self,
        *,
        bands: int = 20,
        coefficients: int = 20,
        window: int = 320,
        hop: int = 160,
        fft: int = 512,
        low: float = 0.0,
        high: float = 8000.0,
        differences: int = 2,
        floor: float = 1e-6,
        normalise: Literal["mean", "mean-variance", "none"] = "none",
    ):
        super().__init__()
        self.features = coefficients * (1 + differences)
        self.min_samples = fft
        self.hop, self.fft, self.floor, self.normalise = hop, fft, floor, normalise
        self.differences = differences
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("bank", linear_bank(bands, fft, low, high), persistent=False)
        self.register_buffer("dct", _dct(coefficients, bands), persistent=False)

    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Waves (batch, samples) to (batch, coefficients * (1 + differences), frames)."""
        power = power_spectrum(unit_level(wave, length), self.window, self.fft, self.hop)
        parts = [self.dct @ torch.log(self.bank @ power + self.floor)]
        count = frame_count(length, self.fft, self.hop)
        for _ in range(self.differences):
            parts.append(_difference(parts[-1], count))
        return Frames(normalise(torch.cat(parts, 1), count, self.normalise), count)


def _dct(coefficients: int, bands: int) -> Tensor:
    n = torch.arange(bands, dtype=torch.float64) + 0.5
    k = torch.arange(coefficients, dtype=torch.float64)[:, None]
    basis = torch.cos(math.pi / bands * k * n) * math.sqrt(2 / bands)
    basis[0] /= math.sqrt(2)
    return basis.float()


def _difference(values: Tensor, count: Tensor) -> Tensor:
    """``x[t + 1] - x[t - 1]`` inside each clip; positions are clamped to the clip's own frames."""
    t = torch.arange(values.shape[-1], device=values.device).expand(values.shape[0], -1)
    last = (count[:, None] - 1).clamp_min(0)
    after, before = torch.minimum(t + 1, last), (t - 1).clamp_min(0)
    shape = (-1, values.shape[1], -1)
    return values.gather(2, after[:, None].expand(shape)) - values.gather(
        2, before[:, None].expand(shape)
    )
