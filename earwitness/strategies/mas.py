"""Memory aware synapses: a weight matters by how much the output depends on it.

Aljundi et al., "Memory aware synapses: learning what (not) to forget", ECCV 2018: Omega_i is the mean
over clips of |d ||z(x)||^2 / d w_i|, and L + strength sum_i Omega_i (w_i - w*_i)^2.
"""

from typing import Literal

from earwitness.strategies.anchor import Anchored
from earwitness.strategies.base import Learning
from earwitness.strategies.importance import output_slopes
from earwitness.streams import Task

__all__ = ["MAS"]


class MAS(Anchored):
    """Importance from the slope of the output; labels are not looked at.

    Args:
        strength: without a factor 1/2. ``form``: see ``Anchored``.
        accumulate: importances of tasks are added up (``sum``), or averaged (``mean``, as in the
            authors' code).

    >>> MAS(strength=0.1).accumulate
    'sum'
    """

    spreads = True
    source = "Aljundi et al., ECCV 2018"
    keeps = "importance of each weight, and where it is held"
    factor = 2.0

    def __init__(
        self,
        *,
        strength: float = 1.0,
        form: Literal["implicit", "explicit"] = "implicit",
        accumulate: Literal["sum", "mean"] = "sum",
    ):
        super().__init__(strength=strength, form=form)
        self.accumulate = accumulate

    def end_task(self, learning: Learning, task: Task) -> None:
        """One pass over the task for its slopes."""
        if not self.strength:
            return
        new, fade = output_slopes(learning), 1.0
        if self.accumulate == "mean":
            count = learning.position + 1
            new, fade = {n: v / count for n, v in new.items()}, learning.position / count
        self.hold(learning.detector, new, fade=fade, move=True)
