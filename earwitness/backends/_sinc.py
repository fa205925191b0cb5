"""Fixed band-pass filters on the wave: the first layer of RawNet2 and AASIST.

A filter is the difference of two ideal low-passes (sinc functions) under a Hamming window, after
Ravanelli and Bengio, "Speaker Recognition from Raw Waveform with SincNet" (2018), eq. 4 to 6. Band
edges lie evenly in mel from 0 Hz to half the sample rate (Tak et al., 2021) and don't learn.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earwitness.audio import SAMPLE_RATE

__all__ = ["SincPool", "band_passes"]

_ROWS = 512  # so many windows of the wave fit a core's cache together with what they become


def band_passes(filters: int, taps: int) -> NDArray[np.float32]:
    """Impulse responses (filters, taps), lowest band first; ``taps`` is odd.

    Released weights learned with filters from single precision, in which sines of large numbers are
    off in the fifth place; so that scores agree, they are rounded in the same places here.

    >>> band_passes(70, 129).shape
    (70, 129)
    """
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), filters + 1)
    edges = 2 * 700 * (10 ** (mel / 2595) - 1)[:, None]  # twice the edges of bands, in Hz
    places = np.arange(taps, dtype=np.float32) - taps // 2
    phases = edges.astype(np.float32) * places / np.float32(SAMPLE_RATE)
    low_passes = edges / SAMPLE_RATE * np.sinc(phases)
    return np.diff(low_passes, axis=0).astype(np.float32) * np.hamming(taps).astype(np.float32)


class SincPool(nn.Module):
    """Magnitude of the filtered wave, the largest of 3 samples and of ``across`` neighbouring filters.

    One matrix product gives all that is pooled together: a column is the window of the wave that 3
    samples of the filters' output depend on, a row is one filter at one of the 3 places. Filters left
    over by ``across`` are never computed.

    >>> SincPool(70, 129, across=3)(torch.randn(2, 128 + 30)).shape
    torch.Size([2, 10, 23])
    """

    weight: Tensor

    def __init__(self, filters: int, taps: int, *, across: int = 1):
        super().__init__()
        self.taps = taps
        self.bands = filters // across
        self.pooled = 3 * across
        responses = torch.from_numpy(band_passes(filters, taps)[: self.bands * across])
        weight = torch.zeros(3, across, self.bands, taps + 2)
        for place in range(3):
            weight[place, ..., place : place + taps] = responses.unflatten(0, (-1, across)).transpose(
                0, 1
            )
        self.register_buffer("weight", weight.flatten(0, 2)[None], persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Waves (batch, samples) to (batch, time, band), time = (samples - taps + 1) // 3."""
        weight = self.weight.expand(wave.shape[0], -1, -1)
        windows = wave.unfold(1, self.taps + 2, 3).transpose(1, 2).split(_ROWS, 2)
        pooled = [self._strongest(weight @ some) for some in windows]
        return torch.cat(pooled, 2).transpose(1, 2)

    def _strongest(self, filtered: Tensor) -> Tensor:
        return filtered.abs().unflatten(1, (self.pooled, self.bands)).amax(1)
