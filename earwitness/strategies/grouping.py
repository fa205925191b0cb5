"""Which classes are compact (the same across tasks) and which are spread out.

By a table from the user, by one of the presets of the released code, or ``auto``: a class is
compact when its in-class cosine distance, over all tasks seen, is below the mean over classes.
"""

from typing import Any

import torch
from torch import Tensor

from earwitness.errors import SettingsError, nearest
from earwitness.strategies.projection import pair_distance

__all__ = ["PRESETS", "Grouping"]

_CLEAR10 = ("BACKGROUND", "baseball", "bus", "camera", "cosplay", "dress", "hockey", "laptop",
            "racing", "soccer", "sweater")  # fmt: skip

# preset -> (classes in order, compact classes); the two CLEAR tables disagree in the released code.
PRESETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "genuine-fake": (("bonafide", "spoof"), ("bonafide",)),
    "clear10-rwm": (_CLEAR10, ("baseball", "hockey", "laptop", "soccer")),
    "clear10-rawm": (_CLEAR10, ("baseball", "soccer", "hockey", "laptop", "camera")),
}


class Grouping:
    """Says for each sample whether its class is compact.

    Args:
        compact: a preset's name, ``auto``, or the names of the compact classes.

    >>> grouping = Grouping("genuine-fake")
    >>> grouping.bind(("bonafide", "spoof"))
    >>> grouping.is_compact(torch.tensor([0, 1]))
    tensor([ True, False])

    Raises:
        SettingsError: an unknown preset or class.
    """

    def __init__(self, compact: str | tuple[str, ...]):
        self.auto = compact == "auto"
        self.names = () if self.auto else self._names(compact)
        self.classes: tuple[str, ...] = ()
        self.table = torch.zeros(0, dtype=torch.bool)
        self._sums: dict[str, Tensor] = {}

    def bind(self, classes: tuple[str, ...]) -> None:
        """Say what the classes are, in the order of the logits; only the first call counts."""
        if self.classes:
            return
        self.classes = classes
        self.table = torch.zeros(len(classes), dtype=torch.bool)
        for name in self.names:
            if name not in classes:
                raise SettingsError(
                    f"compact class {name!r} is not a class{nearest(name, classes)} "
                    f"Classes: {', '.join(classes)}."
                )
            self.table[classes.index(name)] = True

    @staticmethod
    def _names(compact: str | tuple[str, ...]) -> tuple[str, ...]:
        if not isinstance(compact, str):
            return compact
        if compact not in PRESETS:
            known = ["auto", *PRESETS]
            raise SettingsError(
                f"compact={compact!r} is no preset{nearest(compact, known)} "
                f"Known: {', '.join(known)}; or give the list of compact classes."
            )
        return PRESETS[compact][1]

    def is_compact(self, labels: Tensor) -> Tensor:
        """(batch,) boolean for class indices (batch,)."""
        return self.table.to(labels.device)[labels]

    def observe(self, features: Tensor, labels: Tensor) -> None:
        """Add the features (batch, dim) of a task's samples to the running sums (``auto`` only)."""
        if not self.auto:
            return
        unit = torch.nn.functional.normalize(features.detach().double().cpu(), dim=1)
        labels = labels.cpu()
        if not self._sums:
            n = len(self.classes)
            self._sums = {
                "total": torch.zeros(n, unit.shape[1], dtype=torch.float64),
                "squares": torch.zeros(n, dtype=torch.float64),
                "count": torch.zeros(n, dtype=torch.float64),
            }
        self._sums["total"].index_add_(0, labels, unit)
        self._sums["squares"].index_add_(0, labels, unit.square().sum(1))
        self._sums["count"].index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))

    def settle(self) -> None:
        """Decide anew from all that was observed (``auto`` only)."""
        if self.auto and self._sums:
            distance = pair_distance(**self._sums)
            self.table = distance < distance.nanmean()

    def state(self) -> dict[str, Any]:
        """The table and the running sums."""
        return {"table": self.table, "sums": self._sums}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.table, self._sums = state["table"], dict(state["sums"])
