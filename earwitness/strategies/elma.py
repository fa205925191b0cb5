"""A low-rank expert a task, and all of them at judging.

ELMA: from the code of Zhang et al., "EVDA: evolving deepfake audio detection continual learning
benchmark", 2024 (arXiv 2405.08596).
Low-rank updates W + B A: Hu et al., "LoRA", ICLR 2022.
"""

from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules import RULES
from earwitness.rules.base import Rule
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.strategies.frozen import freeze, hold_statistics, thaw
from earwitness.strategies.protected import ProtectedLayer, find_layers
from earwitness.streams import Task

__all__ = ["ELMA", "cosine", "merge"]

Factors = dict[str, tuple[Tensor, Tensor]]  # layer -> A (rank, inputs), B (outputs, rank)


class ELMA(Strategy):
    """The first task trains the detector; each later one only an update B A of its layers' weights.

    A starts from Kaiming's uniform distribution and B from zero; a convolution's weight is taken as a
    matrix (outputs, channels x kernel). Everything else, biases and running statistics included, stays
    as the first task left it. The detector's own weights and all updates judge together: see the rule
    ``experts``.

    Departs from the released code: the base is the detector that the first task trained (theirs is
    random weights, and the first task trains an update too); updates are not divided by their rank; a
    clip's score doesn't depend on other clips; a bound on the number of updates. Chain it with memories
    only: penalties and projections know the detector's weights, which don't move here, and a
    ``Chain`` refuses them.

    Args:
        rank: inner size of A and B, less where a layer is smaller.
        experts: most updates kept. When there is one more, the two whose B A are the most alike
            (cosine over all layers) become their mean, weighted by the tasks each stands for, cut
            to the rank by a singular value decomposition. None keeps all.
        layers: names of the updated layers, with ``*`` wildcards.

    >>> ELMA(rank=4, experts=3).layers
    ('*',)
    """

    source = "Zhang et al., EVDA, arXiv 2405.08596 (code)"
    keeps = "two thin matrices a layer for each task, or for each of a number of experts"

    def __init__(self, *, rank: int = 8, experts: int | None = None, layers: tuple[str, ...] = ("*",)):
        if rank < 1 or (experts is not None and experts < 1):
            raise SettingsError(f"expected rank >= 1 and experts >= 1, not {rank} and {experts}.")
        self.rank, self.experts, self.layers = rank, experts, layers
        self._experts: list[Factors] = []
        self._tasks: list[int] = []  # that each expert stands for
        self._training: list[ProtectedLayer] = []
        self._stopped: list[nn.Parameter] = []

    def begin_task(self, learning: Learning, task: Task) -> None:
        """From the second task on, stop all weights and add an update to each layer."""
        layers = find_layers(learning.detector, self.layers)
        if learning.position == 0:
            return
        self._stopped = freeze(learning.detector)
        self._training = layers
        for layer in layers:
            update = _Update(layer.weight(), self.rank, learning.generator)
            parametrize.register_parametrization(layer.module, "weight", update)

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """The batch as it is; the base's running statistics are held."""
        if self._training:
            hold_statistics(learning.detector)
        return batch

    def end_task(self, learning: Learning, task: Task) -> None:
        """Take the task's update out of the detector and keep it; merge where there are too many."""
        if learning.position == 0:
            return
        new: Factors = {}
        for layer in self._training:
            update = _without_update(layer.module)
            new[layer.name] = (update.a.detach().clone(), update.b.detach().clone())
        thaw(self._stopped)
        self._training, self._stopped = [], []
        self._experts.append(new)
        self._tasks.append(1)
        if self.experts is not None and len(self._experts) > self.experts:
            self._merge_closest()

    def _merge_closest(self) -> None:
        pairs = combinations(range(len(self._experts)), 2)
        first, second = max(pairs, key=lambda p: cosine(self._experts[p[0]], self._experts[p[1]]))
        other, tasks = self._experts.pop(second), self._tasks.pop(second)
        share = tasks / (tasks + self._tasks[first])
        self._experts[first] = merge(self._experts[first], other, share)
        self._tasks[first] += tasks

    def rule(self) -> Rule | None:
        """All experts; after the first task, the detector itself."""
        if not self._experts:
            return None
        factors = list(self._experts[0].items())
        rule: Rule = RULES.build(
            "experts",
            layers=tuple(name for name, _ in factors),
            outputs=tuple(len(b) for _, (_, b) in factors),
            inputs=tuple(a.shape[1] for _, (a, _) in factors),
            rank=self.rank,
            count=len(self._experts),
        )
        for number, (name, _) in enumerate(factors):
            rule.get_buffer(f"a{number}").copy_(torch.stack([e[name][0] for e in self._experts]))
            rule.get_buffer(f"b{number}").copy_(torch.stack([e[name][1] for e in self._experts]))
        return rule

    def state(self) -> dict[str, Any]:
        """The finished experts; the one in training is in the detector."""
        return {"experts": self._experts, "tasks": self._tasks}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up saved experts."""
        self._experts = [
            {name: (a.to(detector.device), b.to(detector.device)) for name, (a, b) in saved.items()}
            for saved in state["experts"]
        ]
        self._tasks = list(state["tasks"])

    def storage(self) -> Storage:
        """The updates."""
        kept = [t for expert in self._experts for pair in expert.values() for t in pair]
        return Storage(bytes=sum(t.numel() * t.element_size() for t in kept))


class _Update(nn.Module):
    """A trainable B A on top of a weight, for ``parametrize``."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator):
        super().__init__()
        inner = min(rank, *weight.shape)
        a = torch.empty(inner, weight.shape[1])
        # Kaiming with a = sqrt(5): uniform within 1 / sqrt(inputs).
        nn.init.kaiming_uniform_(a, a=5**0.5, generator=generator)
        self.a = nn.Parameter(a.to(weight))
        self.b = nn.Parameter(weight.new_zeros(len(weight), inner))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.b @ self.a).view_as(weight)


