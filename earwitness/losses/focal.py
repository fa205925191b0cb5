"""Focal loss: clips that are judged right already weigh less."""

import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.errors import SettingsError
from earwitness.losses.base import Loss, Weights, weigh

__all__ = ["Focal"]


class Focal(Loss):
    """``-(1 - p)^gamma log p`` of the probability p of the right class (Lin et al., ICCV 2017, eq. 4).

    Args:
        gamma: 0 is cross-entropy.
        weights: as for every loss.

    >>> import torch
    >>> batch = Batch(torch.zeros(2, 1), torch.ones(2), torch.tensor([0, 1]), ("a", "b"))
    >>> Focal(gamma=2)(Output(torch.zeros(2, 2), torch.zeros(2, 1)), batch)
    tensor(0.1733)

    Raises:
        SettingsError: gamma below 0.
    """

    def __init__(self, *, gamma: float = 2.0, weights: Weights = "batch"):
        if gamma < 0:
            raise SettingsError(f"loss 'focal': gamma is {gamma}, expected 0 or more.")
        self.gamma, self.weights = gamma, weights

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        """The weighted mean over the batch."""
        each = F.cross_entropy(output.logits, batch.label, reduction="none")
        # 1 - p from the loss itself; a floor, as the slope of a power below 1 is infinite at 0.
        wrong = (-(-each).expm1()).clamp_min(1e-7)
        return weigh(wrong**self.gamma * each, batch, output.logits.shape[1], self.weights)
