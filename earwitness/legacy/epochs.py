"""Loss and accuracy of every training epoch, gathered step by step so that a kill loses nothing.

Two files: one line an epoch that is complete, and the lines of the steps of the latest one. A run that
goes on repeats some steps; the same step gives the same line, so only the first of each counts.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.files import append_line, read_text, write_text

__all__ = ["EpochBook"]


class EpochBook:
    """Notes steps as the loop reports them, and gives back what there is of each epoch.

    Args:
        folder, name: ``folder/name.epochs.jsonl`` and ``folder/name.steps.jsonl``.
        epochs: passes a task.
    """

    def __init__(self, folder: Path, name: str, epochs: int):
        self.files = tuple(folder / f"{name}.{kind}.jsonl" for kind in ("epochs", "steps"))
        self.epochs = epochs
        self.done = {(e["position"], e["epoch"]): e for e in _lines(self.files[0])}
        self.steps = {s["step"]: s for s in _lines(self.files[1])}

    def forget(self) -> None:
        """Begin anew."""
        for file in self.files:
            file.unlink(missing_ok=True)
        self.done, self.steps = {}, {}

    def note(self, record: Mapping[str, Any], told: Mapping[str, int]) -> None:
        """A record of the loop, and ``right`` and ``clips`` where accuracy could be seen."""
        step = {key: record[key] for key in ("position", "epoch", "step", "loss")} | dict(told)
        here = (step["position"], step["epoch"])
        if any((s["position"], s["epoch"]) != here for s in list(self.steps.values())[:1]):
            self.steps = {}
            self.files[1].unlink(missing_ok=True)
        if step["step"] not in self.steps:
            self.steps[step["step"]] = step
            append_line(self.files[1], step)
        if here not in self.done and len(self.steps) == record["steps"] // self.epochs:
            self.done[here] = {"position": here[0], "epoch": here[1], **self._summary()}
            append_line(self.files[0], self.done[here])

    def _summary(self) -> dict[str, float]:
        """Means over the clips of the epoch, and the same of its last batch."""
        steps = [self.steps[number] for number in sorted(self.steps)]
        weights = [step.get("clips", 1) for step in steps]
        loss = float(np.average([step["loss"] for step in steps], weights=weights))
        told = {"loss": loss, "last_loss": steps[-1]["loss"]}
        if all("right" in step for step in steps):
            told["accuracy"] = sum(step["right"] for step in steps) / sum(weights)
            told["last_accuracy"] = steps[-1]["right"] / steps[-1]["clips"]
        return told

    def of_task(self, position: int) -> list[dict[str, Any]]:
        """What there is of a task's epochs, in order."""
        return [self.done[place] for place in sorted(self.done) if place[0] == position]


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; one that a kill cut off is taken away."""
    whole = read_text(path).splitlines() if path.is_file() else []
    found = []
    for line in whole:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            write_text(path, "".join(f"{kept}\n" for kept in whole[: len(found)]))
            break
    return found
