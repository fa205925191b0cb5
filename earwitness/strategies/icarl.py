"""Learn to name old clips as before, and decide by the nearest mean of exemplars.

iCaRL: Rebuffi, Kolesnikov, Sperl, Lampert, "iCaRL: incremental classifier and representation
learning", CVPR 2017. Each class has a sigmoid of its own; L is the sum over classes of its binary
cross-entropy, with the label as target for new classes and the old model's sigmoid for old ones
(algorithm 3). Exemplars are herded (algorithm 4): with f the unit embeddings of a class and mu their
mean, p_k = argmin over clips x || mu - (f(x) + sum over j < k of f(p_j)) / k ||.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules.base import Rule
from earwitness.strategies.base import Learning, Storage, quiet
from earwitness.strategies.memory import Balanced, Memory
from earwitness.strategies.rehearsal import Rehearsal, prototypes_rule
from earwitness.strategies.teacher import Teacher
from earwitness.streams import Task

__all__ = ["ICaRL", "herd"]


class ICaRL(Rehearsal):
    """Distillation of old classes, herded exemplars in every batch, nearest mean of exemplars.

    The budget is shared by the classes of each task. A class's mean is the mean over tasks of the
    means of its exemplars, each brought to unit length.

    Where tasks bring known classes from another domain, the original would have the old model say
    what a new clip is. In our form such clips have their label as target for all classes, and only
    the memory's clips are distilled; on new classes it is the original.

    Args:
        budget: exemplars in all. ``share``: of them for each clip of the batch.

    >>> ICaRL(budget=100).rule() is None
    True
    """

    source = "Rebuffi et al., CVPR 2017"
    keeps = "herded clips, as audio, and a copy of the weights"

    def __init__(self, *, budget: int = 200, share: float = 1.0):
        super().__init__(Balanced(Memory(budget), "first"), share)
        if not budget:
            raise SettingsError("budget is 0, expected >= 1: exemplars decide.")
        self.teacher = Teacher()
        self._means: dict[int, Tensor] = {}  # of the classes seen so far, of unit length
        self._classes = 0

    def objective(self, learning: Learning, batch: Batch, output: Output) -> Tensor:
        """Mean over clips of the sum over classes of binary cross-entropies."""
        target = F.one_hot(batch.label, output.logits.shape[1]).to(output.logits.dtype)
        if self.teacher:
            old = list(self._means)
            asked = torch.zeros_like(target, dtype=torch.bool)
            asked[:, old] = self.distilled(batch.label, old)[:, None]
            target = torch.where(asked, self.teacher.output(batch).logits.sigmoid(), target)
        each = F.binary_cross_entropy_with_logits(output.logits, target, reduction="none")
        return each.sum(1).mean()

    def end_task(self, learning: Learning, task: Task) -> None:
        """Herd the task's exemplars, take the means of all, and be the next task's teacher."""
        for exemplar in self._herded(learning):
            group = f"{task.name}/{int(exemplar.label)}"
            self.policy.offer(exemplar, [group], learning.generator)
        self._means = self._means_of_exemplars(learning.detector)
        self._classes = len(learning.detector.classes)
        self.teacher.take(learning.detector)

    def _herded(self, learning: Learning) -> list[Batch]:
        """The task's exemplars, one by one, class by class, the most telling first."""
        passed = [(_unit(learning.detector, b), b.label.cpu()) for b in learning.data()]
        unit, label = (torch.cat(parts) for parts in zip(*passed, strict=True))
        classes = label.unique().tolist()
        quota = max(1, (self.memory.budget or 0) // (len(self.policy.seen) + len(classes)))
        wanted: list[int] = []
        for one in classes:
            mine = (label == one).nonzero()[:, 0]
            wanted += mine[herd(unit[mine], quota)].tolist()
        return self.clips_of(learning, wanted)

    def _means_of_exemplars(self, detector: Detector) -> dict[int, Tensor]:
        unit = torch.cat([_unit(detector, b.to(detector.device)) for b in self.memory.batches(64)])
        label = self.memory.column("label")
        means: dict[int, list[Tensor]] = {}
        for places in map(self.memory.of, self.memory.groups):
            mean = F.normalize(unit[places].mean(0), dim=0)
            means.setdefault(int(label[places[0]]), []).append(mean)
        merged = {one: torch.stack(of).mean(0) for one, of in sorted(means.items())}
        return {one: F.normalize(mean, dim=0).float() for one, mean in merged.items()}

    def rule(self) -> Rule | None:
        """The nearest mean of exemplars."""
        return prototypes_rule(self._means, self._classes)

    def state(self) -> dict[str, Any]:
        """The exemplars, the teacher and the means."""
        own = {"teacher": self.teacher.state(), "means": self._means, "classes": self._classes}
        return super().state() | own

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        super().load(state, detector)
        self.teacher.load(state["teacher"], detector)
        self._means, self._classes = dict(state["means"]), state["classes"]

    def storage(self) -> Storage:
        """The exemplars, as audio, their means and the teacher."""
        clips = super().storage()
        means = sum(mean.numel() * mean.element_size() for mean in self._means.values())
        return Storage(clips.bytes + means + self.teacher.bytes, clips.clips, keeps_audio=True)


def herd(unit: Tensor, count: int) -> list[int]:
    """Rows of ``unit`` (clips, dim) whose running mean stays nearest to the mean of all, in order.

    Argmin over clips not taken yet of || mu - (f(x) + sum) / k ||, which is || (k mu - sum) - f(x) ||
    but for the factor; the first of equals.

    >>> herd(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), 3)
    [2, 1, 3]
    """
    mean, total = unit.mean(0), torch.zeros_like(unit[0])
    taken: list[int] = []
    for k in range(1, min(count, len(unit)) + 1):
        distance = (k * mean - total - unit).square().sum(1)
        distance[taken] = torch.inf
        taken.append(int(distance.argmin()))
        total = total + unit[taken[-1]]
    return taken


def _unit(detector: Detector, batch: Batch) -> Tensor:
    """Embeddings (batch, dim) of unit length, in evaluation mode, in float64 on the CPU."""
    with quiet(detector):
        embedding = detector.hear(batch).embedding
    return F.normalize(embedding.double().cpu(), dim=1)
