"""Rehearsal: some clips of the past in every batch.

Sources: reservoir sampling, Vitter, "Random Sampling with a Reservoir" (1985), Algorithm R;
experience replay, Chaudhry et al., "On Tiny Episodic Memories in Continual Learning" (2019);
biased reservoirs, Lin et al., "The CLEAR Benchmark", NeurIPS 2021 (Datasets and Benchmarks).
"""

from typing import Literal

from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning
from earwitness.strategies.memory import Balance, Balanced, Biased, Memory
from earwitness.strategies.rehearsal import Rehearsal
from earwitness.streams import Task

__all__ = ["BiasedReplay", "Replay", "entering"]


class Replay(Rehearsal):
    """Keeps ``budget`` clips of earlier tasks and adds some to each batch.

    The memory is filled from one pass over a task's clips after the task, so that epochs don't
    count twice. It keeps the audio itself: where recordings must be deleted, use another strategy.

    Args:
        budget: clips kept in all.
        share: replayed clips for each clip of the batch; 0 is the same as ``naive``.
        balance: ``none`` keeps a uniform sample of everything seen (reservoir); ``class`` the same
            number of each class; ``task`` of each task; ``class-task`` of each class of each task.
        keep: of each of these a ``random`` sample, the ``first`` clips or the ``last`` (a ring).

    >>> Replay(budget=100, balance="task").storage()
    Storage(bytes=0, clips=0, keeps_audio=True)
    """

    source = "Chaudhry et al., 2019"
    spreads = True
    shards = True

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        balance: Balance = "class-task",
        keep: Literal["random", "first", "last"] = "random",
    ):
        # A task's clips come in random order; a class's come task by task.
        super().__init__(Balanced(Memory(budget), keep, ordered=balance == "class"), share)
        self.balance = balance

    def end_task(self, learning: Learning, task: Task) -> None:
        """Offer every clip of the task to the memory once."""
        self.offer_task(learning, task, self.balance)


class BiasedReplay(Rehearsal):
    """Replay from a biased reservoir, which favours the latest tasks.

    A full memory takes each clip of a task with one probability, in place of any kept clip; a
    reservoir's would go down with everything ever offered.

    Args:
        budget, share: as of ``Replay``.
        bias, alpha: see ``entering``.
    """

    spreads = True
    shards = True
    source = "Lin et al., NeurIPS 2021"

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        bias: Literal["fixed", "dynamic"] = "fixed",
        alpha: float = 1.0,
    ):
        self.biased = Biased(Memory(budget), entering(bias, alpha, 0))
        super().__init__(self.biased, share)
        self.bias, self.alpha = bias, alpha

    def end_task(self, learning: Learning, task: Task) -> None:
        """Offer every clip of the task to the memory once."""
        self.biased.probability = entering(self.bias, self.alpha, learning.position)
        self.offer_task(learning, task, "none")


def entering(bias: Literal["fixed", "dynamic"], alpha: float, position: int) -> float:
    """The probability with which a clip of the task at ``position`` (from 0) enters a full memory.

    ``fixed``: alpha / (position + 1), at most 1, so that with alpha = 1 tasks of the memory's size
    all had an equal chance; ``dynamic``: alpha, so that the present has the same weight at all times.

    >>> entering("fixed", 1.0, 3), entering("dynamic", 0.5, 3)
    (0.25, 0.5)
    """
    if not alpha >= 0:
        raise SettingsError(f"alpha is {alpha}, expected >= 0.")
    return min(1.0, alpha / (position + 1) if bias == "fixed" else alpha)
