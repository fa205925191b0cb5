"""A residual network on time and frequency, small enough to train on a CPU in minutes."""

from typing import Literal

from torch import Tensor, nn

from earwitness.backends.base import BackEnd
from earwitness.backends.layers import ConvNorm
from earwitness.backends.pooling import Pooling
from earwitness.frontends.base import Frames

__all__ = ["ResNet"]


class ResNet(BackEnd):
    """Stem, four stages of residual blocks, pooling over bands and time, head.

    The stem halves bands and frames, every stage after the first does so again. The architecture
    is He et al., "Deep Residual Learning for Image Recognition" (2015), with basic blocks.

    Args:
        width: channels of the first stage; each later stage has twice as many.
        blocks: residual blocks in each stage.
        norm: over the ``batch`` (running statistics at test time), the ``clip`` (no statistics
            that a later task can overwrite) or ``none``.
        pooling: over time, after the mean over bands.

    >>> sum(p.numel() for p in ResNet(features=64, width=8).parameters())
    77466
    """

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        width: int = 16,
        blocks: tuple[int, ...] = (1, 1, 1, 1),
        norm: Literal["batch", "clip", "none"] = "batch",
        pooling: Literal["mean", "statistics", "attention"] = "statistics",
    ):
        super().__init__()
        del features  # the network takes any number of bands
        self.stem = ConvNorm(1, width, stride=2, norm=norm)
        self.act = nn.ReLU()
        stages: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                outputs = width * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(_Block(channels, outputs, stride, norm))
                channels = outputs
        self.stages = nn.ModuleList(stages)
        self.pooling = Pooling(pooling, channels)
        self.dim = self.pooling.dim
        self.head = nn.Linear(self.dim, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Frames to pooled activations of the last stage."""
        values, length = self.stem(frames.values[:, None], frames.length)
        values = self.act(values)
        for block in self.stages:
            values, length = block(values, length)
        return self.pooling(values.mean(2), length)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, norm: str):
        super().__init__()
        self.first = ConvNorm(inputs, outputs, stride=stride, norm=norm)
        self.second = ConvNorm(outputs, outputs, norm=norm)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else ConvNorm(inputs, outputs, kernel=1, stride=stride, norm=norm)
        self.act = nn.ReLU()

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        inner, halved = self.first(values, length)
        inner, _ = self.second(self.act(inner), halved)
        direct = values if self.shortcut is None else self.shortcut(values, length)[0]
        return self.act(inner + direct), halved
