"""A frozen copy of the detector as it was after the last task, to learn from."""

import copy
from typing import Any

import torch
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector

__all__ = ["Teacher", "distillation"]


class Teacher:
    """Nobody until ``take``. In evaluation mode for good: no dropout, statistics that don't move.

    It answers by its logits, and names the classes that the detector knew when it was taken.

    >>> bool(Teacher())
    False
    """

    def __init__(self) -> None:
        self._model: Detector | None = None

    def __bool__(self) -> bool:
        return self._model is not None

    @property
    def model(self) -> Detector:
        """The copy."""
        assert self._model is not None, "nobody has been taken as teacher yet"
        return self._model

    @property
    def known(self) -> list[int]:
        """Indices of the classes it could name."""
        return [self.model.classes.index(name) for name in self.model.known]

    def take(self, detector: Detector) -> None:
        """Copy the detector as it is now."""
        self._model = copy.deepcopy(detector).eval().requires_grad_(False)
        for module in self._model.modules():  # who listens to the detector doesn't mean the copy
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
        self._model.set_rule(None)  # never asked, and some hold many clips

    @torch.no_grad()
    def output(self, batch: Batch) -> Output:
        """Its logits and embeddings."""
        return self.model.hear(batch)

    def state(self) -> dict[str, Any] | None:
        """Weights, and the classes it could name; None for nobody."""
        if not self:
            return None
        return {"weights": dict(self.model.state_dict()), "known": list(self.model.known)}

    def load(self, state: dict[str, Any] | None, detector: Detector) -> None:
        """Take up a saved state, for a detector of the same build."""
        if state is None:
            self._model = None
            return
        self.take(detector)
        self.model.load_state_dict(state["weights"])
        self.model.know(state["known"])

    @property
    def bytes(self) -> int:
        """Size of the copy."""
        values = self.model.state_dict().values() if self else ()
        return sum(v.numel() * v.element_size() for v in values)


def distillation(new: Tensor, old: Tensor, temperature: float) -> Tensor:
    """Mean over clips of -sum_c softmax(old / T)_c log softmax(new / T)_c; both (batch, classes).

    Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network" (2015), without the factor
    T^2.

    >>> z = torch.zeros(1, 2)
    >>> round(distillation(z, z, 2.0).item(), 4)
    0.6931
    """
    target = (old.detach() / temperature).softmax(1)
    return -(target * (new / temperature).log_softmax(1)).sum(1).mean()
