"""Region-based optimisation.

Chen et al., "Region-Based Optimization in Continual Learning for Audio Deepfake Detection", AAAI
2025 (arXiv 2412.11551). Weights are sorted by what they mattered for in earlier tasks, according to
the Fisher information F_c = mean over clips of c of (d log p(y|x) / d weight)^2, c real or fake: a
weight matters where F_c reaches the ``quantile`` of its parameter. Against the old gradient h,
g = g_p + g_o with g_p = (g.h / h.h) h, its gradient g then becomes

    A  matters for neither   g             C  for fake only   g_o
    B  for real only         g_p           D  for both        beta g_p + (1 - beta) g_o

where beta is the share of real clips in the batch. A task's marks fade: that of age a (1 for the
latest) weighs exp(-a / k), with k such that the weights of all earlier tasks sum to 1, and a weight
whose marks weigh ``release`` or less goes back to region A (Ebbinghaus' forgetting curve).
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import RunError, SettingsError
from earwitness.strategies.base import Learning, Storage, Strategy, quiet
from earwitness.strategies.flat import gradients_on, rows_of
from earwitness.strategies.importance import Importance, fisher
from earwitness.strategies.turning import NO_TURN, length_ratio, turning
from earwitness.streams import Task

__all__ = ["RegO", "fading"]

_REAL, _FAKE = 1, 2  # bits of a mark; regions A, B, C, D are 0, 1, 2, 3
_TIE = 1e-6  # the two rows of a two-class head have the same F, up to rounding


def fading(tasks: int) -> list[float]:
    """exp(-age / k) for ages 1, 2, ... of ``tasks`` earlier tasks; they sum to 1.

    >>> [round(weight, 3) for weight in fading(2)]
    [0.618, 0.382]
    """
    from scipy.optimize import brentq

    if not tasks:
        return []
    ages = range(1, tasks + 1)
    left = brentq(lambda q: math.fsum(q**age for age in ages) - 1, 0.5, 1.0, xtol=1e-15)  # exp(-1 / k)
    return [left**age for age in ages]


class RegO(Strategy):
    """Each weight learns freely, along or across the old gradient, by what it mattered for.

    Departs from the released code, which acts on one layer called ``module.weight``; squares
    gradients of batch means and not of clips; takes one and the same class for real in one pass and
    for fake in the other; and marks F > quantile. Here a class is ``real`` or fake once and for all,
    F of zero marks nothing, and every parameter has its own quantile and its own h, biases too.

    Args:
        real: the class whose distribution lasts; all others are fake.
        quantile: share of a parameter's weights that don't matter for a group.
        release: gamma, 0 (marks last) to 1.
        old: what h is: ``task``, the criterion's mean gradient on the latest task at its end (paper),
            or ``step``, the previous step's gradient as it was used (released code).
        strength: 0 leaves gradients alone (same as naive), 1 is the method.
        layers: names of the layers or parameters it acts on, with ``*`` wildcards.

    >>> RegO(quantile=0.9).real
    'bonafide'
    """

    source = "Chen et al., AAAI 2025"
    keeps = "two marks a weight and task, and one gradient"

    def __init__(
        self,
        *,
        real: str = "bonafide",
        quantile: float = 0.75,
        release: float = 0.1,
        old: Literal["task", "step"] = "task",
        strength: float = 1.0,
        layers: tuple[str, ...] = ("*",),
    ):
        if not all(0 <= value <= 1 for value in (quantile, release, strength)):
            raise SettingsError(
                "expected quantile, release and strength from 0 to 1, not "
                f"{quantile}, {release} and {strength}."
            )
        self.real, self.quantile, self.release, self.old = real, quantile, release, old
        self.strength, self.patterns = strength, layers
        self._parameters: dict[str, nn.Parameter] = {}
        self._marks: list[dict[str, Tensor]] = []  # one a task
        self._old: dict[str, Tensor] = {}
        self._regions: dict[str, Tensor] = {}
        self._counts: dict[str, dict[str, Any]] = {}
        self._latest: list[dict[str, Any]] = []
        self._moved = 0.0

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Sort the weights into regions."""
        self._set_up(learning.detector)
        self._moved = 0.0

    def _set_up(self, detector: Detector) -> None:
        if self.real not in detector.classes:
            known = ", ".join(detector.classes)
            raise SettingsError(f"real: {self.real!r} is not a class; the classes are {known}.")
        self._real = detector.classes.index(self.real)
        trainable = {name: p for name, p in detector.named_parameters() if p.requires_grad}
        for pattern in self.patterns:
            if not any(_named(name, pattern) for name in trainable):
                raise SettingsError(
                    f"layers: {pattern!r} matches no trainable parameter; they are "
                    f"{', '.join(trainable)}."
                )
        self._parameters = {
            name: p
            for name, p in trainable.items()
            if any(_named(name, pattern) for pattern in self.patterns)
        }
        self._sort()

    def _sort(self) -> None:
        self._regions = {name: self._sorted(name) for name in self._parameters}
        self._counts = {name: _count(region) for name, region in self._regions.items()}

    def _sorted(self, name: str) -> Tensor:
        """Regions 0 to 3 of a parameter: what any task marked, unless it has faded."""
        region = torch.zeros_like(self._parameters[name], dtype=torch.uint8)
        weight = torch.zeros_like(region, dtype=torch.float64)
        latest_first = self._marks[::-1]
        for marks, fade in zip(latest_first, fading(len(latest_first)), strict=True):
            region |= marks[name]
            weight += fade * (marks[name] > 0)
        return torch.where(weight > self.release, region, 0)

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Give each region its part of the gradient."""
        if not self.strength:
            return
        self._latest = []
        beta = float((batch.label == self._real).double().mean())
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                continue
            if self._marks:
                self._latest.append({"layer": name, "beta": beta, **self._edit(name, parameter, beta)})
            if self.old == "step":
                self._old[name] = parameter.grad.detach().clone()

    def _edit(self, name: str, parameter: nn.Parameter, beta: float) -> dict[str, Any]:
        gradient, region = parameter.grad, self._regions[name]
        assert gradient is not None
        along = _along(gradient, self._old[name])
        across = gradient - along
        edited = torch.where(region == _REAL, along, gradient)
        edited = torch.where(region == _FAKE, across, edited)
        edited = torch.where(region == _REAL | _FAKE, torch.lerp(across, along, beta), edited)
        edited = torch.lerp(gradient, edited, self.strength)
        if self._moved < NO_TURN:
            self._moved = max(self._moved, turning(gradient, edited))
        parameter.grad = edited
        return {"gradient_ratio": length_ratio(gradient, edited), **self._counts[name]}

    def end_task(self, learning: Learning, task: Task) -> None:
        """Check that regions acted; mark what mattered for this task."""
        if not self.strength:
            return
        if self._marks and self._moved < NO_TURN:
            raise RunError(
                f"task {task.name!r}: no gradient was changed, so this would be naive under another "
                "name; lower quantile or release."
            )
        importance = {
            bit: fisher(replace(learning, data=partial(self._clips_of, learning, bit)), "empirical")
            for bit in (_REAL, _FAKE)
        }
        self._marks.append({name: self._mark(name, importance) for name in self._parameters})
        if self.old == "task":
            self._old = self._mean_gradient(learning)
        self._sort()

    def _clips_of(self, learning: Learning, group: int) -> Iterator[Batch]:
        """A pass over the clips of one group."""
        for batch in learning.data():
            wanted = (batch.label == self._real) == (group == _REAL)
            if wanted.any():
                yield rows_of(batch, wanted.nonzero()[:, 0])

    def _mark(self, name: str, importance: dict[int, Importance]) -> Tensor:
        mark = torch.zeros_like(self._parameters[name], dtype=torch.uint8)
        for bit, of_group in importance.items():
            values = of_group[name]  # NaN if the task has no clip of the group, which marks nothing
            limit = _quantile(values, self.quantile) * (1 - _TIE)
            enough = (values >= limit) & (values > 0)
            mark |= bit * enough.to(torch.uint8)
        return mark

    def _mean_gradient(self, learning: Learning) -> dict[str, Tensor]:
        weights = list(self._parameters.values())
        total, clips = [torch.zeros_like(w) for w in weights], 0
        with quiet(learning.detector), torch.enable_grad():
            for batch in learning.data():
                own = gradients_on(learning, batch.to(learning.detector.device), weights)
                torch._foreach_add_(total, own, alpha=len(batch))
                clips += len(batch)
        return dict(zip(self._parameters, torch._foreach_div(total, clips), strict=True))

    def action(self) -> list[dict[str, Any]]:
        """Per parameter: ||g'|| / ||g||, beta, weights in each region, share of them not in A."""
        return self._latest

    def state(self) -> dict[str, Any]:
        """Marks of each task and the old gradient."""
        return {"marks": list(self._marks), "old": dict(self._old), "moved": self._moved}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        place = detector.device
        self._marks = [{n: m.to(place, copy=True) for n, m in one.items()} for one in state["marks"]]
        self._old = {n: g.to(place, copy=True) for n, g in state["old"].items()}
        self._moved = state["moved"]
        self._set_up(detector)

    def storage(self) -> Storage:
        """A byte a weight and task, and the gradient."""
        kept = [value for one in (*self._marks, self._old) for value in one.values()]
        return Storage(bytes=sum(value.numel() * value.element_size() for value in kept))


def _named(parameter: str, pattern: str) -> bool:
    return fnmatchcase(parameter, pattern) or fnmatchcase(parameter.rpartition(".")[0], pattern)


def _count(region: Tensor) -> dict[str, Any]:
    """Weights in each region, and the share of them that are not free."""
    neither, real, fake, both = region.flatten().long().bincount(minlength=4).tolist()
    share = 1 - neither / region.numel()
    return {"neither": neither, "real": real, "fake": fake, "both": both, "rank_energy": share}


def _along(gradient: Tensor, old: Tensor) -> Tensor:
    """(g.h / h.h) h; zero where there is no h."""
    size = float((old * old).sum())
    return old * (float((gradient * old).sum()) / size) if size else torch.zeros_like(gradient)


def _quantile(values: Tensor, share: float) -> Tensor:
    """The quantile between order statistics, of tensors of any size (torch's stops at 2^24)."""
    place = share * (values.numel() - 1)
    low, high = math.floor(place), math.ceil(place)
    ordered = values.flatten().sort().values
    return torch.lerp(ordered[low], ordered[high], place - low)
