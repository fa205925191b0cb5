"""What EWC, SI and MAS share: a quadratic that holds weights near where they mattered.

Every past task k pulls with importance W_k towards its weights t_k. Up to a constant the sum over
tasks is one quadratic, of importance W = sum W_k around the centre c = sum W_k t_k / W. These two
tensors a parameter are kept, however many tasks there were; the gradient is s W (w - c).

An ``explicit`` penalty adds that to the batch's gradient g, and diverges once rate x s x max W > 2
(grids of published libraries end in NaN there). The ``implicit`` form takes the penalty where the
step ends: w' = w - rate (g + s W (w' - c)), which is a step along (g + s W (w - c)) / (1 + rate s W)
and for a huge s leaves the weights where they were. Both rest where g + s W (w - c) = 0, with momentum
too; to move w to w' after an optimiser with momentum m would pull only 1 - m times as much.
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
        form: ``implicit`` never diverges with SGD; ``explicit`` is the penalty's plain gradient. Adam
            rescales what the implicit form divides by: there the forms differ little.
    """

    factor = 1.0  # of strength, so that the gradient is factor x strength x importance x distance

    def __init__(self, *, strength: float, form: Literal["implicit", "explicit"] = "implicit"):
        if not 0 <= strength < float("inf"):
            raise SettingsError(f"strength is {strength}, expected >= 0 and finite.")
        self.strength, self.form = strength, form
        self._importance: dict[str, Tensor] = {}
        self._centre: dict[str, Tensor] = {}

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
            total = self._importance.get(name, torch.zeros_like(new)) * fade + new
            share = torch.where(total > 0, new / total, 1.0)
            centre = self._centre.get(name, now[name])
            self._importance[name] = total
            self._centre[name] = now[name] if move else centre.lerp(now[name], share)

    @torch.no_grad()
    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Add the penalty's gradient; in the implicit form divide as well."""
        if not self.strength:
            return
        scale = self.factor * self.strength
        for name, weight in learning.detector.named_parameters():
            if name not in self._importance or weight.grad is None:
                continue
            importance, pull = self._importance[name], weight - self._centre[name]
            weight.grad.addcmul_(importance, pull, value=scale)
            if self.form == "implicit":
                one = torch.ones((), dtype=pull.dtype, device=pull.device)
                weight.grad.div_(torch.add(one, importance, alpha=learning.rate * scale, out=pull))

    def state(self) -> dict[str, Any]:
        """Importance and centre."""
        return {"importance": self._importance, "centre": self._centre}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up a saved state."""
        self._importance = {n: v.to(detector.device) for n, v in state["importance"].items()}
        self._centre = {n: v.to(detector.device) for n, v in state["centre"].items()}

    def storage(self) -> Storage:
        """Two tensors a parameter, however many tasks there were."""
        kept = (*self._importance.values(), *self._centre.values())
        return Storage(bytes=sum(v.numel() * v.element_size() for v in kept))
