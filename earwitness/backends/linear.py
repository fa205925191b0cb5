"""Pooling and one linear map: the honest baseline."""

from typing import Literal

from torch import Tensor, nn

from earwitness.backends.base import BackEnd
from earwitness.backends.pooling import make_pooling
from earwitness.frontends.base import Frames

__all__ = ["Linear"]


class Linear(BackEnd):
    """Logistic regression on pooled frames; the embedding is the pooled vector itself.

    Beware of ``pooling="mean"`` on frames whose mean was taken away (``logmel``'s default): it is
    zero. For vectors, which have one frame, ``mean`` is the natural choice.

    >>> Linear(features=8, pooling="mean").head
    Linear(in_features=8, out_features=2, bias=True)
    """

    wants_layers = True

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        layers: int = 0,
        pooling: Literal["mean", "statistics", "attention", "attentive", "mhfa", "sls"] = "statistics",
    ):
        super().__init__()
        self.pooling = make_pooling(pooling, features, layers)
        self.dim = int(self.pooling.dim)  # type: ignore[arg-type]
        self.head = nn.Linear(self.dim, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Frames to pooled vectors."""
        return self.pooling(frames.values, frames.length)
