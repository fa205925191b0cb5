"""Copy weights with re-init: one layer to learn with, another to decide with.

CWR: Lomonaco & Maltoni, "CORe50", CoRL 2017. CWR+, AR1: Maltoni & Lomonaco, "Continuous learning in
single-incremental-task scenarios", Neural Networks 116 (2019). CWR*: Lomonaco, Maltoni, Pellegrini,
"Rehearsal-free continual learning over small non-i.i.d. batches", CVPR workshops 2020.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.strategies.frozen import freeze, hold_statistics, thaw
from earwitness.streams import Task

__all__ = ["CWRStar"]


class CWRStar(Strategy):
    """Each task's head tw starts from the consolidated cw and is averaged into it afterwards.

    For each class j of a task with n_j clips, p_j clips of it before and w = sqrt(p_j / n_j):
    cw_j <- (w cw_j + tw_j - mean(tw)) / (w + 1), the mean over all weights of the task's classes.
    tw_j starts from cw_j, and from 0 for classes that are new or not in the task; a finished
    detector has cw in its head. Biases, which the paper's head has none of, go the same way with a
    mean of their own.

    The method is made for tasks of new classes. Where every task has the same classes, cw is a
    running average of heads that were all trained on features of the first task: 30 % mean EER on the
    eight sets of EVDA, as Chen et al. (RegO, AAAI 2025) report it, is what to expect there.

    AR1 is a chain of this with a body that learns and of synaptic intelligence that holds it:
    ``parts = [{name = "cwr_star", body = "learns"}, {name = "si"}]``, in this order, so that SI holds
    the consolidated head. The paper's SI holds the body only.

    Args:
        body: what is before the head: ``frozen`` after the first task, running statistics of batch
            normalisation included, or it ``learns``.

    >>> CWRStar().body
    'frozen'
    """

    source = "Lomonaco et al., CVPR workshops 2020"
    keeps = "a second last layer, and how many clips of each class it has seen"

    def __init__(self, *, body: Literal["frozen", "learns"] = "frozen"):
        self.body = body
        self._kept: dict[str, Tensor] = {}  # cw: "weight" and "bias"
        self._past: dict[str, int] = {}  # class -> clips
        self._stopped: list[nn.Parameter] = []

    @torch.no_grad()
    def begin_task(self, learning: Learning, task: Task) -> None:
        """Start tw; stop the body."""
        detector, head = learning.detector, learning.detector.back_end.head
        rows = _rows(detector, task)
        for name, weight in head.named_parameters():
            kept = self._kept.setdefault(name, torch.zeros_like(weight, dtype=torch.float64))
            weight.zero_()
            weight[rows] = kept[rows].to(weight)
        if self.body == "frozen" and learning.position > 0:
            self._stopped = freeze(detector, but=head)

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """The batch as it is; a frozen body's statistics are held."""
        if self._stopped:
            hold_statistics(learning.detector)
        return batch

    @torch.no_grad()
    def end_task(self, learning: Learning, task: Task) -> None:
        """Average tw into cw, and decide with cw."""
        detector, counts = learning.detector, task.train.counts()
        rows = _rows(detector, task)
        names = [detector.classes[row] for row in rows]
        ratio = [(self._past.get(name, 0) / counts[name]) ** 0.5 for name in names]
        for name, weight in detector.back_end.head.named_parameters():
            kept, new = self._kept[name], weight[rows].double()
            w = kept.new_tensor(ratio).view(-1, *[1] * (kept.ndim - 1))
            kept[rows] = (kept[rows] * w + new - new.mean()) / (w + 1)
            weight.copy_(kept)
        for name in names:
            self._past[name] = self._past.get(name, 0) + counts[name]
        thaw(self._stopped)
        self._stopped = []

    def state(self) -> dict[str, Any]:
        """The consolidated head and its counts."""
        return {"kept": self._kept, "past": self._past}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        self._kept = {n: v.to(detector.device, copy=True) for n, v in state["kept"].items()}
        self._past = dict(state["past"])

    def storage(self) -> Storage:
        """One more head, in double precision."""
        return Storage(bytes=sum(v.numel() * v.element_size() for v in self._kept.values()))


def _rows(detector: Detector, task: Task) -> list[int]:
    """The head's rows of the classes that the task has clips of."""
    counts = task.train.counts()
    return [row for row, name in enumerate(detector.classes) if counts.get(name, 0)]
