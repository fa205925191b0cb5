"""Images in place of audio."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from earwitness.errors import SettingsError
from earwitness.frontends.base import Frames, FrontEnd

__all__ = ["Pixels"]


class Pixels(FrontEnd):
    """Passes an image on as one frame a column: the rows of its channels, one below the other.

    Convolutions over bands and time then run over rows and columns. Back ends that pool over frames
    before anything else (``mlp``, ``linear``) would only see a mean over columns; ``flat`` makes the
    whole image one frame for them.

    Args:
        size: images are resized to ``size`` x ``size`` pixels when they are read.
        channels: 1 for grey, 3 for colour.
        flat: one frame of all pixels.

    >>> Pixels(size=8, channels=3)(torch.rand(2, 192), torch.tensor([192, 192])).values.shape
    torch.Size([2, 24, 8])
    """

    eats: ClassVar[str] = "image"

    def __init__(self, *, size: int = 32, channels: Literal[1, 3] = 3, flat: bool = False):
        super().__init__()
        if size < 1:
            raise SettingsError(f"front end 'pixels': size is {size}, expected 1 or more.")
        self.size = size
        self.image = {"size": size, "channels": channels}  # for whoever reads the files
        self.min_samples = channels * size * size
        self.frames = 1 if flat else size
        self.features = self.min_samples // self.frames

    def samples_for(self, frames: int) -> int:
        """The number of pixels; an image has as many frames as it has columns and no more."""
        if frames > self.frames:
            raise SettingsError(
                f"front end 'pixels': this back end needs {frames} frames, an image of size "
                f"{self.size} gives {self.frames}; choose a larger size, without flat."
            )
        return self.min_samples

    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Pixels (batch, channels * size * size) to (batch, channels * size, size)."""
        values = wave.reshape(wave.shape[0], self.features, self.frames)
        return Frames(values, torch.full_like(length, self.frames))
