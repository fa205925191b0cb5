"""The wave itself, a frame a sample: for networks that hear samples."""

from typing import Literal

from torch import Tensor

from earwitness.frontends.base import Frames, FrontEnd, time_mask
from earwitness.frontends.spectra import unit_level

__all__ = ["Wave"]


class Wave(FrontEnd):
    """Each sample is a frame of one feature, for the back ends ``aasist`` and ``rawnet2``.

    Args:
        normalise: a clip to a ``peak`` or a ``level`` (root mean square) of 1, silence stays silence;
            ``none`` leaves it as it is, as those did whose weights were released.

    >>> import torch
    >>> clips = torch.tensor([[0.5, -0.25, 0.0], [0.1, 0.2, 9.0]])
    >>> Wave(normalise="peak")(clips, torch.tensor([3, 2])).values[1]
    tensor([[0.5000, 1.0000, 0.0000]])
    """

    features = 1
    hop = 1

    def __init__(self, *, normalise: Literal["none", "peak", "level"] = "none"):
        super().__init__()
        self.normalise = normalise

    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Waves (batch, samples) to (batch, 1, samples)."""
        wave = wave * time_mask(length, wave.shape[1])
        if self.normalise == "peak":
            wave = wave / wave.abs().amax(1, keepdim=True).clamp_min(1e-6)
        elif self.normalise == "level":
            wave = unit_level(wave, length)
        return Frames(wave[:, None], length)
