"""What EWC, SI and MAS share: a quadratic that holds weights near where they mattered.

Every past task k pulls with importance W_k towards its weights t_k. The sum over tasks is one
quadratic, of which W = sum W_k and the pull W t = sum W_k t_k are kept: two tensors a parameter,
however many tasks there were, and the same gradient, s (W w - W t), as the sum has.

An explicit penalty diverges once rate x s x max W > 2 (grids of published libraries end in NaN
there). The ``implicit`` form takes the step's minimiser instead, after the optimiser's step:
w <- (w + rate s Wt) / (1 + rate s W), which for a huge s leaves the weights where they were.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning, Storage, Strategy

__all__ = ["Anchored", "weights_of"]


def weights_of(detector: nn.Module) -> dict[str, Tensor]:
    """Copies of the trainable parameters, never the parameters themselves."""
    return {n: p.detach().clone() for n, p in detector.named_parameters() if p.requires_grad}


class Anchored(Strategy):
    """Abstract: a subclass says at the end of a task how much each weight matters.

    Args:
        strength: of the pull; 0 is the same as naive.
        form: ``implicit`` never diverges; ``explicit`` adds the penalty's gradient to the batch's.
    """

    factor = 1.0  # of strength, so that the gradient is factor x strength x importance x distance

    def __init__(self, *, strength: float, form: Literal["implicit", "explicit"] = "implicit"):
        if strength < 0:
            raise SettingsError(f"strength is {strength}, expected >= 0.")
        self.strength, self.form = strength, form
        self._importance: dict[str, Tensor] = {}
        self._pull: dict[str, Tensor] = {}

    def hold(
        self,
        detector: nn.Module,
        importance: Mapping[str, Tensor],
        *,
        fade: float = 1.0,
        move: bool = False,
    ) -> None:
        """Add a task's importance, at the weights as they are now.

        ``fade`` scales what was there; with ``move`` all of it pulls to the weights of now.
        """
        now = weights_of(detector)
        for name, new in importance.items():
            kept = self._importance.get(name, torch.zeros_like(new)) * fade + new
            pull = self._pull.get(name, torch.zeros_like(new)) * fade + new * now[name]
            self._importance[name] = kept
            self._pull[name] = kept * now[name] if move else pull

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Explicit form: add the penalty's gradient."""
        if self.form == "explicit" and self._acts:
            weights, importance, pull = self._held(learning.detector)
            scale = self.factor * self.strength
            towards = torch._foreach_mul(importance, weights)
            torch._foreach_sub_(towards, pull)
            gradients = [w.grad for w in weights if w.grad is not None]
            torch._foreach_add_(gradients, towards, alpha=scale)

    @torch.no_grad()
    def after_step(self, learning: Learning) -> None:
        """Implicit form: go on to the minimiser of penalty and distance."""
        if self.form == "implicit" and self._acts:
            weights, importance, pull = self._held(learning.detector)
            scale = learning.rate * self.factor * self.strength
            below = torch._foreach_mul(importance, scale)
            torch._foreach_add_(below, 1.0)
            torch._foreach_add_(weights, pull, alpha=scale)
            torch._foreach_div_(weights, below)

    @property
    def _acts(self) -> bool:
        return self.strength > 0 and bool(self._importance)

    def _held(self, detector: Detector) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Parameters with a gradient, their importance and pull."""
        held = [
            (p, self._importance[n], self._pull[n])
            for n, p in detector.named_parameters()
            if p.grad is not None and n in self._importance
        ]
        weights, importance, pull = (list(part) for part in zip(*held, strict=True))
        return weights, importance, pull

    def state(self) -> dict[str, Any]:
        """Importance and pull."""
        return {"importance": self._importance, "pull": self._pull}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        self._importance = {n: v.to(detector.device) for n, v in state["importance"].items()}
        self._pull = {n: v.to(detector.device) for n, v in state["pull"].items()}

    def storage(self) -> Storage:
        """Two tensors a parameter, however many tasks there were."""
        kept = (*self._importance.values(), *self._pull.values())
        return Storage(bytes=sum(v.numel() * v.element_size() for v in kept))
