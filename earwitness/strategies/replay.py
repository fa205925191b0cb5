"""Rehearsal: some clips of the past in every batch.

Sources: reservoir sampling, Vitter, "Random Sampling with a Reservoir" (1985), Algorithm R;
experience replay, Chaudhry et al., "On Tiny Episodic Memories in Continual Learning" (2019).
"""

from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.batches import Batch, join_batches
from earwitness.detector import Detector
from earwitness.errors import RunError, SettingsError
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.streams import Task

__all__ = ["Replay"]


class Replay(Strategy):
    """Keeps ``budget`` clips of earlier tasks and adds some to each batch.

    The memory is filled from one pass over a task's clips after the task, so that epochs don't
    count twice. It keeps the audio itself: where recordings must be deleted, use another strategy.

    Args:
        budget: clips kept in all.
        share: replayed clips for each clip of the batch; 0 is the same as ``naive``.
        balance: ``none`` keeps a uniform sample of everything seen (reservoir); ``class`` the same
            number of each class; ``class-task`` the same number of each class of each task.
    """

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        balance: Literal["none", "class", "class-task"] = "class-task",
    ):
        if budget < 0 or share < 0:
            raise SettingsError(f"expected budget >= 0 and share >= 0, not {budget} and {share}.")
        self.budget = budget
        self.share = share
        self.balance = balance
        self._seen: dict[str, int] = {}  # group -> clips offered so far
        self._wave: list[Tensor] = []
        self._label: list[int] = []
        self._id: list[str] = []
        self._group: list[str] = []

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """The batch with ``share`` times as many clips drawn from the memory, without repeats."""
        wanted = min(round(self.share * len(batch)), len(self._wave))
        if not wanted:
            return batch
        drawn = torch.randperm(len(self._wave), generator=learning.generator)[:wanted].tolist()
        waves = torch.stack([self._wave[i] for i in drawn])
        memory = Batch(
            waves,
            torch.full((wanted,), waves.shape[1], dtype=torch.long),
            torch.tensor([self._label[i] for i in drawn]),
            tuple(self._id[i] for i in drawn),
        )
        return join_batches(batch, memory.to(batch.wave.device))

    def end_task(self, learning: Learning, task: Task) -> None:
        """Offer every clip of the task to the memory once."""
        for batch in learning.data():
            for row in range(len(batch)):
                self._offer(batch, row, task.name, learning.generator)

    def _offer(self, batch: Batch, row: int, task: str, generator: torch.Generator) -> None:
        label = int(batch.label[row])
        group = {"none": "all", "class": str(label), "class-task": f"{task}/{label}"}[self.balance]
        self._seen[group] = self._seen.get(group, 0) + 1
        if self.budget and len(self._seen) > self.budget:
            raise RunError(
                f"a replay budget of {self.budget} clip(s) can't hold one of each of "
                f"{len(self._seen)} groups; raise budget, or balance='none'."
            )
        clip = (batch.wave[row].cpu().clone(), label, batch.ids[row], group)
        self._shrink()
        mine = [i for i, g in enumerate(self._group) if g == group]
        if len(mine) < self._quota():
            if len(self._wave) < self.budget:
                self._put(len(self._wave), clip)
            return
        # Algorithm R within the group: the n-th clip replaces a kept one with probability kept / n.
        place = int(torch.randint(self._seen[group], (1,), generator=generator))
        if place < len(mine):
            self._put(mine[place], clip)

    def _quota(self) -> int:
        return self.budget // len(self._seen)

    def _shrink(self) -> None:
        """Make room when a new group has lowered the quota: drop the latest of crowded groups."""
        quota = self._quota()
        for group in self._seen:
            mine = [i for i, g in enumerate(self._group) if g == group]
            for i in reversed(mine[quota:]):
                for kept in self._columns():
                    del kept[i]

    def _columns(self) -> tuple[list[Any], ...]:
        return self._wave, self._label, self._id, self._group

    def _put(self, place: int, clip: tuple[Tensor, int, str, str]) -> None:
        for kept, value in zip(self._columns(), clip, strict=True):
            kept[place : place + 1] = [value]

    def state(self) -> dict[str, Any]:
        """The memory and its counts."""
        return {
            "seen": self._seen,
            "wave": torch.stack(self._wave) if self._wave else None,
            "label": self._label,
            "id": self._id,
            "group": self._group,
        }

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved memory."""
        self._seen = dict(state["seen"])
        self._wave = list(state["wave"]) if state["wave"] is not None else []
        self._label, self._id, self._group = state["label"], state["id"], state["group"]

    def storage(self) -> Storage:
        """The clips kept, as audio."""
        size = sum(w.numel() * w.element_size() for w in self._wave)
        return Storage(bytes=size, clips=len(self._wave), keeps_audio=True)
