"""Rehearsal of chosen clips: which of a task's clips are kept is said by a selection rule."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.batches import Batch
from earwitness.errors import SettingsError
from earwitness.selection import SELECTORS, select
from earwitness.strategies.base import Learning, quiet
from earwitness.strategies.memory import Balanced, Memory
from earwitness.strategies.rehearsal import Rehearsal
from earwitness.streams import Task

__all__ = ["SelectedReplay"]


class SelectedReplay(Rehearsal):
    """As ``replay``, with clips chosen by the embeddings that the detector has of them after a task.

    Every class of every task has an equal part of the budget, as far as its clips go. A rule ranks its
    choice; where new tasks lower a class's part, the last ranks go. What stays is what the rule would
    have chosen at once, but for ``margin`` (the most doubtful stay) and ``kmeans-nearest`` (clusters of
    uneven size). ``rule = "random"`` is a reservoir.

    Args:
        budget, share: as of ``replay``.
        rule: a name of the shelf `selection`, or a table with its settings.
        gate: choose only among clips that the detector gets right, where every class has some.

    >>> SelectedReplay(rule="herding").storage().keeps_audio
    True
    """

    source = "rules: see `earwitness list selection`; replay: Chaudhry et al., 2019"

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        rule: str | Mapping[str, Any] = "per-generator-cap",
        gate: bool = False,
    ):
        super().__init__(Balanced(Memory(budget), "first"), share)
        settings = {"name": rule} if isinstance(rule, str) else dict(rule)
        if "name" not in settings:
            raise SettingsError(f"rule is {settings}, expected a table with a name.")
        self.rule_, self.gate = SELECTORS.build(**settings), gate

    def end_task(self, learning: Learning, task: Task) -> None:
        """Rank the task's clips, and offer each class's best in their order."""
        if not self.memory.budget:
            return
        for clip in self.clips_of(learning, self._ranked(learning, task)):
            group = f"{task.name}/{int(clip.label)}"
            self.policy.offer(clip, [group], learning.generator)

    def _ranked(self, learning: Learning, task: Task) -> list[int]:
        """Places of the chosen clips in the order of ``learning.data``, class by class, best first."""
        embeddings, label, margins, ids = _heard(learning)
        classes = learning.detector.classes
        made_by = {trial.id: trial.attack for trial in task.train}
        present = np.unique(label)
        quota = max(1, (self.memory.budget or 0) // (len(self.policy.seen) + len(present)))
        seed = int(torch.randint(2**31, (1,), generator=learning.generator))
        ranked: list[int] = []
        for n in present:  # class by class: a small one must not shrink the others
            own = np.flatnonzero(label == n)
            chosen = select(
                embeddings[own],
                [classes[n]] * len(own),
                [ids[place] for place in own],
                generators=[made_by.get(ids[place], "-") for place in own],
                margins=margins[own],
                rule=self.rule_,
                count=min(quota, len(own)),
                gate=self.gate and bool((margins[own] > 0).any()),
                seed=seed,
            )
            # Rank by rank over clusters: a lower quota then takes from all of them alike.
            order = np.lexsort((chosen.cluster, chosen.rank))
            ranked += [int(own[place]) for place in chosen.places[order]]
        return ranked


def _heard(
    learning: Learning,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], list[str]]:
    """The task's clips in the order of ``learning.data``: embeddings, labels, margins, ids."""
    rows, labels, margins = [], [], []
    ids: list[str] = []
    with quiet(learning.detector):
        for batch in learning.data():
            output = learning.detector.hear(batch)
            rows.append(output.embedding.cpu().double().numpy())
            labels.append(batch.label.cpu().numpy())
            margins.append(_margins(output.logits, batch).cpu().double().numpy())
            ids += batch.ids
    return np.concatenate(rows), np.concatenate(labels), np.concatenate(margins), ids


def _margins(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The own class's logit less the largest other one."""
    own = logits.gather(1, batch.label[:, None])
    others = logits.scatter(1, batch.label[:, None], float("-inf"))
    return own[:, 0] - others.max(1).values
