"""From frames to one vector a clip, over the clip's own frames only."""

import torch
from torch import Tensor, nn

from earwitness.frontends.base import masked_mean, time_mask

__all__ = ["Pooling"]


class Pooling(nn.Module):
    """Mean, mean and deviation (``statistics``), or attention over frames.

    Attention is one linear map to a weight a frame, softmax over the clip's frames; its weight is a
    layer that continual-learning strategies can protect. Output size: ``dim``.

    >>> Pooling("statistics", 8)(torch.randn(2, 8, 5), torch.tensor([5, 3])).shape
    torch.Size([2, 16])
    """

    def __init__(self, how: str, features: int):
        super().__init__()
        self.how = how
        self.dim = features * (2 if how == "statistics" else 1)
        if how == "attention":
            self.attention = nn.Linear(features, 1, bias=False)

    def forward(self, values: Tensor, length: Tensor) -> Tensor:
        """(batch, feature, frame) with zeros after ``length`` to (batch, dim)."""
        if self.how == "attention":
            return self._attend(values, length)
        mean = masked_mean(values, length)
        if self.how == "mean":
            return mean
        # A floor under the root: its slope at zero is infinite, and one-frame clips are constant.
        inside = time_mask(length, values.shape[-1])[:, None]
        centred = (values - mean[..., None]) * inside
        deviation = (masked_mean(centred.square(), length) + 1e-6).sqrt()
        return torch.cat([mean, deviation], 1)

    def _attend(self, values: Tensor, length: Tensor) -> Tensor:
        weight = self.attention(values.transpose(1, 2)).squeeze(-1)
        inside = time_mask(length, values.shape[-1])
        weight = weight.masked_fill(~inside, float("-inf")).softmax(-1)
        return (values * weight[:, None]).sum(-1)
