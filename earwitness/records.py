"""What a run writes down about itself: settings, provenance, the detector's card.

A folder is never mixed: whatever of it was made with other settings or other data is refused, and
the refusal comes before the first write.
"""

import functools
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

import earwitness
from earwitness.errors import CheckpointError
from earwitness.evaluation import dev_threshold, evaluate
from earwitness.experiment import Experiment
from earwitness.files import write_json, write_text
from earwitness.runs import Run
from earwitness.scores import Scores
from earwitness.settings import difference
from earwitness.state import peek_state
from earwitness.streams import Stream
from earwitness.trials import CLASSES

__all__ = [
    "check_run",
    "content_key",
    "data_of",
    "describe",
    "is_complete",
    "learned",
    "write_provenance",
    "write_settings",
]


def learned(path: Path) -> int:
    """How many tasks the run in ``path`` has finished."""
    return len(list((path / "storage").glob("*.json")))


def data_of(experiment: Experiment, stream: Stream) -> dict[str, dict[str, str]]:
    """Fingerprints of everything that a finished run was learned from and judged on."""
    return {
        task.name: {part: getattr(task, part).fingerprint() for part in ("train", *experiment.splits)}
        for task in stream
    }


def content_key(experiment: Experiment, one: Run, stream: Stream) -> str:
    """A digest of all that a finished run follows from: settings, data, order, code, libraries."""
    content = {
        "settings": _settings(experiment, one, stream),
        "data": list(data_of(experiment, stream).items()),
        "code": _code(),
        "untrained": experiment.settings["evaluation"].get("untrained", True),
        "versions": _versions(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_complete(experiment: Experiment, one: Run, stream: Stream) -> bool:
    """Whether the run is done, on just this data."""
    path = one.path / "done.json"
    return path.is_file() and json.loads(path.read_text())["data"] == data_of(experiment, stream)


def check_run(experiment: Experiment, one: Run, stream: Stream) -> None:
    """Refuse a run that was made with other settings, or whose tasks aren't the stream's first.

    Raises:
        CheckpointError: it says which setting or which task.
    """
    if not (one.path / "checkpoint.safetensors").exists():
        return  # nothing was learned yet: whatever stands here may be replaced
    found = json.loads((one.path / "settings.json").read_text(encoding="utf-8"))
    now = _settings(experiment, one, stream)
    for part in {**now, **found}:
        if found.get(part) != now.get(part):
            told = difference(part, found.get(part), now.get(part))
            raise CheckpointError(
                f"{one.path}: made with other settings: {told}; "
                "choose another run folder with --out, or delete this one."
            )
    for position in range(learned(one.path)):
        card = one.detector_after(position) / "card.json" if position < len(one.tasks) else None
        if (
            card is None
            or not card.is_file()
            or _last_task(card) != stream[position].train.fingerprint()
        ):
            raise CheckpointError(
                f"{one.path}: the {learned(one.path)} task(s) learned so far are not this stream's "
                f"first (task {position + 1} differs); new tasks may only be added at the end."
            )
    _check_task_under_way(one, stream)


def _check_task_under_way(one: Run, stream: Stream) -> None:
    told = peek_state(one.path / "checkpoint.safetensors")
    count = told["where"]["task"] + 1
    if told["tasks"][:count] != [task.train.fingerprint() for task in stream][:count]:
        raise CheckpointError(
            f"{one.path}: task {count} was begun on other training data than this stream's; "
            "choose another run folder with --out, or delete this one."
        )


def _last_task(card: Path) -> str:
    return json.loads(card.read_text(encoding="utf-8"))["trained_on"][-1]["fingerprint"]


def write_settings(experiment: Experiment, one: Run, stream: Stream) -> None:
    """Write settings.json, defaults included."""
    write_json(one.path / "settings.json", _settings(experiment, one, stream))


def _settings(experiment: Experiment, one: Run, stream: Stream) -> dict[str, Any]:
    settings = {
        "strategy": experiment.strategy(one.label).built_from,
        "detector": {**experiment.detector(one.seed).settings, "windows": vars(experiment.windows())},
        "training": vars(experiment.training(one.label)),
        "seed": one.seed,
        **({"classes": stream.classes} if stream.classes != CLASSES else {}),
    }
    cache = experiment.detector(one.seed).cache
    if cache is not None:  # frames heard one by one are those heard together only up to rounding
        settings["frames_kept_as"] = cache.precision
    return json.loads(json.dumps(settings))  # as it will be read back


def describe(experiment: Experiment, one: Run, stream: Stream, position: int) -> dict[str, Any]:
    """What the detector after the task at ``position`` says of itself."""
    seen = list(stream)[: position + 1]
    card: dict[str, Any] = {
        "strategy": experiment.strategy(one.label).built_from,
        "seed": one.seed,
        "stand_in": bool(experiment.settings.get("stand_in", False)),
        "trained_on": [
            {
                "task": task.name,
                "fingerprint": task.train.fingerprint(),
                "labels": task.train.counts(),
                "attacks": sorted(a for a in task.train.counts("attack") if a != "-"),
            }
            for task in seen
        ],
    }
    if "dev" in experiment.splits and stream.classes == CLASSES:
        parts = [one.scores(position, on, "dev") for on in range(len(seen))]
        dev = Scores(
            (f"{n}/{i}" for n, p in enumerate(parts) for i in p.ids),
            np.concatenate([p.values for p in parts]),
            (label for p in parts for label in p.labels),
        )
        judged = evaluate(dev, intervals=False)
        card["dev"] = {
            "threshold": dev_threshold(dev),
            "eer": judged.values["eer"],
            "bonafide": judged.n_bonafide,
            "spoof": judged.n_spoof,
        }
    return card


def write_provenance(experiment: Experiment, streams: Sequence[Stream], folder: Path) -> None:
    """Write the experiment as it was given, and where everything comes from.

    ``streams`` are the tasks in each of their orders.
    """
    stream = streams[0]
    write_text(folder / "experiment.toml", tomli_w.dumps(experiment.settings))
    write_json(
        folder / "provenance.json",
        {
            "name": experiment.name,
            "note": experiment.settings.get("note", ""),
            "selection": experiment.settings.get("selection", ""),
            "stand_in": bool(experiment.settings.get("stand_in", False)),
            "skipped": experiment.skipped,
            "left_out": experiment.left_out,
            "tasks": [task.name for task in stream],
            "orders": [[task.name for task in one] for one in streams],
            "classes": list(stream.classes),
            "strategies": experiment.labels,
            "seeds": experiment.seeds,
            "metric": "eer" if stream.classes == CLASSES else "accuracy",
            "splits": experiment.splits,
            "split": "test" if "test" in experiment.splits else "dev",
            "manifests": {
                task.name: {
                    part: {"fingerprint": m.fingerprint(), **m.counts()}
                    for part, m in (("train", task.train), ("dev", task.dev), ("test", task.test))
                }
                for task in stream
            },
            "versions": _versions(),
            "machine": {"system": platform.system(), "processor": platform.machine()},
            "commit": _commit(),
            "command": " ".join(["earwitness", *sys.argv[1:]]),
        },
    )


@functools.cache
def _code() -> str:
    """A digest of the package's source: between releases the version says nothing."""
    total = hashlib.sha256()
    for path in sorted(Path(earwitness.__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def _versions() -> dict[str, str]:
    return {
        "earwitness": earwitness.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _commit() -> str:
    """The commit of the checkout that earwitness runs from, if it runs from one."""
    here = Path(earwitness.__file__).parent
    try:
        told = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()
