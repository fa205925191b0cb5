"""Prototypes that move with the embeddings, and a loss that holds the embeddings to them.

CoPE: De Lange, Tuytelaars, "Continual prototype evolution: learning online from non-stationary data
streams", ICCV 2021. With embeddings f of unit length, a batch B and its clips B_c of class c,

    P(c | x, a) = exp(f a / tau) / (exp(f a / tau) + sum over k != c of exp(f p_k / tau))
    L = - 1/|B| sum over c, i in B_c of ( log E_a P(c | x_i, a)
                                          + sum over j not in B_c of log(1 - E_a P(c | x_j, a)) )

where a is p_c or another clip of B_c in the first mean E_a, and p_c or f_i in the second. Clips that
stand in for prototypes get no gradient for it.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules.base import Rule
from earwitness.strategies.base import Learning, Storage
from earwitness.strategies.flat import rows_of
from earwitness.strategies.memory import Balance, Balanced, Memory, groups_of
from earwitness.strategies.rehearsal import Rehearsal, prototypes_rule
from earwitness.streams import Task

__all__ = ["CoPE", "pseudo_prototypical_loss"]


class CoPE(Rehearsal):
    """Continual prototype evolution: one prototype a class, and it decides.

    The head is not trained, so the detector's own logits mean nothing. A class's first prototype is
    the mean of its first batch. Each batch of a task's first epoch is offered to the memory. The loss
    grows with the batch (the authors' are of 10 clips and 10 of the memory): in larger ones a bound on
    the gradient, ``clip_norm``, keeps it from blowing up.

    Args:
        budget: clips kept in all. ``share``: remembered clips for each clip of the batch.
        momentum: of the prototypes, from batch to batch; they are brought back to unit length.
        temperature: tau.
        balance: as of ``Replay``; the authors' is ``class``.

    >>> CoPE(budget=100).momentum
    0.99
    """

    source = "De Lange and Tuytelaars, ICCV 2021"
    keeps = "clips, as audio, and one prototype a class"

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        momentum: float = 0.99,
        temperature: float = 0.1,
        balance: Balance = "class",
    ):
        super().__init__(Balanced(Memory(budget), ordered=balance == "class"), share)
        if not (0 <= momentum < 1 and temperature > 0):
            raise SettingsError(
                f"expected 0 <= momentum < 1 and temperature > 0, not {momentum} and {temperature}."
            )
        self.momentum, self.temperature, self.balance = momentum, temperature, balance
        self._prototypes: dict[int, Tensor] = {}
        self._classes, self._task = 0, ""

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Note the task's name and the number of classes."""
        self._task, self._classes = task.name, len(learning.detector.classes)

    def objective(self, learning: Learning, batch: Batch, output: Output) -> Tensor:
        """The pseudo-prototypical loss; classes that are new have a prototype from here on."""
        unit = F.normalize(output.embedding, dim=1)
        for one, mean in _class_means(unit.detach(), batch.label).items():
            self._prototypes.setdefault(one, F.normalize(mean, dim=0))
        return pseudo_prototypical_loss(unit, batch.label, self._prototypes, self.temperature)

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Move the prototypes; offer the step's own clips to the memory."""
        unit = F.normalize(output.embedding.detach(), dim=1)
        for one, mean in _class_means(unit, batch.label).items():
            moved = self.momentum * self._prototypes[one] + (1 - self.momentum) * mean
            self._prototypes[one] = F.normalize(moved, dim=0)
        if learning.epoch == 0:
            own = rows_of(batch, torch.arange(self.own))
            self.policy.offer(own, groups_of(own, self._task, self.balance), learning.generator)

    def rule(self) -> Rule | None:
        """The nearest prototype."""
        return prototypes_rule(dict(sorted(self._prototypes.items())), self._classes)

    def state(self) -> dict[str, Any]:
        """The memory and the prototypes."""
        own = {"prototypes": dict(self._prototypes), "classes": self._classes}
        return super().state() | own

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        super().load(state, detector)
        saved = state["prototypes"].items()
        self._prototypes = {one: point.to(detector.device) for one, point in saved}
        self._classes = state["classes"]

    def storage(self) -> Storage:
        """The clips, as audio, and the prototypes."""
        clips = super().storage()
        size = sum(point.numel() * point.element_size() for point in self._prototypes.values())
        return Storage(clips.bytes + size, clips.clips, keeps_audio=True)


def _class_means(unit: Tensor, label: Tensor) -> dict[int, Tensor]:
    return {one: unit[label == one].mean(0) for one in label.unique().tolist()}


def pseudo_prototypical_loss(
    unit: Tensor, label: Tensor, prototypes: dict[int, Tensor], temperature: float
) -> Tensor:
    """The loss of a batch: ``unit`` (batch, dim) of unit length, ``label`` (batch,).

    ``prototypes`` are (dim,), of every class in the batch and perhaps others. All in logarithms, as
    1 - P is far below what a float can tell from 1. With one class alone the loss is 0.

    >>> unit = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = pseudo_prototypical_loss(unit, torch.tensor([0, 1]), {0: unit[0], 1: unit[1]}, 0.5)
    >>> round(loss.item(), 4)  # 2 log(1 + exp(-2))
    0.2539
    """
    if len(prototypes) == 1:
        return 0.0 * unit.sum()
    points, owner = torch.stack(list(prototypes.values())), list(prototypes)
    column = torch.tensor([owner.index(one) for one in label.tolist()], device=label.device)
    near = unit @ points.T / temperature  # (clips, prototypes)
    among = unit @ unit.detach().T / temperature  # (clips, clips that stand in for prototypes)
    itself = torch.eye(len(points), dtype=torch.bool, device=label.device)
    rivals = near[:, None].masked_fill(itself, -torch.inf).logsumexp(2)  # over k != c, for each c
    odds, own = among - rivals[:, column], (near - rivals)[:, column]  # P = sigmoid(odds), for a = f_i
    mates = (column[:, None] == column).fill_diagonal_(False)
    named = F.logsigmoid(odds).masked_fill(~mates, -torch.inf)
    named = torch.logaddexp(named.logsumexp(1), F.logsigmoid(own.diagonal()))
    attracted = (named - (1 + mates.sum(1).to(named.dtype)).log()).sum()
    spared = torch.logaddexp(F.logsigmoid(-odds), F.logsigmoid(-own)) - math.log(2)
    repelled = (spared * (column[:, None] != column)).sum()
    return -(attracted + repelled) / len(label)
