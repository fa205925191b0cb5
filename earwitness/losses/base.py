"""What every loss is: outputs of a batch and its labels to one number."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.errors import SettingsError

__all__ = ["Criterion", "Loss", "Weights", "weigh"]

Criterion = Callable[[Output, Batch], Tensor]
Weights = Literal["batch", "none"] | tuple[float, ...]


class Loss(ABC):
    """Base of losses; ``head`` is the kind of last layer that it is made for.

    ``weights``: ``batch`` gives the classes of a batch equal weight, ``none`` its clips; numbers, one a
    class in the classes' order, weigh its clips.
    """

    head: ClassVar[str] = "linear"
    built_from: dict[str, Any]

    @abstractmethod
    def __call__(self, output: Output, batch: Batch) -> Tensor:
        """A scalar."""

    def check_head(self, kind: str) -> None:
        """Raise where the detector's last layer is of another kind."""
        if kind != self.head:
            name = type(self).__name__
            raise SettingsError(
                f"the loss {name} is made for a {self.head} head, and the detector has a {kind} one; "
                f"set head = {self.head!r} in the back end."
            )


def weigh(per_clip: Tensor, batch: Batch, classes: int, weights: Weights) -> Tensor:
    """The mean over clips under the weights of their classes.

    Of parts of a batch they are such that their own mean, weighed by clips, is that of the whole.

    >>> batch = Batch(torch.zeros(3, 1), torch.ones(3), torch.tensor([0, 0, 1]), ("a", "b", "c"))
    >>> weigh(torch.tensor([1.0, 1.0, 4.0]), batch, 2, "batch")
    tensor(2.5000)
    >>> weigh(torch.tensor([1.0, 1.0, 4.0]), batch, 2, (0.9, 0.1))
    tensor(1.1579)

    Raises:
        SettingsError: not one weight a class.
    """
    if weights == "none":
        return per_clip.mean()
    whole = batch.label if batch.whole is None else batch.whole
    parts = len(whole) / len(per_clip)
    if weights == "batch":
        counts = whole.bincount(minlength=classes).to(per_clip.dtype)
        return (per_clip / counts[batch.label]).sum() / (counts > 0).sum() * parts
    if len(weights) != classes or min(weights) <= 0:
        raise SettingsError(f"weights are {list(weights)}; expected one above 0 for each of {classes}.")
    each = torch.tensor(weights, dtype=per_clip.dtype, device=per_clip.device)
    return (per_clip * each[batch.label]).sum() / each[whole].sum() * parts
