"""Distil, then correct the logits on clips that were not trained on.

BiC: Wu et al., "Large scale incremental learning", CVPR 2019. Stage 1 minimises
(1 - l) CE + l KD against the last model, its logits corrected by its own rule, with l the share of old
classes. Stage 2 fits alpha z + beta, for the logits z of new classes, to a balanced held-out set; old
classes keep theirs.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import RunError, SettingsError
from earwitness.rules import RULES
from earwitness.rules.base import Rule
from earwitness.strategies.base import Learning, Storage, quiet
from earwitness.strategies.flat import rows_of
from earwitness.strategies.memory import Balanced, Memory, groups_of
from earwitness.strategies.rehearsal import Rehearsal
from earwitness.strategies.teacher import Teacher, distillation
from earwitness.streams import Task
from earwitness.trials import Manifest

__all__ = ["BiC", "fit_affine", "set_apart"]


class BiC(Rehearsal):
    """Replay with distillation, and an affine correction after each task but the first.

    Of each class of a task a share of the clips, chosen by their ids, is never trained on; a part of
    the budget holds such clips, as many of each class of each task. Tasks count by their classes: l is
    the share of earlier tasks' (class, task) pairs, which is the share of old classes where each class
    comes once.

    Where a task brings new classes, these have one alpha and one beta, as in the paper. Where it brings
    known classes from another domain there is nothing to set off against the others; our form then
    calibrates all logits, with one alpha and a beta for each class, and of such a task only the
    memory's clips are distilled. In the authors' code a ridge holds beta to 0; here also alpha to 1,
    as it has no bound on clips without an error.

    The part that is set apart holds ``round(held_out * budget)`` clips and needs one of each class of
    each task: that number is the most (class, task) pairs a stream may have, 20 with the settings as
    they are.

    Args:
        budget: clips kept in all. ``share``: remembered clips for each clip of the batch.
        temperature: of the distillation.
        held_out: share of each class, and of the budget, that is set apart.
        ridge: adds half of it times (alpha - 1)^2 + |beta|^2 to the mean cross-entropy.

    >>> BiC(budget=100).held.memory.budget
    10

    Raises:
        RunError: at the start of a task whose (class, task) pairs are too many for the part set apart.
    """

    source = "Wu et al., CVPR 2019"
    keeps = "clips, as audio, and a copy of the weights"

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        temperature: float = 2.0,
        held_out: float = 0.1,
        ridge: float = 0.1,
    ):
        held = round(held_out * budget)
        if not (temperature > 0 and 0 < held_out < 1 and 1 <= held and ridge > 0):
            raise SettingsError(
                "expected temperature > 0, ridge > 0 and held_out between 0 and 1 with at least one "
                f"clip of the budget, not {temperature}, {ridge} and {held_out} of {budget}."
            )
        super().__init__(Balanced(Memory(budget - held)), share)
        self.held = Balanced(Memory(held))
        self.temperature, self.held_out, self.ridge = temperature, held_out, ridge
        self.teacher = Teacher()
        self._old: list[int] = []  # classes of earlier tasks
        self._new = 0  # classes in this task
        self._affine: list[Tensor] = []  # scale and shift (classes,), after the first task

    def choose_data(self, seen: Sequence[Task]) -> Manifest:
        """The task's clips without those set apart."""
        train = seen[-1].train
        apart = set_apart(train, self.held_out)
        return train.where(lambda trial: trial.id not in apart)

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Count the task's classes; see that there is room for one clip of each that is set apart."""
        self._new = len(task.train.counts())
        apart = set_apart(task.train, self.held_out)
        groups = len(self.held.seen) + len({trial.label for trial in task.train if trial.id in apart})
        held, rest = self.held.memory.budget or 0, self.memory.budget or 0
        if groups > held:
            raise RunError(
                f"task {task.name!r}: held_out={self.held_out:g} of budget={held + rest} sets {held} "
                f"clip(s) apart, which can't hold one of each of {groups} groups, the classes of each "
                "task so far; raise budget or held_out."
            )

    def objective(self, learning: Learning, batch: Batch, output: Output) -> Tensor:
        """(1 - l) times the criterion and l times the distillation of old classes."""
        loss = learning.criterion(output, batch)
        if not self.teacher:
            return loss
        asked = self.distilled(batch.label, self._old)
        if not asked.any():
            return loss
        said = self._corrected(self.teacher.output(batch).logits)
        now, before = (logits[asked][:, self._old] for logits in (output.logits, said))
        distance = distillation(now, before, self.temperature)
        groups = len(self.policy.seen)
        old = groups / (groups + self._new)
        return (1 - old) * loss + old * distance

    def _corrected(self, logits: Tensor) -> Tensor:
        if not self._affine:
            return logits
        scale, shift = self._affine
        return logits * scale.to(logits) + shift.to(logits)

    def end_task(self, learning: Learning, task: Task) -> None:
        """Fill both memories, fit the correction, and be the next task's teacher."""
        apart = set_apart(task.train, self.held_out)
        labels: set[int] = set()
        for batch in learning.data():
            labels |= set(batch.label.tolist())
            held = torch.tensor([id_ in apart for id_ in batch.ids])
            for policy, rows in ((self.policy, ~held), (self.held, held)):
                part = rows_of(batch, rows.nonzero()[:, 0])
                policy.offer(part, groups_of(part, task.name, "class-task"), learning.generator)
        new = sorted(labels - set(self._old))
        if self.teacher:
            self._affine = self._fit(learning.detector, new or self._old, shared=bool(new))
        self._old = sorted(labels | set(self._old))
        self.teacher.take(learning.detector)

    def _fit(self, detector: Detector, corrected: list[int], *, shared: bool) -> list[Tensor]:
        with quiet(detector):
            held = [batch.to(detector.device) for batch in self.held.memory.batches(64)]
            logits = torch.cat([detector.hear(b).logits.double().cpu() for b in held])
        label = self.held.memory.column("label")
        found = fit_affine(logits, label, corrected, shared=shared, ridge=self.ridge)
        return [value.float() for value in found]

    def rule(self) -> Rule | None:
        """The correction, after the second task."""
        if not self._affine:
            return None
        rule = RULES.build("affine", classes=len(self._affine[0]))
        rule.scale.copy_(self._affine[0])
        rule.shift.copy_(self._affine[1])
        return rule

    def state(self) -> dict[str, Any]:
        """Both memories, the teacher and its correction."""
        held = {"memory": self.held.memory.state(), "seen": dict(self.held.seen)}
        own = {"held": held, "teacher": self.teacher.state(), "old": self._old, "affine": self._affine}
        return super().state() | own

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        super().load(state, detector)
        self.held.memory.load(state["held"]["memory"])
        self.held.seen = dict(state["held"]["seen"])
        self.teacher.load(state["teacher"], detector)
        self._old, self._affine = list(state["old"]), list(state["affine"])

    def storage(self) -> Storage:
        """The clips of both memories, as audio, the teacher and its correction."""
        clips, held = super().storage(), self.held.memory
        own = self.teacher.bytes + sum(v.numel() * v.element_size() for v in self._affine)
        return Storage(clips.bytes + held.bytes + own, clips.clips + len(held), keeps_audio=True)


