"""Pre-extracted embeddings in place of audio."""

from typing import ClassVar

import torch
from torch import Tensor

from earwitness.frontends.base import Frames, FrontEnd

__all__ = ["Vectors"]


class Vectors(FrontEnd):
    """Passes a vector on as a clip of one frame.

    Args:
        dim: length of the vectors.

    >>> Vectors(dim=4)(torch.randn(2, 4), torch.tensor([4, 4])).values.shape
    torch.Size([2, 4, 1])
    """

    eats: ClassVar[str] = "vector"

    def __init__(self, *, dim: int):
        super().__init__()
        self.features = self.min_samples = dim

    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Vectors (batch, dim) to (batch, dim, 1)."""
        return Frames(wave[:, :, None], torch.ones_like(length))
