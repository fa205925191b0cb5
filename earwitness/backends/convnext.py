"""ConvNeXt on time and frequency: wide depthwise convolutions and small dense layers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.backends.base import BackEnd
from earwitness.backends.layers import halve, mask_time
from earwitness.frontends.base import Frames

__all__ = ["ConvNeXt"]

_REACH = 32  # a frame of the last stage stands for 32 x 32 values


class ConvNeXt(BackEnd):
    """Patches of 4 x 4, four stages of blocks, the mean over bands and the clip's frames, a norm.

    After Liu et al., "A ConvNet for the 2020s" (CVPR 2022), without stochastic depth. With one channel
    in place of a picture's three, widths (96, 192, 384, 768) and blocks (3, 3, 9, 3) it is
    ConvNeXt-T; the default is made for CPUs.

    Args:
        widths: channels of the stages.
        blocks: how many each stage has.
        scale: of what a block adds at first (section 2.7 and appendix A.1 of the paper: 1e-6).

    >>> sum(p.numel() for p in ConvNeXt(features=64).parameters())
    669818
    """

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        widths: tuple[int, ...] = (24, 48, 96, 192),
        blocks: tuple[int, ...] = (1, 1, 3, 1),
        scale: float = 1e-6,
    ):
        super().__init__()
        del features  # the network takes any number of bands
        inputs = (1, *widths)
        self.stages = nn.ModuleList(
            _Stage(one, other, count, scale)
            for one, other, count in zip(inputs, widths, blocks, strict=False)
        )
        self.dim = widths[-1]
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)
        self.head = nn.Linear(self.dim, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def embed(self, frames: Frames) -> Tensor:
        """Frames to the normalised mean of the last stage."""
        values, length = frames.values[:, None], frames.length
        spare = [-size % _REACH for size in values.shape[2:]]
        values = F.pad(values, (0, spare[1], 0, spare[0]))
        for stage in self.stages:
            values, length = stage(values, length)
        count = length[:, None] * values.shape[2]
        return self.norm(values.sum((2, 3)) / count)


class _Stage(nn.Module):
    """Fewer, wider values (norm and convolution the other way round in the first), then blocks."""

    def __init__(self, inputs: int, outputs: int, count: int, scale: float):
        super().__init__()
        self.stride = 4 if inputs == 1 else 2
        self.shrink = nn.Conv2d(inputs, outputs, self.stride, self.stride)
        self.norm = nn.LayerNorm(outputs if inputs == 1 else inputs, eps=1e-6)
        self.blocks = nn.ModuleList(_Block(outputs, scale) for _ in range(count))

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        shorter = halve(length, self.stride)
        if self.stride == 4:
            values = mask_time(_over_channels(self.norm, self.shrink(values)), shorter)
        else:
            values = self.shrink(mask_time(_over_channels(self.norm, values), length))
            values = mask_time(values, shorter)
        for block in self.blocks:
            values = block(values, shorter)
        return values, shorter


class _Block(nn.Module):
    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.dense = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, values: Tensor, length: Tensor) -> Tensor:
        inner = _over_channels(self.dense, self.depthwise(values))
        return values + mask_time(self.scale * inner, length)


def _over_channels(layer: nn.Module, values: Tensor) -> Tensor:
    """A layer that wants channels last, on (batch, channel, band, frame)."""
    return layer(values.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
