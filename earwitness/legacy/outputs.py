"""What their scripts write, written again: text log, metrics as JSON, EER table, args.txt.

A log is a function of what was noted of each epoch and of the test metrics, and is written anew after
each task, so that a run which was stopped leaves the same files as one which was not.
"""

import json
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.files import read_text, write_text
from earwitness.legacy.logs import EVALUATION

__all__ = [
    "Tested",
    "read_eers",
    "read_metrics",
    "test_metrics",
    "train_metrics",
    "write_args",
    "write_eers",
    "write_log",
    "write_metrics",
]

_EER_LINE = re.compile(r"Train after Task(\d+) (\[.*\])")
_STREAM = "eval_phase/test_stream"

Metrics = dict[str, Any]  # name -> number, or the confusion matrix as lists


@dataclass(frozen=True)
class Tested:
    """A detector on one test set: fractions right, mean cross-entropy, counts (true, said), EER."""

    accuracy: float
    loss: float
    confusion: NDArray[np.int_]
    eer: float | None = None


def train_metrics(epoch: Mapping[str, Any], task: int) -> Metrics:
    """Of one epoch of a task as ``EpochBook`` has it."""
    where = f"train_phase/train_stream/Task{task:03d}"
    told = {f"Loss_Epoch/{where}": epoch["loss"], f"Loss_MB/{where}": epoch["last_loss"]}
    if "accuracy" in epoch:
        told[f"Top1_Acc_Epoch/{where}"] = epoch["accuracy"]
        told[f"Top1_Acc_MB/{where}"] = epoch["last_accuracy"]
        told[f"Top1_RunningAcc_Epoch/{where}"] = epoch["accuracy"]
    return told


def test_metrics(tested: Sequence[Tested], after: int, earlier: Mapping[int, Metrics]) -> Metrics:
    """The metrics of one evaluation of all test sets; ``earlier`` has those after earlier tasks.

    Forgetting is the accuracy right after a task was learned minus that of now; positive is a loss.
    """
    told: Metrics = {}
    lost = []
    for on, result in enumerate(tested):
        where = f"{_STREAM}/Task{on:03d}"
        told[f"Top1_Acc_Exp/{where}/Exp{on:03d}"] = result.accuracy
        told[f"Loss_Exp/{where}/Exp{on:03d}"] = result.loss
        if on < after and on in earlier:
            first = earlier[on][f"Top1_Acc_Exp/{where}/Exp{on:03d}"]
            lost.append(first - result.accuracy)
            told[f"ExperienceForgetting/{where}/Exp{on:03d}"] = lost[-1]
    for on, result in enumerate(tested):
        told[f"Top1_Acc_Stream/{_STREAM}/Task{on:03d}"] = result.accuracy
    for on, result in enumerate(tested[: after + 1]):
        told[f"Accuracy_On_Trained_Experiences/{_STREAM}/Task{on:03d}"] = result.accuracy
    for on, result in enumerate(tested):
        told[f"Loss_Stream/{_STREAM}/Task{on:03d}"] = result.loss
    told[f"StreamForgetting/{_STREAM}"] = float(np.mean(lost)) if lost else 0.0
    confusion = np.sum([result.confusion for result in tested], axis=0)
    told[f"ConfusionMatrix_Stream/{_STREAM}"] = confusion.tolist()
    return told


def write_metrics(path: Path, metrics: Mapping[int, Metrics]) -> None:
    """Task index -> metric name -> value, indented by 6 as theirs."""
    told = {str(task): metrics[task] for task in sorted(metrics)}
    write_text(path, json.dumps(told, indent=6, allow_nan=False))


def read_metrics(path: Path) -> dict[int, Metrics]:
    """What ``write_metrics`` wrote; empty where nothing was."""
    if not path.is_file():
        return {}
    return {int(task): metrics for task, metrics in json.loads(read_text(path)).items()}


def write_log(
    path: Path, epochs: Mapping[int, list[dict[str, Any]]], tests: Mapping[int, Metrics]
) -> None:
    """The text log of all tasks so far, with the lines that their parsers look for."""
    lines: list[str] = []
    for task in sorted(tests):
        lines += _training_lines(epochs[task], task)
        lines += _testing_lines(tests[task])
    write_text(path, "".join(f"{line}\n" for line in lines))


def _training_lines(epochs: list[dict[str, Any]], task: int) -> Iterator[str]:
    yield "-- >> Start of training phase << --"
    yield f"-- Starting training on experience {task} (Task {task}) from train stream --"
    for epoch in epochs:
        yield f"Epoch {epoch['epoch']} ended."
        yield from _values(train_metrics(epoch, task))
    yield "-- >> End of training phase << --"


def _testing_lines(metrics: Metrics) -> Iterator[str]:
    yield EVALUATION
    number = sum(name.startswith("Top1_Acc_Exp/") for name in metrics)
    for on in range(number):
        yield f"-- Starting eval on experience {on} (Task {on}) from test stream --"
        yield f"> Eval on experience {on} (Task {on}) from test stream ended."
        ours = {n: v for n, v in metrics.items() if n.endswith(f"{_STREAM}/Task{on:03d}/Exp{on:03d}")}
        yield from _values(ours)
    yield "-- >> End of eval phase << --"
    whole = {n: v for n, v in metrics.items() if _STREAM in n and "/Exp" not in n}
    yield from _values(whole)


def _values(metrics: Metrics) -> Iterator[str]:
    for name in sorted(metrics):
        value = metrics[name]
        told = f"\n{np.array(value)}" if isinstance(value, list) else f"{value:.4f}"
        yield f"\t{name} = {told}"


def write_eers(path: Path, rows: Mapping[int, Sequence[float]]) -> None:
    """Task (from 0) learned -> EERs of all test sets, fractions; one line a task learned."""
    tests = len(next(iter(rows.values())))
    lines = ["Eval on " + " ".join(f"Task{on + 1}" for on in range(tests))]
    lines += [f"Train after Task{task + 1} {list(map(float, rows[task]))}" for task in sorted(rows)]
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_eers(path: Path) -> dict[int, list[float]]:
    """What ``write_eers`` wrote, or their code; empty where there is no file.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "ELMA_r_32.txt"
    >>> write_eers(file, {0: [0.048, 0.432], 1: [0.048, 0.024]})
    >>> read_eers(file)[1]
    [0.048, 0.024]
    """
    if not path.is_file():
        return {}
    found = (_EER_LINE.fullmatch(line.strip()) for line in read_text(path).splitlines())
    return {int(m[1]) - 1: [float(v) for v in json.loads(m[2])] for m in found if m}


def write_args(path: Path, values: Mapping[str, Any]) -> None:
    """``args Namespace(...)``, the settings in the order of the alphabet."""
    write_text(path, f"args {Namespace(**dict(sorted(values.items())))}\n")
