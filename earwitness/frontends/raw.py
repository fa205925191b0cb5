"""The wave itself, cut into frames."""

from torch import Tensor

from earwitness.frontends.base import Frames, FrontEnd
from earwitness.frontends.spectra import frame_count, unit_level

__all__ = ["Raw"]


class Raw(FrontEnd):
    """Frames of ``frame`` samples every ``hop`` samples, at unit level.

    >>> import torch
    >>> Raw(frame=320, hop=160)(torch.randn(1, 1600), torch.tensor([1600])).values.shape
    torch.Size([1, 320, 9])
    """

    def __init__(self, *, frame: int = 320, hop: int = 160):
        super().__init__()
        self.features = self.min_samples = self.frame = frame
        self.hop = hop

    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Waves (batch, samples) to (batch, frame, frames)."""
        frames = unit_level(wave, length).unfold(1, self.frame, self.hop).transpose(1, 2)
        count = frame_count(length, self.frame, self.hop)
        inside = (count[:, None] > _positions(frames)).unsqueeze(1)
        return Frames(frames * inside, count)


def _positions(frames: Tensor) -> Tensor:
    return frames.new_ones(frames.shape[-1]).cumsum(0)[None] - 1
