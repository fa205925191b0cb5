"""Learn as a student: beside the labels, what a larger teacher said of each clip.

KD++ is CE + min(1, epoch / warm_up) kd KD + nd ND, where epochs count from 0, so that KD sets in with
the second: Wang et al., "Improving knowledge distillation via regularizing feature norm and
direction", arXiv 2305.17007, as its released code computes it. The teacher is there as
`earwitness.distill.Lessons` only.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.distill import Lesson, Lessons, Projector, cosine_loss, kd_loss, nd_loss, norm_loss
from earwitness.errors import CheckpointError, SettingsError
from earwitness.files import digest
from earwitness.losses.base import weigh
from earwitness.strategies.base import Learning, Strategy
from earwitness.streams import Task

__all__ = ["Distil"]

Hold = Literal["nd", "nd-centred", "nd-per-generator", "cosine", "norm"]


class Distil(Strategy):
    """Knowledge distillation, and embeddings with the teacher's length and direction.

    Args:
        lessons: the teacher's word; in an experiment file relative to it.
        kd: strength of the softened logits; 0 leaves them out.
        nd: strength of what holds the embedding. With kd and nd 0 the same as naive.
        hold: ``nd``, the published loss; ``nd-centred``, the same from the teacher's global mean, for
            teachers whose class means point nearly the same way (`Lessons.likeness` above 0.5);
            ``nd-per-generator``, with a mean for bonafide and one for each generator; ``cosine`` or
            ``norm``, half of it.
        temperature: of kd. ``warm_up``: epochs until kd counts in full, published as 20 of 240.
        dropout: of the projector, which is there where the student's embedding has another dim than
            the teacher's. It learns with the student's rate, in no detector, and is not kept.
        weights: ``none``, each clip counts the same in kd and nd, as published; ``batch``, each class.

    >>> Distil(lessons="lessons.safetensors", nd=2.0).hold
    'nd'
    """

    source = "Wang et al., arXiv 2305.17007; Hinton et al., 2015"
    keeps = "a teacher's norms and logits of the training clips"

    def __init__(
        self,
        *,
        lessons: str,
        kd: float = 1.0,
        nd: float = 1.0,
        hold: Hold = "nd",
        temperature: float = 4.0,
        warm_up: float = 2.0,
        dropout: float = 0.5,
        weights: Literal["none", "batch"] = "none",
    ):
        if not (kd >= 0 and nd >= 0 and warm_up >= 0 and temperature > 0 and 0 <= dropout < 1):
            raise SettingsError(
                "expected kd, nd and warm_up >= 0, temperature > 0 and dropout from 0 to below 1, not "
                f"{kd}, {nd}, {warm_up}, {temperature} and {dropout}."
            )
        self.path, self.kd, self.nd, self.hold = lessons, kd, nd, hold
        self.temperature, self.warm_up, self.dropout = temperature, warm_up, dropout
        self.balance = weights
        self.projector: nn.Module = nn.Identity()
        self._latest: tuple[Tensor, ...] = ()
        self._told: dict[str, Any] = {}

    @property
    def built_from(self) -> dict[str, Any]:
        """Name and settings; the lessons by their digest, as a file is what stands in it."""
        if not self.holds:
            return dict(self._told)
        _ = self.lessons  # says what is missing or damaged, before anything is learned
        return {**self._told, "lessons": digest(self.path)}

    @built_from.setter
    def built_from(self, told: dict[str, Any]) -> None:
        self._told = told

    @cached_property
    def lessons(self) -> Lessons:
        """The teacher's word."""
        try:
            return Lessons.read(self.path)
        except CheckpointError as error:
            raise SettingsError(f"strategy 'distil': {error}") from None

    @property
    def holds(self) -> bool:
        """Whether there is anything beside the labels."""
        return bool(self.kd or self.nd)

    def begin_task(self, learning: Learning, task: Task) -> None:
        """See that the teacher names the same classes, and make the projector."""
        if not self.holds:
            return
        if self.lessons.classes != learning.detector.classes:
            raise SettingsError(
                f"the teacher of {self.path} names {', '.join(self.lessons.classes)}; the student "
                f"{', '.join(learning.detector.classes)}."
            )
        if self.nd and isinstance(self.projector, nn.Identity):
            self._make_projector(learning.detector)

    def _make_projector(self, detector: Detector) -> None:
        if detector.back_end.dim != self.lessons.dim:
            made = Projector(detector.back_end.dim, self.lessons.dim, self.dropout)
            self.projector = made.to(detector.device)

    def weights(self) -> Iterable[nn.Parameter]:
        """The projector's."""
        return self.projector.parameters()

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """Both distances from the teacher, by their strengths."""
        if not self.holds:
            return None
        lesson = self.lessons.find(batch)
        total = _full(output.logits).new_zeros(())
        ramp = min(1.0, learning.epoch / self.warm_up) if self.warm_up else 1.0
        if self.kd and ramp:
            known = [name in learning.detector.known for name in learning.detector.classes]
            logits, told = (_full(x)[:, known] for x in (output.logits, lesson.logits))
            each = kd_loss(logits, told, self.temperature, reduction="none")
            total = total + ramp * self.kd * self._mean(each, batch, output)
        if self.nd:
            each = self._distances(_full(self.projector(output.embedding)), lesson, batch)
            total = total + self.nd * self._mean(each, batch, output)
        return total

    def _distances(self, embedding: Tensor, lesson: Lesson, batch: Batch) -> Tensor:
        """(clips,), as ``hold`` says."""
        means, norms, labels = self.lessons.means, lesson.norms, batch.label
        if self.hold == "nd-centred":  # in the means' float64, as they may be nearly alike
            centre = self.lessons.centre
            embedding, means, norms = (
                embedding - centre.to(embedding),
                means - centre,
                lesson.centred_norms,
            )
        elif self.hold == "nd-per-generator":
            means, labels = self.lessons.generator_means, lesson.generators
        means = means.to(embedding)
        self._latest = tuple(x.detach() for x in (embedding, norms, means, labels))
        if self.hold == "cosine":
            return cosine_loss(embedding, means, labels, reduction="none")
        if self.hold == "norm":
            return norm_loss(embedding, norms, reduction="none")
        return nd_loss(embedding, norms, means, labels, reduction="none")

    def _mean(self, each: Tensor, batch: Batch, output: Output) -> Tensor:
        return weigh(each, batch, output.logits.shape[1], self.balance)

    def end_task(self, learning: Learning, task: Task) -> None:
        """The projector is of no use to a detector that is kept."""
        self.projector = nn.Identity()

    def action(self) -> list[dict[str, Any]]:
        """Of the latest batch: the embedding's mean cosine with its direction, and how long it is."""
        return [_action(*self._latest)] if self._latest else []

    def state(self) -> dict[str, Any]:
        """The projector."""
        return {"projector": dict(self.projector.state_dict())}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        if not state["projector"]:
            self.projector = nn.Identity()
            return
        if isinstance(self.projector, nn.Identity):  # else the optimiser knows the one that is there
            self._make_projector(detector)
        self.projector.load_state_dict(state["projector"])


def _full(values: Tensor) -> Tensor:
    """Under autocast, what is nearly alike must not be subtracted in 8 bits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _action(embedding: Tensor, norms: Tensor, means: Tensor, labels: Tensor) -> dict[str, Any]:
    """``cosine``: mean over clips with the class's direction; ``length``: median of ‖s‖ / ‖t‖."""
    cosine = 1 - cosine_loss(embedding, means, labels)
    length = torch.linalg.vector_norm(embedding, dim=1) / norms.to(embedding)
    return {"layer": "embedding", "cosine": float(cosine), "length": float(length.median())}
