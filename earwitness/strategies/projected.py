"""What OWM, RAWM and RWM share: a projector a layer, when it learns, and where it acts.

Every disagreement between the papers and the released code is an option here, with the choice we
recommend as its default (numbers D1-D20 are those of the decision record on the OWM family).
"""

import warnings
from contextlib import ExitStack
from fnmatch import filter as filter_names
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import RunError, SettingsError
from earwitness.strategies.base import Learning, Storage, Strategy, quiet
from earwitness.strategies.projection import Projector
from earwitness.strategies.protected import ProtectedLayer, find_layers, listen
from earwitness.strategies.released import ReleasedProjector
from earwitness.strategies.turning import NO_TURN, length_ratio, turning
from earwitness.streams import Task

__all__ = ["ProjectedStrategy"]

_FLUSH = 128  # mean inputs gathered before one block update


class ProjectedStrategy(Strategy):
    """Abstract: a subclass says the ``direction`` of a batch.

    Args:
        layers: names of the protected layers, with ``*`` wildcards (D2; released: one bare layer).
        alpha: regularisation of P (D12). ``alpha_decay``: alpha falls to alpha x this over a task.
        alphas: alpha for layers by pattern, overriding ``alpha``.
        timing: ``post_task`` learns P from one pass after each task; ``online_all`` before every
            batch's gradient from the start; ``online_t2`` the same from task 2 on, which leaves
            task 1 unprotected (what the released code does once its gate is opened) (D13).
        project: ``gradient``, or ``update``: the optimiser's step itself, needed with Adam.
        bias: protect [W b] as one matrix; without it biases learn freely.
        strength: 0 leaves gradients alone (same as naive), 1 is the method.
        precision: of P; float32 is mended after each task.
        positions: a convolution's inputs are heard at every n-th position.
        frames: inputs before attention pooling are averaged over frames, or heard one by one.
        inputs: P learns from the ``means`` of batches, as published, or from the ``samples``
            themselves, which protects what varies from clip to clip too (not in the papers).
        denominator, normalise_state, complement, rcond: D3, D4, D5, see ``released``.
        direction_norm: of P and Q in RAWM's and RWM's direction. ``frobenius`` as published: it
            shrinks steps by about sqrt(d) and makes those along old inputs the larger ones.
    """

    def __init__(
        self,
        *,
        layers: tuple[str, ...] = ("*",),
        alpha: float = 1.0,
        alpha_decay: float = 1.0,
        alphas: dict[str, float] | None = None,
        timing: Literal["post_task", "online_all", "online_t2"] = "post_task",
        project: Literal["gradient", "update"] = "gradient",
        bias: bool = False,
        strength: float = 1.0,
        precision: Literal["float64", "float32"] = "float64",
        positions: int = 1,
        frames: Literal["mean", "each"] = "mean",
        inputs: Literal["means", "samples"] = "means",
        denominator: Literal["scalar", "official"] = "scalar",
        normalise_state: bool = False,
        complement: Literal["identity_minus_p", "pinv", "official_solve"] = "identity_minus_p",
        rcond: float = 1e-3,
        direction_norm: Literal["frobenius", "spectral", "none"] = "frobenius",
    ):
        if not 0 <= strength <= 1:
            raise SettingsError(f"strength is {strength}, expected 0 (naive) to 1 (the method).")
        if not (0 < alpha_decay <= 1 and positions >= 1):
            raise SettingsError(
                f"expected 0 < alpha_decay <= 1 and positions >= 1, not {alpha_decay} and {positions}."
            )
        self.patterns, self.alpha, self.alpha_decay = layers, alpha, alpha_decay
        self.alphas = alphas or {}
        self.timing, self.project, self.bias, self.strength = timing, project, bias, strength
        self.precision = {"float64": torch.float64, "float32": torch.float32}[precision]
        self.positions, self.frames, self.inputs = positions, frames, inputs
        self.released = {
            "denominator": denominator,
            "normalise_state": normalise_state,
            "complement": complement,
            "rcond": rcond,
        }
        self.direction_norm = direction_norm
        self._layers: list[ProtectedLayer] = []
        self._projectors: dict[str, Projector | ReleasedProjector] = {}
        self._old: dict[str, Tensor] = {}  # running mean of all inputs of earlier tasks
        self._old_counts: dict[str, int] = {}
        self._beta: float | None = None
        self._heard: dict[str, Tensor] = {}
        self._ears = ExitStack()
        self._before: dict[str, Tensor] = {}
        self._latest: dict[str, dict[str, Any]] = {}
        self._moved = 0.0

    def direction(self, learning: Learning, batch: Batch, output: Output) -> float | None:
        """The batch's beta; None projects onto P alone."""
        return None

    @property
    def observes(self) -> bool:
        """Whether ``observe`` has anything to do."""
        return False

    def observe(self, output: Output, batch: Batch) -> None:
        """Look at a batch of the finished task, in the pass that ``post_task`` makes anyhow."""

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Find the layers; start listening when P learns online."""
        self._set_up(learning.detector)
        self._moved = 0.0
        if self._learns_online(learning):
            self._ears.close()
            self._heard = self._ears.enter_context(listen(self._layers, training_only=True))

    def _set_up(self, detector: Detector) -> None:
        if self._layers:
            return
        self._layers = find_layers(
            detector,
            self.patterns,
            bias=self.bias,
            positions=self.positions,
            frames=self.frames,
            inputs=self.inputs,
        )
        names = [layer.name for layer in self._layers]
        for pattern in self.alphas:
            if not filter_names(names, pattern):
                raise SettingsError(
                    f"alphas: {pattern!r} matches no protected layer; they are {', '.join(names)}."
                )
        self._projectors = {layer.name: self._projector(layer, detector) for layer in self._layers}

    def _projector(self, layer: ProtectedLayer, detector: Detector) -> Any:
        alpha = next((a for p, a in self.alphas.items() if fnmatchcase(layer.name, p)), self.alpha)
        place = (layer.dim, alpha, self.precision, detector.device)
        repaired = ("scalar", False, "identity_minus_p")
        if tuple(self.released.values())[:3] == repaired:
            return Projector(*place)
        return ReleasedProjector(*place, **self.released)  # type: ignore[arg-type]

    def _learns_online(self, learning: Learning) -> bool:
        return self.timing == "online_all" or (self.timing == "online_t2" and learning.position > 0)

    def _acts(self, learning: Learning) -> bool:
        return self.strength > 0 and (learning.position > 0 or self.timing == "online_all")

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """The batch as it is; what is heard next is the step's own forward pass."""
        self._heard.clear()
        return batch

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Turn each protected gradient (or, later, each update) into the method's direction."""
        acts, online = self._acts(learning), self._learns_online(learning)
        if not (acts or online):
            return
        self._beta = self.direction(learning, batch, output)
        self._before = {}
        for layer in self._layers:
            gradient = layer.gradient()
            if gradient is None:
                continue
            product = self._hear(layer, gradient, learning) if online else None
            if acts and self.project == "update":
                self._before[layer.name] = layer.weight().detach().clone()
            elif acts:
                layer.set_gradient(self._turn(layer, gradient, product))

    def _hear(self, layer: ProtectedLayer, gradient: Tensor, learning: Learning) -> Tensor | None:
        """Let P learn this batch's inputs; gives G P where one reading of P gave both."""
        projector, rows = self._projectors[layer.name], self._heard[layer.name]
        alpha = projector.alpha * self.alpha_decay**learning.progress
        self._note_old(layer.name, rows)
        if len(rows) == 1:
            return projector.step(rows[0], gradient, alpha)
        projector.update_block(rows, alpha)
        return None

    def _turn(self, layer: ProtectedLayer, matrix: Tensor, product: Tensor | None) -> Tensor:
        projector = self._projectors[layer.name]
        if product is None:
            turned = projector.modify(matrix, self._beta, norm=self.direction_norm)
        else:
            turned = projector.direct(matrix, product, self._beta, self.direction_norm)
        if self.strength < 1:
            turned = torch.lerp(matrix, turned, self.strength)
        if matrix.any():
            self._moved = max(self._moved, turning(matrix, turned))
            ratio = length_ratio(matrix.double(), turned.double())
            self._latest[layer.name] = {"gradient_ratio": ratio, "beta": self._beta}
        return turned

    def after_step(self, learning: Learning) -> None:
        """With ``project="update"``, turn what the optimiser did."""
        for layer in self._layers:
            if layer.name in self._before:
                before = self._before.pop(layer.name)
                update = layer.weight().detach() - before
                layer.set_weight(before + self._turn(layer, update, None))

    def end_task(self, learning: Learning, task: Task) -> None:
        """Check that the task was really learned in the new direction; let P learn the task."""
        self._ears.close()
        if learning.position > 0 and self.strength > 0 and self._moved < NO_TURN:
            raise RunError(
                f"task {task.name!r}: the strategy turned no gradient of its "
                f"{len(self._layers)} protected layer(s), so it would be naive under another name; "
                "are the chosen layers frozen, their inputs nearly zero, or alpha far too large?"
            )
        self._pass_over_task(learning)
        if self.precision == torch.float32:
            for projector in self._projectors.values():
                projector.rebuild()

    def _pass_over_task(self, learning: Learning) -> None:
        if self.timing != "post_task" and not self.observes:
            return
        waiting: dict[str, list[Tensor]] = {layer.name: [] for layer in self._layers}
        detector = learning.detector
        with quiet(detector), listen(self._layers, training_only=False) as heard:
            for number, batch in enumerate(learning.data()):
                batch = batch.to(detector.device)  # noqa: PLW2901
                heard.clear()
                self.observe(detector.hear(batch), batch)
                if self.timing == "post_task":
                    decay = self.alpha_decay ** (number / learning.batches)
                    for name, rows in heard.items():
                        self._note_old(name, rows)
                        waiting[name].append(rows.double() / decay**0.5)
                        self._flush(name, waiting, _FLUSH)
        for name in waiting:
            self._flush(name, waiting, 1)
        unheard = [layer.name for layer in self._layers if layer.name not in self._old]
        if self.timing == "post_task" and unheard:
            raise RunError(
                f"layers {', '.join(unheard)} were never called in the pass over the task, so their "
                "inputs can't be protected; choose others with layers=[...]."
            )

    def _flush(self, name: str, waiting: dict[str, list[Tensor]], least: int) -> None:
        """A row heard at alpha x decay weighs as much as one divided by sqrt(decay) at alpha."""
        if sum(map(len, waiting[name])) >= least:
            self._projectors[name].update_block(torch.cat(waiting[name]))
            waiting[name] = []

    def _note_old(self, name: str, rows: Tensor) -> None:
        mean = rows.detach().double().mean(0).cpu()
        count = self._old_counts.get(name, 0)
        old = self._old.get(name, torch.zeros_like(mean))
        self._old[name] = old + (mean - old) / (count + 1)
        self._old_counts[name] = count + 1

    def action(self) -> list[dict[str, Any]]:
        """Per layer: ||GR||/||G||, ||P r_old||/||r_old||, beta, share of directions protected."""
        return [
            {
                "layer": name,
                **latest,
                "old_input_ratio": self._old_ratio(name),
                "rank_energy": self._projectors[name].rank_energy,
            }
            for name, latest in self._latest.items()
        ]

    def _old_ratio(self, name: str) -> float | None:
        old = self._old.get(name)
        if old is None or not float(old.norm()):
            return None
        p = self._projectors[name].p
        return float((p @ old.to(p)).norm() / old.to(p).norm())

    def state(self) -> dict[str, Any]:
        """Projectors and the mean of old inputs."""
        return {
            "projectors": {name: p.state() for name, p in self._projectors.items()},
            "old": self._old,
            "old_counts": self._old_counts,
            "moved": self._moved,
        }

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        self._set_up(detector)
        for name, saved in state["projectors"].items():
            self._projectors[name].load(saved)
        self._old = dict(state["old"])
        self._old_counts = dict(state["old_counts"])
        self._moved = state["moved"]

    def check_optimiser(self, optimiser: str, weight_decay: float) -> None:
        """Adam's scaling and weight decay take updates out of a projected gradient's direction."""
        culprit = optimiser if optimiser != "sgd" else "weight decay" if weight_decay else ""
        if self.project == "gradient" and culprit:
            warnings.warn(
                f"{culprit} takes updates out of the projected direction, so old inputs are not "
                "protected; use the strategy's project='update', or SGD without weight decay.",
                stacklevel=4,
            )

    def storage(self) -> Storage:
        """One matrix a layer; no clip is kept."""
        size = sum(p.p.numel() * p.p.element_size() for p in self._projectors.values())
        return Storage(bytes=size)
