"""Pooling and a few fully connected layers."""

from typing import Literal

from torch import Tensor, nn

from earwitness.backends.base import BackEnd
from earwitness.backends.pooling import make_pooling
from earwitness.frontends.base import Frames

__all__ = ["MLP"]


class MLP(BackEnd):
    """Pooled frames through ``hidden`` ReLU layers of the given widths.

    >>> MLP(features=8, hidden=(16, 4)).dim
    4
    """

    wants_layers = True

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        layers: int = 0,
        hidden: tuple[int, ...] = (128, 64),
        pooling: Literal["mean", "statistics", "attention", "attentive", "mhfa", "sls"] = "statistics",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.pooling = make_pooling(pooling, features, layers)
        widths = (int(self.pooling.dim), *hidden)  # type: ignore[arg-type]
        steps: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            steps += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*steps)
        self.dim = widths[-1]
        self.head = nn.Linear(self.dim, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Frames to the last hidden layer."""
        return self.layers(self.pooling(frames.values, frames.length))
