"""Elastic weight consolidation: weights are held where the Fisher information says they mattered.

EWC: Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017:
L + sum_k strength/2 sum_i F_ki (w_i - w*_ki)^2. Online EWC: Schwarz et al., "Progress & Compress",
ICML 2018: one anchor, the latest weights, and F <- gamma F + F_k.
"""

from typing import Literal

from earwitness.errors import SettingsError
from earwitness.strategies.anchor import Anchored
from earwitness.strategies.base import Learning
from earwitness.strategies.importance import fisher
from earwitness.streams import Task

__all__ = ["EWC", "OnlineEWC"]


class EWC(Anchored):
    """Every task pulls to its own weights, by their Fisher information.

    Args:
        strength: lambda, with the paper's factor 1/2; libraries that leave it out need half of it.
        form: see ``Anchored``.
        fisher: ``empirical``, ``exact``, ``sampled``, or ``batch`` as several libraries have it; see
            ``importance.fisher``. Their scales differ, so does the strength that suits them.

    >>> EWC(strength=100.0).form
    'implicit'
    """

    source = "Kirkpatrick et al., PNAS 2017"
    spreads = True
    keeps = "importance of each weight, and where it is held"

    def __init__(
        self,
        *,
        strength: float = 1000.0,
        form: Literal["implicit", "explicit"] = "implicit",
        fisher: Literal["exact", "sampled", "empirical", "batch"] = "empirical",
    ):
        super().__init__(strength=strength, form=form)
        self.fisher = fisher

    def end_task(self, learning: Learning, task: Task) -> None:
        """One pass over the task for its Fisher information."""
        if self.strength:
            self.hold(learning.detector, fisher(learning, self.fisher))


class OnlineEWC(EWC):
    """One pull to the latest weights, by a fading sum of Fisher information.

    Args:
        strength, form, fisher: see ``EWC``.
        gamma: what a task's importance is multiplied by at each later task; 1 keeps it.

    >>> OnlineEWC(gamma=0.9).gamma
    0.9
    """

    spreads = True
    source = "Schwarz et al., ICML 2018"

    def __init__(
        self,
        *,
        strength: float = 1000.0,
        form: Literal["implicit", "explicit"] = "implicit",
        fisher: Literal["exact", "sampled", "empirical", "batch"] = "empirical",
        gamma: float = 1.0,
    ):
        super().__init__(strength=strength, form=form, fisher=fisher)
        if not 0 <= gamma <= 1:
            raise SettingsError(f"gamma is {gamma}, expected 0 to 1.")
        self.gamma = gamma

    def end_task(self, learning: Learning, task: Task) -> None:
        """One pass over the task for its Fisher information."""
        if self.strength:
            new = fisher(learning, self.fisher)
            self.hold(learning.detector, new, fade=self.gamma, move=True)
