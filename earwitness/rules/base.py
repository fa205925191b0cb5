"""What every decision rule is: a way to decide that takes the place of a detector's own logits.

Some methods don't decide by the layer they train: nearest prototypes, corrected logits, several
experts. A strategy gives such a rule after each task; it is saved with the detector, and only used
for judging.
"""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from earwitness.backends.base import Output

__all__ = ["UNKNOWN", "Rule"]

UNKNOWN = -1e4  # the logit of a class that no task has shown yet: its softmax is exactly 0


class Rule(nn.Module, ABC):
    """Base of rules; all it knows is in its buffers, whose shapes follow from its settings."""

    built_from: dict[str, Any]

    @abstractmethod
    def forward(self, detector: nn.Module, wave: Tensor, length: Tensor | None) -> Output:
        """Waves (batch, samples) to logits (batch, classes) and embedding, one clip by itself."""
