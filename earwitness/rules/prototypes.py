"""The class of the nearest prototype in the space of unit-length embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.rules.base import UNKNOWN, Rule

__all__ = ["Prototypes"]


class Prototypes(Rule):
    """A class's logit is minus half the squared distance to its nearest prototype.

    Nearest-mean-of-exemplars classification (Rebuffi et al., "iCaRL", CVPR 2017); for prototypes of
    unit length it is the cosine less one (De Lange & Tuytelaars, "Continual prototype evolution",
    ICCV 2021).

    Args:
        classes: number of classes. ``dim``: size of embeddings. ``count``: prototypes in all.

    ``points`` (count, dim) and ``owner`` (count,), the class of each, are set by who builds it.

    >>> rule = Prototypes(classes=2, dim=3, count=2)
    >>> rule.points.shape, rule.owner.tolist()
    (torch.Size([2, 3]), [0, 0])
    """

    points: Tensor
    owner: Tensor

    def __init__(self, *, classes: int, dim: int, count: int):
        super().__init__()
        self.classes = classes
        self.register_buffer("points", torch.zeros(count, dim))
        self.register_buffer("owner", torch.zeros(count, dtype=torch.long))

    def forward(self, detector: nn.Module, wave: Tensor, length: Tensor | None) -> Output:
        """Distances in place of logits; classes without a prototype are unknown."""
        embedding = detector(wave, length).embedding
        unit = F.normalize(embedding, dim=1)
        nearness = -0.5 * (unit[:, None] - self.points).square().sum(2)
        logits = nearness.new_full((len(unit), self.classes), UNKNOWN)
        logits = logits.scatter_reduce(1, self.owner.expand(len(unit), -1), nearness, "amax")
        return Output(logits, embedding)
