"""Binary cross-entropy of each logit by itself."""

import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.losses.base import Loss, Weights, weigh

__all__ = ["BinaryCrossEntropy"]


class BinaryCrossEntropy(Loss):
    """Each class against the rest: the mean over classes of their logits' binary cross-entropies.

    >>> import torch
    >>> batch = Batch(torch.zeros(2, 1), torch.ones(2), torch.tensor([0, 1]), ("a", "b"))
    >>> BinaryCrossEntropy()(Output(torch.zeros(2, 2), torch.zeros(2, 1)), batch)
    tensor(0.6931)
    """

    def __init__(self, *, weights: Weights = "batch"):
        self.weights = weights

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        """The weighted mean over the batch."""
        wanted = F.one_hot(batch.label, output.logits.shape[1]).to(output.logits.dtype)
        each = F.binary_cross_entropy_with_logits(output.logits, wanted, reduction="none").mean(1)
        return weigh(each, batch, output.logits.shape[1], self.weights)
