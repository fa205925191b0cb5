"""Synaptic intelligence: a weight matters by how much its path lowered the loss.

Zenke, Poole, Ganguli, "Continual learning through synaptic intelligence", ICML 2017: along a task
w_i = -sum over steps of g_i (change of weight i), g the gradient of the task's own loss; then
Omega_i += max(w_i, 0) / ((change over the task)^2 + xi), and L + c sum_i Omega_i (w_i - w*_i)^2.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.strategies.anchor import Anchored, weights_of
from earwitness.strategies.base import Learning
from earwitness.streams import Task

__all__ = ["SI"]


class SI(Anchored):
    """Importance from the path, at no extra pass over the data.

    The gradient is that of the task's loss before any penalty; the change is the whole step, whatever
    made it, so that the w_i add up to what the loss fell. Both are the paper's. All tasks pull to the
    latest weights, as there.

    Args:
        strength: c, without a factor 1/2. ``form``: see ``Anchored``.
        damping: xi, which bounds the importance of weights that hardly moved.

    >>> SI(strength=0.1).damping
    0.1
    """

    source = "Zenke et al., ICML 2017"
    keeps = "importance of each weight, and where it is held"
    factor = 2.0

    def __init__(
        self,
        *,
        strength: float = 0.1,
        form: Literal["implicit", "explicit"] = "implicit",
        damping: float = 0.1,
    ):
        super().__init__(strength=strength, form=form)
        if not damping > 0:
            raise SettingsError(f"damping is {damping}, expected > 0.")
        self.damping = damping
        self._start: dict[str, Tensor] = {}
        self._path: dict[str, Tensor] = {}
        self._step: dict[str, tuple[Tensor, Tensor]] = {}  # weight before it, gradient of the loss

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Remember where the path starts."""
        self._start = weights_of(learning.detector)
        self._path = {name: torch.zeros_like(value) for name, value in self._start.items()}

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Note weights, and gradients before anything is added to them."""
        if self.strength:
            self._step = {
                n: (p.detach().clone(), p.grad.clone())
                for n, p in learning.detector.named_parameters()
                if p.grad is not None
            }
        super().edit_gradients(learning, batch, output)

    @torch.no_grad()
    def after_step(self, learning: Learning) -> None:
        """Add the step to the path."""
        for name, parameter in learning.detector.named_parameters():
            if name in self._step:
                weight, gradient = self._step[name]
                self._path[name].addcmul_(gradient, weight.sub_(parameter))
        self._step = {}

    def end_task(self, learning: Learning, task: Task) -> None:
        """Turn the path into importance."""
        if not self.strength:
            return
        now = weights_of(learning.detector)
        new = {
            name: path.clamp(min=0) / ((now[name] - self._start[name]).square() + self.damping)
            for name, path in self._path.items()
        }
        self.hold(learning.detector, new, move=True)
        self._start, self._path = {}, {}

    def state(self) -> dict[str, Any]:
        """The base's state, and the path so far."""
        return {**super().state(), "start": self._start, "path": self._path}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        super().load(state, detector)
        self._start = {n: v.to(detector.device, copy=True) for n, v in state["start"].items()}
        self._path = {n: v.to(detector.device, copy=True) for n, v in state["path"].items()}
