"""Logits corrected by a scale and a shift for each class."""

import torch
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.rules.base import UNKNOWN, Rule

__all__ = ["Affine"]


class Affine(Rule):
    """``scale * logits + shift``, as in bias correction (Wu et al., "Large scale incremental
    learning", CVPR 2019). New ones change nothing, and unknown classes stay unknown.

    Args:
        classes: number of classes.

    >>> Affine(classes=2).scale
    tensor([1., 1.])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, *, classes: int):
        super().__init__()
        self.register_buffer("scale", torch.ones(classes))
        self.register_buffer("shift", torch.zeros(classes))

    def forward(self, detector: nn.Module, wave: Tensor, length: Tensor | None) -> Output:
        """The detector's output with corrected logits."""
        output = detector(wave, length)
        corrected = output.logits * self.scale + self.shift
        return Output(corrected.masked_fill(output.logits == UNKNOWN, UNKNOWN), output.embedding)
