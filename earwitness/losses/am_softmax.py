"""Additive-margin softmax: the right class must win by a margin of cosine."""

import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.errors import SettingsError
from earwitness.losses.base import Loss, Weights, weigh

__all__ = ["AMSoftmax"]


class AMSoftmax(Loss):
    """Cross-entropy of ``scale * (cos - margin)`` for the right class and ``scale * cos`` for others.

    Wang et al., "Additive margin softmax for face verification" (2018), eq. 6. The detector needs a
    ``cosine`` head, whose logits are the cosines; its score is their difference, -2 to 2.

    >>> import torch
    >>> batch = Batch(torch.zeros(1, 1), torch.ones(1), torch.tensor([0]), ("a",))
    >>> loss = AMSoftmax(scale=20, margin=0.9, weights="none")
    >>> loss(Output(torch.tensor([[0.9, -0.9]]), torch.zeros(1, 1)), batch).round(decimals=6)
    tensor(0.)

    Raises:
        SettingsError: scale not above 0, or a negative margin.
    """

    head = "cosine"

    def __init__(self, *, scale: float = 20.0, margin: float = 0.9, weights: Weights = "batch"):
        if scale <= 0 or margin < 0:
            raise SettingsError(
                f"loss 'am_softmax': scale {scale}, margin {margin}; expected above 0, and 0 or more."
            )
        self.scale, self.margin, self.weights = scale, margin, weights

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        """The weighted mean over the batch."""
        right = F.one_hot(batch.label, output.logits.shape[1]).to(output.logits.dtype)
        logits = self.scale * (output.logits - self.margin * right)
        each = F.cross_entropy(logits, batch.label, reduction="none")
        return weigh(each, batch, output.logits.shape[1], self.weights)
