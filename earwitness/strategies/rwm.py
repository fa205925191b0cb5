"""Radian weight modification.

"What to remember: self-adaptive continual learning for audio deepfake detection", AAAI 2024
(arXiv 2312.09651): compact classes (genuine speech) are learned along old inputs, spread-out ones
(fakes) orthogonally to them; an angle computed from the batch's logits weighs the two.
"""

from typing import Any

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning
from earwitness.strategies.grouping import Grouping
from earwitness.strategies.projected import ProjectedStrategy
from earwitness.strategies.projection import rwm_beta
from earwitness.streams import Task

__all__ = ["RWM"]


class RWM(ProjectedStrategy):
    """G <- G (P/||P|| + beta Q/||Q||), beta = min(tan theta, beta_max), from the second task on.

    Departs from the released code: the gate opens (there, the task index is always 0); P learns the
    first task too; scalar denominator; Q = I - P; each layer's own inputs; any layer, width and
    device; a stable softmax and a bound at the pole. The radian is closed-form in the batch's
    logits, as in their code: no parameter or loss trains it.

    Args:
        compact: the compact classes: a preset, ``auto`` or a list of names.
        beta_max: bound of beta.
        projection: settings of ``ProjectedStrategy``.

    >>> RWM(compact="genuine-fake").grouping.names
    ('bonafide',)
    """

    source = "Zhang et al., AAAI 2024"
    keeps = "one square matrix a layer"

    def __init__(
        self,
        *,
        compact: str | tuple[str, ...] = "genuine-fake",
        beta_max: float = 100.0,
        **projection: Any,
    ):
        super().__init__(**projection)
        self.grouping = Grouping(compact)
        if not beta_max > 0:
            raise SettingsError(f"beta_max is {beta_max}, expected > 0.")
        self.beta_max = beta_max

    def begin_task(self, learning: Learning, task: Task) -> None:
        """As the base; the first time, learn what the classes are."""
        self.grouping.bind(learning.detector.classes)
        super().begin_task(learning, task)

    def direction(self, learning: Learning, batch: Batch, output: Output) -> float:
        """Beta of the batch."""
        own = output.logits.gather(1, batch.label[:, None])[:, 0]
        return rwm_beta(own, self.grouping.is_compact(batch.label), self.beta_max)

    @property
    def observes(self) -> bool:
        """Only ``auto`` grouping looks at a task's features."""
        return self.grouping.auto

    def observe(self, output: Output, batch: Batch) -> None:
        """Feed ``auto`` grouping."""
        self.grouping.observe(output.embedding, batch.label)

    def end_task(self, learning: Learning, task: Task) -> None:
        """As the base; then decide the grouping."""
        super().end_task(learning, task)
        self.grouping.settle()

    def state(self) -> dict[str, Any]:
        """The base's state and the grouping."""
        return {**super().state(), "grouping": self.grouping.state()}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        super().load(state, detector)
        self.grouping.bind(detector.classes)
        self.grouping.load(state["grouping"])
