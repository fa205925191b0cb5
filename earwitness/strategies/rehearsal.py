"""What the rehearsal strategies share: a memory, and clips of it in every batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from earwitness.batches import Batch, join_batches
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules import RULES
from earwitness.rules.base import Rule
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.strategies.flat import rows_of
from earwitness.strategies.memory import Balance, Policy, groups_of
from earwitness.streams import Task

__all__ = ["Rehearsal", "prototypes_rule"]


class Rehearsal(Strategy):
    """Base of strategies with a memory of clips. It keeps the audio itself.

    Args:
        policy: says which clips its memory keeps.
        share: clips of the memory for each clip of a batch.
    """

    keeps = "clips, as audio"

    def __init__(self, policy: Policy, share: float = 1.0):
        budget = policy.memory.budget
        if budget is None or budget < 0 or share < 0:
            raise SettingsError(f"expected budget >= 0 and share >= 0, not {budget} and {share}.")
        self.policy, self.memory, self.share = policy, policy.memory, share
        self.own = 0  # of the step's batch, the clips that are not the memory's; they come first

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """The batch with ``share`` times as many clips drawn from the memory, without repeats."""
        self.own = len(batch)
        drawn = self.draw(learning, batch)
        return batch if drawn is None else join_batches(batch, drawn)

    def draw(self, learning: Learning, batch: Batch) -> Batch | None:
        """``share`` times as many clips of the memory as the batch has, or None."""
        wanted = min(round(self.share * len(batch)), len(self.memory))
        if not wanted:
            return None
        return self.memory.batch(self.memory.draw(wanted, learning.generator)).to(batch.wave.device)

    def distilled(self, label: Tensor, old: list[int]) -> Tensor:
        """Of which clips of the step's batch an old model is asked: (batch,) of bool.

        Of all but the task's own clips of classes that it knew from another domain: of these it would
        say what they are not.
        """
        asked = ~torch.isin(label, torch.tensor(old, device=label.device))
        asked[self.own :] = True
        return asked

    def offer_task(self, learning: Learning, task: Task, balance: Balance) -> None:
        """Offer every clip of the task to the memory once."""
        for batch in learning.data():
            self.policy.offer(batch, groups_of(batch, task.name, balance), learning.generator)

    def clips_of(self, learning: Learning, wanted: list[int]) -> list[Batch]:
        """Clips of the task one by one, by their places in the order of ``learning.data``."""
        found: dict[int, Batch] = {}
        start = 0
        for batch in learning.data():  # the same clips in the same order
            here = [place for place in wanted if start <= place < start + len(batch)]
            found |= {place: rows_of(batch, torch.tensor([place - start])) for place in here}
            start += len(batch)
        return [found[place] for place in wanted]

    def state(self) -> dict[str, Any]:
        """The memory and what its policy has counted."""
        return {"memory": self.memory.state(), "seen": dict(self.policy.seen)}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved memory."""
        self.memory.load(state["memory"])
        self.policy.seen = dict(state["seen"])

    def storage(self) -> Storage:
        """The clips kept, as audio."""
        return Storage(bytes=self.memory.bytes, clips=len(self.memory), keeps_audio=True)


def prototypes_rule(prototypes: Mapping[int, Tensor], classes: int) -> Rule | None:
    """To decide by the nearest prototype (dim,), one a class; None where there is none.

    >>> prototypes_rule({1: torch.ones(3)}, 2).owner
    tensor([1])
    """
    if not prototypes:
        return None
    points = torch.stack(list(prototypes.values()))
    rule = RULES.build("prototypes", classes=classes, dim=points.shape[1], count=len(points))
    rule.points.copy_(points)
    rule.owner.copy_(torch.tensor(list(prototypes)))
    return rule
