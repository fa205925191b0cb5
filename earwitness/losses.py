"""Criteria: what a detector is trained to make small on its own data."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch

__all__ = ["CRITERIA", "Criterion", "cross_entropy", "plain_cross_entropy"]

Criterion = Callable[[Output, Batch], Tensor]


def cross_entropy(output: Output, batch: Batch) -> Tensor:
    """Mean cross-entropy of the class logits, with the classes given equal weight in the batch.

    Equal weight keeps the score's zero near the balanced decision whatever the mix of a task is.
    """
    per_clip = F.cross_entropy(output.logits, batch.label, reduction="none")
    counts = batch.label.bincount(minlength=output.logits.shape[1]).to(per_clip.dtype)
    present = (counts > 0).sum()
    return (per_clip / counts[batch.label]).sum() / present


def plain_cross_entropy(output: Output, batch: Batch) -> Tensor:
    """Mean cross-entropy of the class logits over the clips of the batch."""
    return F.cross_entropy(output.logits, batch.label)


CRITERIA = {"classes": cross_entropy, "none": plain_cross_entropy}
