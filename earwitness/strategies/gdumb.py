"""Learning from the memory alone.

GDumb: Prabhu, Torr, Dokania, "GDumb: a simple approach that questions our progress in continual
learning", ECCV 2020. A greedy sampler balances a memory; a network is trained from scratch on nothing
else. The authors' schedule (cosine with restarts, 256 passes, CutMix) is not part of it here: it has
the loop's number of steps, as every strategy.

Reservoirs in its place: Lin et al., "The CLEAR benchmark", NeurIPS 2021 (Datasets and Benchmarks).
"""

from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning, Storage
from earwitness.strategies.memory import Balance, Balanced, Biased, Greedy, Memory, Policy
from earwitness.strategies.rehearsal import Rehearsal
from earwitness.strategies.replay import entering
from earwitness.streams import Task

__all__ = ["GDumb", "GDumbFinetune", "MemoryOnly", "Reservoir"]


class MemoryOnly(Rehearsal):
    """Base: a task's clips are offered to the memory first, then batches are the memory's.

    The memory is gone through in random order, again and again; where a batch goes over the end of a
    pass, the next pass fills it.

    Args:
        policy: says which clips the memory keeps, ``balance`` what its groups are.
        restart: begin each task with the initial weights.
    """

    def __init__(self, policy: Policy, balance: Balance, *, restart: bool):
        super().__init__(policy)
        if not self.memory.budget:
            raise SettingsError("budget is 0, expected >= 1: nothing else is trained on.")
        self.balance, self.restart = balance, restart
        self._first: dict[str, Tensor] = {}
        self._seed = 0  # of the task's orders
        self._taken = 0  # clips, by the task's steps so far

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Fill the memory; put the initial weights back."""
        self.offer_task(learning, task, self.balance)
        self._seed = int(torch.randint(2**62, (1,), generator=learning.generator))
        self._taken = 0
        if not self.restart:
            return
        if not self._first:
            state = learning.detector.state_dict()
            self._first = {name: value.detach().clone() for name, value in state.items()}
        learning.detector.load_state_dict(self._first)

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """The next clips of the memory in place of the batch, as many."""
        count = len(self.memory)
        wanted = min(len(batch), count)
        number, start = divmod(self._taken, count)
        self._taken += wanted
        places = self._order(number)[start : start + wanted]
        if len(places) < wanted:
            places = torch.cat([places, self._order(number + 1)[: wanted - len(places)]])
        return self.memory.batch(places).to(batch.wave.device)

    def _order(self, number: int) -> Tensor:
        """The order of the task's pass ``number``, from 0."""
        generator = torch.Generator().manual_seed(self._seed + number)
        return torch.randperm(len(self.memory), generator=generator)

    def state(self) -> dict[str, Any]:
        """The memory, the initial weights and where in the memory the task is."""
        own = {"first": self._first, "seed": self._seed, "taken": self._taken}
        return super().state() | own

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        super().load(state, detector)
        self._first = {n: v.to(detector.device) for n, v in state["first"].items()}
        self._seed, self._taken = state["seed"], state["taken"]

    def storage(self) -> Storage:
        """The clips, as audio, and the initial weights."""
        weights = sum(v.numel() * v.element_size() for v in self._first.values())
        clips = super().storage()
        return Storage(bytes=clips.bytes + weights, clips=clips.clips, keeps_audio=True)


class GDumb(MemoryOnly):
    """From scratch on a memory that is balanced greedily.

    Args:
        budget: clips kept in all.
        balance: of what there shall be equally much. ``class`` is the authors', and the same as
            ``class-task`` where each class comes once; where the classes are the same in every task,
            their sampler would keep the first task's clips and no others.

    >>> GDumb(budget=100).restart
    True
    """

    source = "Prabhu et al., ECCV 2020"
    keeps = "clips, as audio, and the first weights"

    def __init__(self, *, budget: int = 200, balance: Literal["class", "class-task"] = "class-task"):
        super().__init__(Greedy(Memory(budget)), balance, restart=True)


class GDumbFinetune(MemoryOnly):
    """GDumb without going back to the first weights.

    Args:
        budget, balance: as of ``GDumb``.
    """

    source = "Prabhu et al., ECCV 2020, without its restart"

    def __init__(self, *, budget: int = 200, balance: Literal["class", "class-task"] = "class-task"):
        super().__init__(Greedy(Memory(budget)), balance, restart=False)


class Reservoir(MemoryOnly):
    """Only a sample of everything so far is trained on: a reservoir's, or a biased one's.

    Args:
        budget: clips kept in all.
        bias: ``none`` keeps a uniform sample; ``fixed`` and ``dynamic`` see ``entering``.
        alpha: of the bias. ``restart``: begin each task with the initial weights.

    >>> Reservoir(bias="dynamic", alpha=0.5).restart
    False
    """

    source = "Lin et al., NeurIPS 2021"

    def __init__(
        self,
        *,
        budget: int = 200,
        bias: Literal["none", "fixed", "dynamic"] = "none",
        alpha: float = 1.0,
        restart: bool = False,
    ):
        memory = Memory(budget)
        policy = Balanced(memory) if bias == "none" else Biased(memory)
        super().__init__(policy, "none", restart=restart)
        self.bias, self.alpha = bias, alpha
        self._set_bias(0)

    def _set_bias(self, position: int) -> None:
        if self.bias != "none":
            assert isinstance(self.policy, Biased)
            self.policy.probability = entering(self.bias, self.alpha, position)

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Fill the memory, with the task's bias."""
        self._set_bias(learning.position)
        super().begin_task(learning, task)
