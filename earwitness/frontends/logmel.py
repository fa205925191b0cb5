"""Logarithms of mel-band energies."""

from typing import Literal

import torch
from torch import Tensor

from earwitness.frontends.base import Frames, FrontEnd
from earwitness.frontends.spectra import (
    frame_count,
    mel_bank,
    normalise,
    power_spectrum,
    unit_level,
)

__all__ = ["LogMel"]


class LogMel(FrontEnd):
    """``log(mel energies + floor)`` of unit-level clips, normalised per clip.

    Args:
        bands: number of mel bands (HTK mel scale, peak 1).
        window, hop, fft: in samples at 16 kHz; a Hann window, centred in the transform.
        low, high: edges of the bank in Hz.
        normalise: ``mean`` takes each band's mean over the clip away, which removes most of a
            recording channel; ``mean-variance`` also its spread; ``none`` nothing.

    >>> LogMel(bands=40)(torch.randn(2, 16000), torch.tensor([16000, 8000])).values.shape
    torch.Size([2, 40, 97])
    """

    window: Tensor
    bank: Tensor

    def __init__(
        self,
        *,
        bands: int = 64,
        window: int = 400,
        hop: int = 160,
        fft: int = 512,
        low: float = 20.0,
        high: float = 8000.0,
        floor: float = 1e-6,
        normalise: Literal["mean", "mean-variance", "none"] = "mean",
    ):
        super().__init__()
        self.features = bands
        self.min_samples = fft
        self.hop, self.fft, self.floor, self.normalise = hop, fft, floor, normalise
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("bank", mel_bank(bands, fft, low, high), persistent=False)

    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Waves (batch, samples) to (batch, bands, frames)."""
        power = power_spectrum(unit_level(wave, length), self.window, self.fft, self.hop)
        values = torch.log(self.bank @ power + self.floor)
        count = frame_count(length, self.fft, self.hop)
        return Frames(normalise(values, count, self.normalise), count)
