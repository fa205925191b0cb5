"""The base of strategies: a few verbs, all optional, each named for what it gives or changes.

A strategy never owns the loop. It is handed a frozen record, ``Learning``, and keeps its own state
explicit (``state``, ``load``) so that a killed run resumes to the same bits.
"""

from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.losses import Criterion
from earwitness.rules.base import Rule
from earwitness.streams import Task
from earwitness.trials import Manifest

__all__ = ["Learning", "Storage", "Strategy", "quiet"]


@dataclass(frozen=True)
class Learning:
    """What a strategy may see.

    ``generator`` is seeded anew at every step, ``progress`` runs over the task from 0 to 1,
    ``epoch`` counts from 0, ``rate`` is the step's learning rate, ``position`` is the task's place
    in the stream from 0, and ``data()`` is one pass over the task's own training clips in a fixed
    shuffled order, in ``batches`` batches.
    """

    detector: Detector
    criterion: Criterion
    generator: torch.Generator
    progress: float
    position: int
    data: Callable[[], Iterator[Batch]]
    batches: int
    epoch: int = 0
    rate: float = 0.0


@dataclass(frozen=True)
class Storage:
    """What a strategy keeps from one task to the next."""

    bytes: int = 0
    clips: int = 0
    keeps_audio: bool = False


class Strategy(ABC):
    """Naive by default; a strategy overrides the verbs it needs and nothing else.

    ``source`` names the paper, ``keeps`` says in a few words what is stored between tasks. One that
    ``spreads`` does the same where several processes hear a part of each batch; one that ``shards``
    needs no whole weights while a task is learned.
    """

    source: ClassVar[str] = ""
    keeps: ClassVar[str] = "nothing"
    spreads: ClassVar[bool] = False
    shards: ClassVar[bool] = False
    built_from: dict[str, Any]  # name and settings, where the shelf built it

    def choose_data(self, seen: Sequence[Task]) -> Manifest | None:
        """What to train on, given the tasks so far; the last one is current. None: no training."""
        return seen[-1].train

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Prepare: before the optimiser is made."""

    def weights(self) -> Iterable[nn.Parameter]:
        """More weights that the optimiser moves, besides the detector's; asked after ``begin_task``."""
        return ()

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """Give the batch to train on, for instance with clips from a memory."""
        return batch

    def objective(self, learning: Learning, batch: Batch, output: Output) -> Tensor:
        """Give the loss of the batch itself; only methods with a loss of their own change it."""
        return learning.criterion(output, batch)

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """Give a scalar to be added to the objective, or None."""
        return None

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Change the gradients in place, after ``backward`` and before the optimiser's step."""

    def after_step(self, learning: Learning) -> None:
        """Look at what the optimiser's step did."""

    def end_task(self, learning: Learning, task: Task) -> None:
        """Consolidate what was learned."""

    def rule(self) -> Rule | None:
        """How the detector decides from now on, where its own logits don't say it."""
        return None

    @property
    def restarts(self) -> bool:
        """Whether every task begins with the first weights: then none is a later one."""
        return bool(getattr(self, "restart", False))

    @property
    def decides_by_rule(self) -> bool:
        """Whether ``rule`` may give something: then the detector's own logits don't decide."""
        return type(self).rule is not Strategy.rule

    def check_optimiser(self, optimiser: str, weight_decay: float) -> None:
        """Warn where the optimiser undoes what the strategy does."""

    def state(self) -> dict[str, Any]:
        """Everything that must survive: tensors and plain data only."""
        return {}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a state that ``state`` gave, for a detector of the same build."""

    def storage(self) -> Storage:
        """What is kept between tasks."""
        return Storage()

    def action(self) -> list[dict[str, Any]]:
        """Proof of action of the latest step: one record a protected layer, if there are any."""
        return []


@contextmanager
def quiet(detector: nn.Module) -> Iterator[nn.Module]:
    """The detector in evaluation mode, without gradients, leaving no trace.

    Buffers, the training mode of every module and torch's random state are restored, so a strategy
    that only looks changes nothing.
    """
    modes = {module: module.training for module in detector.modules()}
    buffers = {name: buffer.clone() for name, buffer in detector.named_buffers()}
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            detector.eval()
            yield detector
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, buffer in detector.named_buffers():
                buffer.copy_(buffers[name])
