"""Learning without forgetting: on the new clips, say what the old model would have said.

Li, Hoiem, "Learning without forgetting", ECCV 2016: L + strength L_old, L_old the cross-entropy of the
outputs softened by a temperature against those of the model after the last task.
"""

from typing import Any

from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.strategies.teacher import Teacher, distillation
from earwitness.streams import Task

__all__ = ["LwF"]


class LwF(Strategy):
    """Distillation from the last model, over the classes that it could name.

    Where the classes are the same in every task that is all of them. The original's warm-up of a new
    head has no place here, as there is one head.

    Args:
        strength: of the old outputs; 0 is the same as naive.
        temperature: divides the logits.
        scale: multiply by temperature^2, as Hinton et al. do and the authors don't.

    >>> LwF(strength=0.5).temperature
    2.0
    """

    spreads = True
    source = "Li and Hoiem, ECCV 2016"
    keeps = "a copy of the weights"

    def __init__(self, *, strength: float = 1.0, temperature: float = 2.0, scale: bool = False):
        if not (strength >= 0 and temperature > 0):
            raise SettingsError(
                f"expected strength >= 0 and temperature > 0, not {strength} and {temperature}."
            )
        self.strength, self.temperature, self.scale = strength, temperature, scale
        self.teacher = Teacher()

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """The old outputs' pull on the new ones."""
        if not self.teacher:
            return None
        return self.strength * self.distance(output, self.teacher.output(batch))

    def distance(self, output: Output, old: Output) -> Tensor:
        """Softened cross-entropy over the teacher's classes."""
        known = self.teacher.known
        factor = self.temperature**2 if self.scale else 1.0
        return factor * distillation(output.logits[:, known], old.logits[:, known], self.temperature)

    def end_task(self, learning: Learning, task: Task) -> None:
        """The model of now is the next task's teacher."""
        if self.strength:
            self.teacher.take(learning.detector)

    def state(self) -> dict[str, Any]:
        """The teacher."""
        return {"teacher": self.teacher.state()}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        self.teacher.load(state["teacher"], detector)

    def storage(self) -> Storage:
        """One copy of the weights."""
        return Storage(bytes=self.teacher.bytes)
