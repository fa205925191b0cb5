"""Training on all data so far at every task: the upper references."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from earwitness.detector import Detector
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.streams import Task
from earwitness.trials import Manifest, join_manifests

__all__ = ["Cumulative", "Joint"]


class Joint(Strategy):
    """Keeps every recording and starts again from the first weights at each task.

    Row ``t`` of its matrix is what a detector could be that had tasks 1 to ``t`` all at once. The
    number of epochs is the same as for the others, so a task costs more steps the later it comes.

    Args:
        restart: start from the initial weights; without it, go on from the last task's.
    """

    keeps = "every clip, and the initial weights"
    spreads = True
    shards = True

    def __init__(self, *, restart: bool = True):
        self.restart = restart
        self._first: dict[str, Tensor] = {}
        self._clips = 0

    def choose_data(self, seen: Sequence[Task]) -> Manifest:
        """All training clips of all tasks so far."""
        self._clips = sum(len(task.train) for task in seen)
        return join_manifests("joint", [task.train for task in seen])

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Remember the initial weights; put them back at every later task."""
        if not self.restart:
            return
        if not self._first:
            state = learning.detector.state_dict()
            self._first = {name: value.detach().clone() for name, value in state.items()}
        else:
            with torch.no_grad():
                learning.detector.load_state_dict(self._first)

    def state(self) -> dict[str, Any]:
        """The initial weights."""
        return {"first": self._first, "clips": self._clips}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        self._first = {n: v.to(detector.device) for n, v in state["first"].items()}
        self._clips = state["clips"]

    def storage(self) -> Storage:
        """All clips, as audio; bytes are the initial weights only (the audio lies in the corpus)."""
        weights = sum(v.numel() * v.element_size() for v in self._first.values())
        return Storage(bytes=weights, clips=self._clips, keeps_audio=True)


class Cumulative(Joint):
    """``Joint(restart=False)``: on all clips so far, going on from the last task's weights.

    The upper reference for methods that go on, as all here do: it differs from them only in the data.

    >>> Cumulative().restart
    False
    """

    spreads = True
    shards = True
    keeps = "every clip"

    def __init__(self) -> None:
        super().__init__(restart=False)
