"""What every back end is: a module from frames to class logits and the embedding before them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from earwitness.errors import SettingsError
from earwitness.frontends.base import Frames

__all__ = ["BackEnd", "Output"]


@dataclass(frozen=True)
class Output:
    """``logits`` (batch, classes) in the order of the classes; ``embedding`` (batch, dim)."""

    logits: Tensor
    embedding: Tensor

    @property
    def score(self) -> Tensor:
        """(batch,) bonafide logit minus spoof logit: real, higher = more bonafide.

        Raises:
            SettingsError: there are not two classes.
        """
        if self.logits.shape[1] != 2:
            raise SettingsError(
                f"a score weighs bonafide against spoof; this detector names {self.logits.shape[1]} "
                "classes, so use its logits."
            )
        return self.logits[:, 0] - self.logits[:, 1]


class BackEnd(nn.Module, ABC):
    """Base of back ends; ``head`` is the last linear layer and ``dim`` the size of its input.

    ``min_frames`` is the fewest frames a clip may have.
    """

    head: nn.Linear
    dim: int
    min_frames: int = 1
    wants_reference: bool = False
    built_from: dict[str, Any]

    @abstractmethod
    def embed(self, frames: Frames) -> Tensor:
        """Frames (batch, feature, frame) to embeddings (batch, dim)."""

    def forward(self, frames: Frames) -> Output:
        """Frames to logits and embedding."""
        embedding = self.embed(frames)
        return Output(self.head(embedding), embedding)
