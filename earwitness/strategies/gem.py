"""Gradient episodic memory: a step must not raise the loss on remembered clips.

GEM: Lopez-Paz, Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017. With g the
batch's gradient and the rows of G (tasks, weights) those on each earlier task's memory, where some
G g < 0 the nearest g' = g + G' v is taken, v solving the dual

    min_v  1/2 v' (G G' + ridge I) v + (G g)' v    subject to  v >= margin

A-GEM: Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019: one r, on a random batch
of the whole memory; where r g < 0, g' = g - (r g / r r) r.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.strategies.flat import as_vector, gradients_on, put_vector, spared_buffers
from earwitness.strategies.memory import Memory
from earwitness.strategies.turning import length_ratio
from earwitness.streams import Task

__all__ = ["AGEM", "GEM", "dual"]

BLOCK = 8192  # products that are summed in the rows' own precision


def dual(
    gram: NDArray[np.float64], products: NDArray[np.float64], margin: float, ridge: float
) -> NDArray[np.float64]:
    """The v of GEM's dual, from G G' (k, k) and G g (k,).

    With H = G G' + ridge I = L L' and v = margin + u it is the nonnegative least-squares problem
    min ||L' u + L^-1 (margin H 1 + G g)||^2, u >= 0, which an active set solves exactly.

    >>> dual(np.eye(2), np.array([-1.0, 2.0]), 0.0, 0.0).tolist()
    [1.0, 0.0]
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    hessian = gram + ridge * np.eye(len(gram))
    lower = np.linalg.cholesky(hessian)
    target = solve_triangular(lower, margin * hessian.sum(1) + products, lower=True)
    return margin + nnls(lower.T, -target)[0]


def gram_of(rows: Tensor) -> Tensor:
    """Products of rows (k, n) with each other: (k, k), in float64.

    Blocks are multiplied in the rows' own precision and summed in float64: all but as exact as a copy
    in float64, which would cost as much as a pass backward.

    >>> gram_of(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    tensor([[5., 6.],
            [6., 9.]], dtype=torch.float64)
    """
    return torch.stack([part @ part.T for part in rows.split(BLOCK, 1)]).double().sum(0)


class GEM(Strategy):
    """The nearest step to the batch's that raises the loss on no earlier task's remembered clips.

    Memory gradients are taken in training mode, as the batch's is, but leave running statistics of
    batch normalisation alone. Each step costs one more pass for each earlier task.

    Args:
        per_task: the last clips of a task's pass that are kept, as audio; 0 is the same as naive.
        margin: gamma: how strongly old gradients are added once one is in conflict.
        ridge: as in the authors' code. It is absolute: where squared gradients are much smaller,
            conflicts are only partly resolved.

    >>> GEM(per_task=20).margin
    0.5
    """

    source = "Lopez-Paz and Ranzato, NeurIPS 2017"
    keeps = "clips of each task, as audio"

    def __init__(self, *, per_task: int = 100, margin: float = 0.5, ridge: float = 1e-3):
        if not (per_task >= 0 and margin >= 0 and ridge > 0):
            raise SettingsError(
                "expected per_task >= 0, margin >= 0 and ridge > 0, not "
                f"{per_task}, {margin} and {ridge}."
            )
        self.per_task, self.margin, self.ridge = per_task, margin, ridge
        self.memory = Memory(None)  # one group a task
        self._latest: list[dict[str, Any]] = []

    def remembered(self, learning: Learning) -> list[Batch]:
        """What the step's gradient is compared on: each earlier task's clips."""
        return [self.memory.batch(self.memory.of(task)) for task in self.memory.groups]

    def project(self, gradients: Tensor, gram: Tensor) -> Tensor:
        """g + G' v, for rows g and G (1 + k, weights), of which some are in conflict with g.

        ``gram`` are the rows' products, in float64.
        """
        products = gram.cpu().numpy()
        weights = dual(products[1:, 1:], products[1:, 0], self.margin, self.ridge)
        return torch.addmv(gradients[0], gradients[1:].T, torch.from_numpy(weights).to(gradients))

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Compare with the memory's gradients; turn where one is in conflict."""
        if not len(self.memory):
            return
        weights = [p for p in learning.detector.parameters() if p.grad is not None]
        own = [p.grad for p in weights if p.grad is not None]
        with spared_buffers(learning.detector):
            past = [
                gradients_on(learning, memory.to(own[0].device), weights)
                for memory in self.remembered(learning)
            ]
        gradients = as_vector([part for one in (own, *past) for part in one]).view(1 + len(past), -1)
        gram = gram_of(gradients)
        conflicts = int((gram[1:, 0] < 0).sum())
        edited = self.project(gradients, gram) if conflicts else gradients[0]
        if conflicts:
            put_vector(edited, own)
        self._latest = [
            {
                "layer": "all weights",
                "gradient_ratio": length_ratio(gradients[0], edited),
                "constraints": len(past),
                "conflicts": conflicts,
            }
        ]

    def end_task(self, learning: Learning, task: Task) -> None:
        """Keep the last clips of a pass over the task."""
        for batch in learning.data() if self.per_task else ():
            here = batch.to("cpu")
            for row in range(len(here)):
                mine = self.memory.of(task.name)
                place = len(self.memory) if len(mine) < self.per_task else mine[0]
                self.memory.put(here, row, place, task.name)

    def action(self) -> list[dict[str, Any]]:
        """||g'|| / ||g||, and how many of the memory's gradients were in conflict with g."""
        return self._latest

    def state(self) -> dict[str, Any]:
        """The memory."""
        return self.memory.state()

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved memory."""
        self.memory.load(state)

    def storage(self) -> Storage:
        """The clips kept, as audio."""
        return Storage(bytes=self.memory.bytes, clips=len(self.memory), keeps_audio=True)


class AGEM(GEM):
    """GEM with one reference: the gradient on some clips drawn at each step from the whole memory.

    Args:
        per_task: the last clips of a task's pass that are kept, as audio; 0 is the same as naive.
        sample: clips drawn, without repeats.

    >>> AGEM(sample=128).per_task
    100
    """

    source = "Chaudhry et al., ICLR 2019"

    def __init__(self, *, per_task: int = 100, sample: int = 64):
        super().__init__(per_task=per_task)
        if sample < 1:
            raise SettingsError(f"sample is {sample}, expected >= 1.")
        self.sample = sample

    def remembered(self, learning: Learning) -> list[Batch]:
        """``sample`` clips of all earlier tasks together."""
        return [self.memory.batch(self.memory.draw(self.sample, learning.generator))]

    def project(self, gradients: Tensor, gram: Tensor) -> Tensor:
        """g - (r g / r r) r."""
        return torch.add(gradients[0], gradients[1], alpha=-float(gram[0, 1] / gram[1, 1]))
