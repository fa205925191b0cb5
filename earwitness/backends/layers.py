"""Two-dimensional layers that know where a clip ends.

Every layer keeps values after a clip's last frame at zero, which is also what a convolution pads
with: that is why padding never changes a score.
"""

import torch
from torch import Tensor, nn

from earwitness.frontends.base import time_mask

__all__ = ["ClipNorm", "ConvNorm", "halve", "mask_time"]


def mask_time(values: Tensor, length: Tensor) -> Tensor:
    """Zero after each clip's length: values (batch, channel, band, frame)."""
    return values * time_mask(length, values.shape[-1])[:, None, None]


def halve(length: Tensor, stride: int) -> Tensor:
    """The length after a 'same' convolution of that stride over time."""
    return torch.div(length + stride - 1, stride, rounding_mode="floor")


class ClipNorm(nn.Module):
    """Normalise each group of channels over one clip's own bands and frames.

    Unlike batch normalisation it has no running statistics that a later task could overwrite.
    """

    def __init__(self, channels: int, groups: int = 4):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor, length: Tensor) -> Tensor:
        """(batch, channel, band, frame), zeros after ``length``; zeros stay zero."""
        batch, channels, bands, frames = values.shape
        grouped = values.reshape(batch, self.groups, -1, frames)
        count = (length * grouped.shape[2])[:, None, None, None].to(values.dtype)
        mean = grouped.sum((2, 3), keepdim=True) / count
        centred = (grouped - mean) * time_mask(length, frames)[:, None, None]
        deviation = (centred.square().sum((2, 3), keepdim=True) / count + 1e-5).sqrt()
        normal = (centred / deviation).reshape(batch, channels, bands, frames)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


class ConvNorm(nn.Module):
    """Convolution, normalisation over the batch or the clip (or none), end of the clip masked."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, norm: str):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=norm == "none")
        kinds: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "clip": ClipNorm}
        self.norm = kinds[norm](outputs) if norm in kinds else None

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values and lengths in, values and lengths out."""
        length = halve(length, self.stride)
        values = mask_time(self.conv(values), length)
        if isinstance(self.norm, ClipNorm):
            values = self.norm(values, length)
        elif self.norm is not None:
            values = self.norm(values)
        return mask_time(values, length), length
