"""Cross-entropy of the class logits."""

import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.errors import SettingsError
from earwitness.losses.base import Loss, Weights, weigh

__all__ = ["CrossEntropy", "cross_entropy", "plain_cross_entropy"]


class CrossEntropy(Loss):
    """Cross-entropy, with weights of the classes.

    Args:
        weights: ``batch``, ``none``, or one a class: (0.9, 0.1) is the field's usual pair for bonafide
            and spoof where spoofs are nine in ten.
        smoothing: of the labels, 0 to 1.

    >>> import torch
    >>> batch = Batch(torch.zeros(2, 1), torch.ones(2), torch.tensor([0, 1]), ("a", "b"))
    >>> CrossEntropy()(Output(torch.zeros(2, 2), torch.zeros(2, 1)), batch)
    tensor(0.6931)

    Raises:
        SettingsError: smoothing outside 0 to 1.
    """

    def __init__(self, *, weights: Weights = "batch", smoothing: float = 0.0):
        if not 0 <= smoothing < 1:
            raise SettingsError(
                f"loss 'cross_entropy': smoothing is {smoothing}, expected 0 to below 1."
            )
        self.weights, self.smoothing = weights, smoothing

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        """The weighted mean over the batch."""
        per_clip = F.cross_entropy(
            output.logits, batch.label, reduction="none", label_smoothing=self.smoothing
        )
        return weigh(per_clip, batch, output.logits.shape[1], self.weights)


def cross_entropy(output: Output, batch: Batch) -> Tensor:
    """Mean cross-entropy of the class logits, with the classes given equal weight in the batch.

    Equal weight keeps the score's zero near the balanced decision whatever the mix of a task is.
    """
    per_clip = F.cross_entropy(output.logits, batch.label, reduction="none")
    return weigh(per_clip, batch, output.logits.shape[1], "batch")


def plain_cross_entropy(output: Output, batch: Batch) -> Tensor:
    """Mean cross-entropy of the class logits over the clips of the batch."""
    return F.cross_entropy(output.logits, batch.label)
