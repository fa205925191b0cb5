"""What every back end is: a module from frames to class logits and the embedding before them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from earwitness.errors import SettingsError
from earwitness.frontends.base import Frames, FrontEnd

__all__ = ["BackEnd", "Output", "PairBackEnd"]


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

    ``min_frames`` is the fewest frames a clip may have, ``min_features`` the fewest features a frame
    may have. One that ``wants_layers`` takes a setting ``layers`` and frames (batch, layer, feature,
    frame) where that is above 0. One that ``wants_reference`` also hears a genuine recording of the
    same speaker, where there is one.
    """

    head: nn.Linear
    dim: int
    min_frames: int = 1
    min_features: int = 1
    wants_layers: ClassVar[bool] = False
    wants_reference: ClassVar[bool] = False
    joins_waves: bool = False
    built_from: dict[str, Any]

    @abstractmethod
    def embed(self, frames: Frames) -> Tensor:
        """Frames (batch, feature, frame) to embeddings (batch, dim)."""

    def forward(self, frames: Frames, reference: Frames | None = None) -> Output:
        """Frames to logits and embedding; a reference is for those that want one."""
        del reference
        embedding = self.embed(frames)
        return Output(self.head(embedding), embedding)

    def require_fit(self, front_end: FrontEnd) -> None:
        """Raise when what a front end gives is too small for this network.

        Raises:
            SettingsError: too few features in a frame, or vectors where several frames are needed.
        """
        mine, other = (f"{part.built_from['name']!r}" for part in (self, front_end))
        if self.min_frames > 1 and front_end.eats == "vector":
            raise SettingsError(
                f"the back end {mine} needs {self.min_frames} frames and the front end {other} makes "
                "one of a vector; take 'linear' or 'mlp'."
            )
        if front_end.features < self.min_features:
            raise SettingsError(
                f"the back end {mine} needs frames of at least {self.min_features} features and the "
                f"front end {other} gives {front_end.features}; take a front end of larger frames: "
                "'logmel', 'lfcc', 'raw' or 'ssl'."
            )


class PairBackEnd(BackEnd):
    """Base of back ends that hear a recording beside a genuine one of the same speaker.

    A clip has no reference where its reference's ``length`` is 0, or where there are none at all.
    One that ``joins_waves`` wants both as one recording, the reference first.
    """

    wants_reference = True

    @abstractmethod
    def embed_pair(self, frames: Frames, reference: Frames | None) -> Tensor:
        """Frames of the recording and of the reference to embeddings (batch, dim)."""

    def embed(self, frames: Frames) -> Tensor:
        """Embeddings without a reference."""
        return self.embed_pair(frames, None)

    def forward(self, frames: Frames, reference: Frames | None = None) -> Output:
        """Frames to logits and embedding."""
        embedding = self.embed_pair(frames, reference)
        return Output(self.head(embedding), embedding)
