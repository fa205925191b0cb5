"""Last layers: linear, cosines, or one cosine; all have the weight of a linear layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.errors import SettingsError, nearest

__all__ = ["HEADS", "CosineHead", "OneClassHead", "head_kind", "make_head"]

HEADS = ("linear", "cosine", "one-class")


class CosineHead(nn.Linear):
    """Logits are cosines between the embedding and a direction for each class.

    >>> CosineHead(4, 2)(torch.ones(1, 4)).abs().max() <= 1
    tensor(True)
    """

    kind = "cosine"

    def __init__(self, dim: int, classes: int):
        super().__init__(dim, classes, bias=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """(batch, dim) to (batch, classes)."""
        return F.linear(F.normalize(embedding, dim=1), F.normalize(self.weight, dim=1))


class OneClassHead(nn.Linear):
    """The first logit is the cosine to the direction of bonafide speech, the second is 0.

    >>> OneClassHead(4, 2)(torch.ones(1, 4))[0, 1]
    tensor(0., grad_fn=<SelectBackward0>)
    """

    kind = "one-class"

    def __init__(self, dim: int, classes: int):
        if classes != 2:
            raise SettingsError(
                f"a one-class head tells bonafide from the rest, not {classes} classes."
            )
        super().__init__(dim, 1, bias=False)
        self.out_features = 2  # logits, as every head says

    def forward(self, embedding: Tensor) -> Tensor:
        """(batch, dim) to (batch, 2)."""
        cosine = F.linear(F.normalize(embedding, dim=1), F.normalize(self.weight, dim=1))
        return torch.cat([cosine, torch.zeros_like(cosine)], 1)


def make_head(kind: str, dim: int, classes: int) -> nn.Linear:
    """A last layer of a kind.

    Raises:
        SettingsError: no such kind.
    """
    if kind not in HEADS:
        raise SettingsError(
            f"no head is called {kind!r}{nearest(kind, HEADS)} Known: {', '.join(HEADS)}."
        )
    if kind == "linear":
        return nn.Linear(dim, classes)
    return CosineHead(dim, classes) if kind == "cosine" else OneClassHead(dim, classes)


def head_kind(head: nn.Module) -> str:
    """What kind a last layer is.

    >>> head_kind(nn.Linear(2, 2))
    'linear'
    """
    return str(getattr(head, "kind", "linear"))
