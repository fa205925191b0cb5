"""Light CNN: convolutions whose channels compete in pairs (max-feature-map)."""

from typing import Literal

import torch
from torch import Tensor, nn

from earwitness.backends.base import BackEnd
from earwitness.backends.layers import ConvNorm, mask_time
from earwitness.backends.pooling import Pooling
from earwitness.frontends.base import Frames

__all__ = ["LCNN"]


class LCNN(BackEnd):
    """Four stages of max-feature-map convolutions, each followed by 2 x 2 max pooling.

    After Lavrentyeva et al., "STC Antispoofing Systems for the ASVspoof2019 Challenge" (2019),
    made narrower for CPUs: ``width`` channels after the first stage, growing by half a stage.
    Clips need at least 16 frames of 16 features.

    >>> LCNN(features=60, width=16).dim
    64
    """

    min_frames = min_features = 16  # four poolings halve them

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        width: int = 16,
        norm: Literal["batch", "clip", "none"] = "batch",
        pooling: Literal["mean", "statistics", "attention"] = "statistics",
        embedding: int = 64,
    ):
        super().__init__()
        del features
        widths = (1, width, width * 3 // 2, width * 2, width * 2)
        self.convs = nn.ModuleList(
            ConvNorm(inputs, 2 * outputs, kernel=5 if inputs == 1 else 3, norm=norm)
            for inputs, outputs in zip(widths, widths[1:], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.pooling = Pooling(pooling, widths[-1])
        self.dim = embedding
        self.dense = nn.Linear(self.pooling.dim, 2 * self.dim)
        self.head = nn.Linear(self.dim, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Frames to the max-feature-map of the dense layer."""
        values, length = frames.values[:, None], frames.length
        for conv in self.convs:
            values, length = conv(values, length)
            # Floor, so that a pooled value never mixes a clip's last frame with what follows it.
            values = self.pool(_compete(values))
            length = torch.div(length, 2, rounding_mode="floor")
            values = mask_time(values, length)
        return _compete(self.dense(self.pooling(values.mean(2), length)))


def _compete(values: Tensor) -> Tensor:
    """Max-feature-map: the larger of each channel pair (Wu et al., 2018, eq. 1)."""
    one, other = values.chunk(2, 1)
    return torch.maximum(one, other)
