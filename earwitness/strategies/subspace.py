"""What GPM, SGP and Adam-NSCL share: the space of old inputs, and learning outside of it.

A layer with weight W (outputs, d) gives W x for an input x. A change of W whose rows are orthogonal
to the inputs of earlier tasks leaves the layer's answers to them as they were. The methods differ in
how they find the space to stay out of; after each task they all look at its inputs once.
"""

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import RunError, SettingsError
from earwitness.strategies.base import Learning, Storage, Strategy, quiet
from earwitness.strategies.protected import ProtectedLayer, find_layers, hear
from earwitness.strategies.turning import NO_TURN, length_ratio, turning
from earwitness.streams import Task

__all__ = ["SubspaceStrategy", "triangle"]


def triangle(rows: Tensor) -> Tensor:
    """At most d rows R with the same R'R as ``rows`` (n, d): the triangular factor.

    It has the rows' singular values and right singular vectors to full precision, which R'R hasn't.

    >>> triangle(torch.tensor([[3.0], [4.0]])).abs().round().tolist()
    [[5.0]]
    """
    return torch.linalg.qr(rows, mode="r").R if len(rows) > rows.shape[1] else rows


class SubspaceStrategy(Strategy):
    """Abstract: a subclass says what is ``learned`` from inputs and how a matrix is ``turned``.

    Args:
        layers: names of the protected layers, with ``*`` wildcards; frozen ones are left out.
        bias: protect [W b] as one matrix, the bias having the constant input 1. Without it, biases
            belong to the rest.
        rest: what becomes, after the first task, of parameters that no protected layer holds (scales
            and shifts of normalisation): ``frozen``, without which old answers change all the same,
            or ``free``.
        strength: 0 leaves gradients alone (same as naive), 1 is the method.
        per_clip: frames or positions of a clip that are looked at, at most.

    Running statistics of batch normalisation go on following the data, and with them old answers;
    back ends with ``norm="clip"`` have none.
    """

    project: Literal["gradient", "update"] = "update"  # turn gradients, or what the optimiser did
    clips: int | None = None  # of a task that are looked at, drawn at random; None: all

    def __init__(
        self,
        *,
        layers: tuple[str, ...] = ("*",),
        bias: bool = True,
        rest: Literal["frozen", "free"] = "frozen",
        strength: float = 1.0,
        per_clip: int = 64,
    ):
        if not 0 <= strength <= 1:
            raise SettingsError(f"strength is {strength}, expected 0 (naive) to 1 (the method).")
        if per_clip < 1:
            raise SettingsError(f"per_clip is {per_clip}, expected >= 1.")
        self.patterns, self.bias, self.rest = layers, bias, rest
        self.strength, self.per_clip = strength, per_clip
        self._layers: list[ProtectedLayer] = []
        self._before: dict[str, Tensor] = {}
        self._latest: dict[str, float] = {}  # ||turned|| / ||given|| of each layer
        self._moved = 0.0

    @abstractmethod
    def learn(self, name: str, inputs: Tensor, position: int) -> None:
        """Take up the finished task's inputs (n, d), float64; n <= d rows stand for all of them."""

    @abstractmethod
    def turn(self, name: str, matrix: Tensor) -> Tensor:
        """A gradient or update (outputs, d) turned out of the space of old inputs."""

    @abstractmethod
    def share(self, name: str) -> float:
        """The share of the layer's input space that is protected, 0 to 1."""

    @abstractmethod
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What is kept: by kind, a matrix or vector of each layer."""

    def rows(self, layer: ProtectedLayer, inputs: Tensor) -> Tensor:
        """What to look at of one batch's inputs: (n, d)."""
        return layer.samples(inputs, self.per_clip)

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Find the layers."""
        self._set_up(learning.detector)
        self._moved = 0.0

    def _set_up(self, detector: Detector) -> None:
        if self._layers:
            return
        found = find_layers(detector, self.patterns, bias=self.bias)
        self._layers = [layer for layer in found if layer.module.weight.requires_grad]
        if not self._layers:
            names = ", ".join(layer.name for layer in found)
            raise SettingsError(f"layers: {names} are all frozen, so there is nothing to protect.")

    def _acts(self, learning: Learning) -> bool:
        return self.strength > 0 and learning.position > 0

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Turn each protected gradient (or, later, each update); hold the rest."""
        if not self._acts(learning):
            return
        self._before = {}
        for layer in self._layers:
            gradient = layer.gradient()
            if gradient is None:
                continue
            if self.project == "update":
                self._before[layer.name] = layer.weight().detach().clone()
            else:
                layer.set_gradient(self._turned(layer, gradient))
        if self.rest == "frozen":
            for parameter in self._others(learning.detector):
                # None, so that neither momentum nor weight decay moves it.
                left = 1 - self.strength
                parameter.grad = parameter.grad * left if left and parameter.grad is not None else None

    def _others(self, detector: Detector) -> Iterator[nn.Parameter]:
        held = {id(layer.module.weight) for layer in self._layers}
        held |= {id(layer.module.bias) for layer in self._layers if layer.bias}
        return (p for p in detector.parameters() if id(p) not in held)

    def _turned(self, layer: ProtectedLayer, matrix: Tensor) -> Tensor:
        turned = torch.lerp(matrix, self.turn(layer.name, matrix), self.strength)
        self._latest[layer.name] = length_ratio(matrix, turned)
        if self._moved < NO_TURN:
            self._moved = max(self._moved, turning(matrix, turned))
        return turned

    def after_step(self, learning: Learning) -> None:
        """With ``project="update"``, turn what the optimiser did."""
        for layer in self._layers:
            if layer.name in self._before:
                before = self._before.pop(layer.name)
                update = layer.weight().detach() - before
                layer.set_weight(before + self._turned(layer, update))

    def end_task(self, learning: Learning, task: Task) -> None:
        """Check that the task was really learned in the new directions; look at its inputs."""
        if not self.strength:
            return
        if learning.position > 0 and self._moved < NO_TURN:
            raise RunError(
                f"task {task.name!r}: the strategy turned no gradient of its "
                f"{len(self._layers)} protected layer(s), so it would be naive under another name; "
                "are their inputs nearly zero, or is the protected space empty?"
            )
        for name, inputs in self._look(learning, self.clips).items():
            self.learn(name, inputs, learning.position)

    def _look(self, learning: Learning, left: int | None) -> dict[str, Tensor]:
        """Each layer's inputs in one pass, as triangular factors."""
        seen: dict[str, Tensor] = {}

        def take(layer: ProtectedLayer, inputs: Tensor) -> None:
            rows = self.rows(layer, inputs[:left]).double()
            rows = torch.cat([seen[layer.name], rows]) if layer.name in seen else rows
            seen[layer.name] = triangle(rows) if len(rows) > 4 * layer.dim else rows

        with quiet(learning.detector), hear(self._layers, take):
            for batch in learning.data():  # in an order shuffled once and for all
                batch = batch.to(learning.detector.device)  # noqa: PLW2901
                learning.detector.hear(batch)
                if left is not None and (left := left - len(batch)) <= 0:
                    break
        unheard = [layer.name for layer in self._layers if layer.name not in seen]
        if unheard:
            raise RunError(
                f"layers {', '.join(unheard)} were never called in the pass over the task, so their "
                "inputs can't be protected; choose others with layers=[...]."
            )
        return {name: triangle(rows) for name, rows in seen.items()}

    def action(self) -> list[dict[str, Any]]:
        """Per layer: ||turned|| / ||gradient or update||, share of directions protected."""
        return [
            {"layer": name, "gradient_ratio": ratio, "rank_energy": self.share(name)}
            for name, ratio in self._latest.items()
        ]

    def check_optimiser(self, optimiser: str, weight_decay: float) -> None:
        """Warn where the step isn't along the turned gradient."""
        culprit = optimiser if optimiser != "sgd" else "weight decay" if weight_decay else ""
        if self.project == "gradient" and culprit and self.strength:
            warnings.warn(
                f"{culprit} takes updates out of the projected direction, so old inputs are not "
                "protected; use the strategy's project='update', or SGD without weight decay.",
                stacklevel=4,
            )

    def state(self) -> dict[str, Any]:
        """What is kept, and whether the task's gradients were turned so far."""
        kept = {kind: dict(mine) for kind, mine in self.tensors().items()}
        return {"kept": kept, "moved": self._moved}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        self._set_up(detector)
        self._moved = state["moved"]
        for kind, mine in self.tensors().items():
            kept = state["kept"][kind].items()
            mine.clear()
            mine.update({name: value.to(detector.device, copy=True) for name, value in kept})

    def storage(self) -> Storage:
        """Those matrices; no clip is kept."""
        kept = [value for one in self.tensors().values() for value in one.values()]
        return Storage(bytes=sum(value.numel() * value.element_size() for value in kept))