def set_apart(manifest: Manifest, share: float) -> set[str]:
    """Ids of a share of each class's clips: at least one where there are two, never all.

    Which ones follows from the ids alone, as if drawn.

    >>> from earwitness.trials import Trial
    >>> trials = [Trial(f"{n}", f"{n}.wav", ("bonafide", "spoof")[n % 2]) for n in range(20)]
    >>> len(set_apart(Manifest("toy", trials), 0.2))
    4
    """
    ids: dict[str, list[str]] = {}
    for trial in manifest:
        ids.setdefault(trial.label, []).append(trial.id)
    apart: set[str] = set()
    for mine in ids.values():
        mine.sort(key=lambda id_: hashlib.sha256(id_.encode()).digest())
        apart.update(mine[: min(max(1, round(share * len(mine))), len(mine) - 1)])
    return apart


def fit_affine(
    logits: Tensor, label: Tensor, corrected: list[int], *, shared: bool, ridge: float
) -> tuple[Tensor, Tensor]:
    """Scale and shift (classes,) with the least mean cross-entropy plus ridge, in float64.

    ``logits`` (clips, classes). The classes in ``corrected`` have one scale, and one shift (``shared``)
    or one each; the others keep 1 and 0. The minimum is the only one.

    >>> z = torch.tensor([[0.0, 3.0], [0.0, 3.0]], dtype=torch.float64)
    >>> scale, shift = fit_affine(z, torch.tensor([0, 1]), [1], shared=True, ridge=0.1)
    >>> bool(scale[0] == 1 and scale[1] < 1 and shift[1] < 0)
    True
    """
    free = torch.zeros(1 + (1 if shared else len(corrected)), dtype=logits.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [free], max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def affine() -> tuple[Tensor, Tensor]:
        scale, shift = torch.ones_like(logits[0]), torch.zeros_like(logits[0])
        scale[corrected], shift[corrected] = 1 + free[0], free[1:]
        return scale, shift

    def closure() -> Tensor:
        optimiser.zero_grad()
        scale, shift = affine()
        loss = F.cross_entropy(logits * scale + shift, label) + ridge / 2 * free.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    scale, shift = affine()
    return scale.detach(), shift.detach()
