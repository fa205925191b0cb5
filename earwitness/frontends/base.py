"""What every front end is: a module from waves to frames that never looks across clips."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Frames", "FrontEnd", "exporting", "masked_mean", "time_mask"]

exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # from torch 2.7 on


@dataclass(frozen=True)
class Frames:
    """``values`` (batch, feature, frame), zero after each clip's ``length`` (batch,) frames.

    A front end with ``layers`` gives (batch, layer, feature, frame).
    """

    values: Tensor
    length: Tensor


class FrontEnd(nn.Module, ABC):
    """Base of front ends.

    Attributes:
        features: size of a frame. ``layers``: how many of them lie above one another, 0 for none.
        min_samples: the shortest wave that gives one frame; ``hop``: samples for each one more.
        eats: ``"wave"``, ``"vector"`` for pre-extracted embeddings, or ``"image"``.
        image: ``size`` and ``channels`` of the images that it eats.
    """

    features: int
    layers: int = 0
    min_samples: int = 1
    hop: int = 0
    eats: ClassVar[str] = "wave"
    image: Mapping[str, int] = MappingProxyType({})
    built_from: dict[str, Any]

    def samples_for(self, frames: int) -> int:
        """The shortest wave that gives ``frames`` frames."""
        return self.min_samples + (frames - 1) * self.hop

    def resolved(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that build the same front end again, without what it was loaded from."""
        return dict(settings)

    @abstractmethod
    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Waves (batch, samples) with valid ``length`` (batch,) to frames."""

    @property
    def is_frozen(self) -> bool:
        """Whether `before` has no weight that learns, and hears each clip for itself."""
        return not any(p.requires_grad for p in self.parameters())

    def before(self, wave: Tensor, length: Tensor) -> Frames:
        """The part of ``forward`` in which no weight learns when the front end ``is_frozen``."""
        return self(wave, length)

    def finish(self, frames: Frames) -> Frames:
        """The rest of ``forward``: ``finish(before(wave, length))`` is all of it."""
        return frames


def time_mask(length: Tensor, frames: int) -> Tensor:
    """True where a frame belongs to its clip: (batch, frames).

    >>> time_mask(torch.tensor([2]), 3)
    tensor([[ True,  True, False]])
    """
    return torch.arange(frames, device=length.device) < length[:, None]


def masked_mean(values: Tensor, length: Tensor) -> Tensor:
    """Mean over each clip's own frames: (batch, feature, frame) -> (batch, feature).

    Values after ``length`` must be zero, as in ``Frames``.
    """
    if values.shape[-1] == 1:  # a vector: nothing to average
        return values[..., 0]
    return values.sum(-1) / length[:, None].to(values.dtype)