def _without_update(module: Any) -> _Update:
    """Take the update off a layer; its parameters come back in the order that they had."""
    update: _Update = module.parametrizations.weight[0]
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    if module.bias is not None:  # the weight was put back behind it; digests go by order
        bias = module.bias
        del module.bias
        module.register_parameter("bias", bias)
    return update


def cosine(one: Factors, other: Factors) -> float:
    """Cosine of all layers' B A as one vector, from the factors alone; 0 where one is zero.

    <B A, D C> = sum((B'D) * (A C')).

    >>> up, down = torch.ones(1, 3), torch.ones(2, 1)
    >>> cosine({"layer": (up, down)}, {"layer": (up, -2 * down)})
    -1.0
    """
    size = (_inner(one, one) * _inner(other, other)) ** 0.5
    return _inner(one, other) / size if size else 0.0


def _inner(one: Factors, other: Factors) -> float:
    total = 0.0
    for name, (a, b) in one.items():
        c, d = other[name]
        total += float(((b.double().T @ d.double()) * (a.double() @ c.double().T)).sum())
    return total


def merge(one: Factors, other: Factors, share: float = 0.5) -> Factors:
    """(1 - share) B A + share D C of each layer, the nearest of the same rank (Eckart & Young, 1936).

    The singular values are those of a small matrix: [B D] = Q R and [A' C'] = U S give R S'.
    """
    merged = {}
    for name, (a, b) in one.items():
        c, d = other[name]
        left = torch.cat([(1 - share) * b.double(), share * d.double()], 1)
        right = torch.cat([a.double(), c.double()])
        q, r = torch.linalg.qr(left)
        u, s = torch.linalg.qr(right.T)
        outer, values, inner = torch.linalg.svd(r @ s.T)
        k = len(a)
        root = values[:k].sqrt()
        merged[name] = (
            (root[:, None] * inner[:k] @ u.T).to(a),
            (q @ outer[:, :k] * root).to(b),
        )
    return merged
