"""Regularised adaptive weight modification.

"Do you remember? Overcoming catastrophic forgetting for fake audio detection", ICML 2023 (arXiv
2308.03300): the direction's beta is the batch's ratio of compact to spread-out samples, and the new
model's softened output is held to the old model's.
"""

from typing import Any, Literal

from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning, Storage
from earwitness.strategies.grouping import Grouping
from earwitness.strategies.projected import ProjectedStrategy
from earwitness.strategies.projection import rawm_beta
from earwitness.strategies.teacher import Teacher, distillation
from earwitness.streams import Task

__all__ = ["RAWM"]


class RAWM(ProjectedStrategy):
    """G <- G (P/||P|| + beta Q/||Q||), beta = (N_compact + s)/(N_spread + s), and a teacher.

    Departs from the released code as ``RWM`` does, and has the regulariser that the code lacks. The
    paper's total loss and temperature are not known to us: ``convex`` reads "eta = 0.5 gives equal
    attention to old and new" as (1 - eta) L_ce + eta L_reg, and T = 2 is LwF's usual choice.

    Args:
        compact: the compact classes: a preset, ``auto`` or a list of names.
        beta_smoothing: s (released CLEAR code: 0).
        regulariser: ``convex``, ``additive`` (L_ce + eta L_reg) or ``off``.
        eta: its weight. ``temperature``: of both outputs.
        projection: settings of ``ProjectedStrategy``.

    >>> RAWM(eta=0.3).eta
    0.3
    """

    source = "Zhang et al., ICML 2023"
    keeps = "one square matrix a layer and a copy of the weights"

    def __init__(
        self,
        *,
        compact: str | tuple[str, ...] = "genuine-fake",
        beta_smoothing: float = 1.0,
        regulariser: Literal["convex", "additive", "off"] = "convex",
        eta: float = 0.5,
        temperature: float = 2.0,
        **projection: Any,
    ):
        super().__init__(**projection)
        if eta < 0 or (eta > 1 and regulariser == "convex"):
            raise SettingsError(f"eta is {eta}; expected >= 0, and <= 1 for the convex form.")
        if not (temperature > 0 and beta_smoothing >= 0):
            raise SettingsError(
                f"expected temperature > 0, beta_smoothing >= 0; not {temperature}, {beta_smoothing}."
            )
        self.grouping = Grouping(compact)
        self.beta_smoothing, self.regulariser = beta_smoothing, regulariser
        self.eta, self.temperature = eta, temperature
        self.teacher = Teacher()

    def begin_task(self, learning: Learning, task: Task) -> None:
        """As the base; the first time, learn what the classes are."""
        self.grouping.bind(learning.detector.classes)
        super().begin_task(learning, task)

    def direction(self, learning: Learning, batch: Batch, output: Output) -> float:
        """Beta of the batch."""
        return rawm_beta(self.grouping.is_compact(batch.label), self.beta_smoothing)

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """The regulariser against the model as it was after the previous task."""
        eta = self.eta * self.strength
        if not self.teacher or self.regulariser == "off" or eta == 0:
            return None
        old = self.teacher.output(batch).logits
        term = distillation(output.logits, old, self.temperature)
        if self.regulariser == "convex":
            term = term - learning.criterion(output, batch)
        return eta * term

    @property
    def observes(self) -> bool:
        """Only ``auto`` grouping looks at a task's features."""
        return self.grouping.auto

    def observe(self, output: Output, batch: Batch) -> None:
        """Feed ``auto`` grouping."""
        self.grouping.observe(output.embedding, batch.label)

    def end_task(self, learning: Learning, task: Task) -> None:
        """As the base; then freeze a copy of the model as the next task's teacher."""
        super().end_task(learning, task)
        self.grouping.settle()
        self.teacher.take(learning.detector)

    def state(self) -> dict[str, Any]:
        """The base's state, the grouping and the teacher."""
        own = {"grouping": self.grouping.state(), "teacher": self.teacher.state()}
        return {**super().state(), **own}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        super().load(state, detector)
        self.grouping.bind(detector.classes)
        self.grouping.load(state["grouping"])
        self.teacher.load(state["teacher"], detector)

    def storage(self) -> Storage:
        """The projectors and one more copy of the weights."""
        return Storage(bytes=super().storage().bytes + self.teacher.bytes)
