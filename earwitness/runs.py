"""The run folder: where an experiment puts its files, and how to read them again.

::

    RUN/
      experiment.toml            the experiment file with its overrides
      provenance.json            versions, commit, machine, manifest fingerprints, seeds
      <label>/seed-<n>/          one strategy, one seed; <label>/order-<k>/seed-<n>/ with several orders
        settings.json            strategy, detector and training with all defaults
        steps.jsonl              one line a step:  task, epoch, step, loss
        action.jsonl             one line a protected layer and logged step: proof of action
        collapse.jsonl           one line an epoch or task, where training.collapse asks for it
        seconds.jsonl            time and pace of each task (the only file that differs when repeated)
        storage/<i>.json         what the strategy keeps after task i: bytes, clips, keeps_audio
        scores/<split>/<i>-<task learned last>/<j>-<task judged>.csv
        checkpoint.safetensors   where learning stands
        detectors/<i>-<task>/    the detector after task i
        detector/                the detector after the last task
        done.json                written last: a run with this file is complete
        failed.json              in its place with ``keep_going``: why the run failed

Every number of a report is computed from these score files.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.errors import RunError
from earwitness.scores import Scores

__all__ = ["Run", "RunFolder", "plan_runs"]


@dataclass(frozen=True)
class Run:
    """One strategy with one seed and one order of the tasks (from 0) inside a run folder.

    ``metric`` is what it is judged by first: ``eer``, or ``accuracy`` for other classes.
    """

    path: Path
    label: str
    seed: int
    tasks: tuple[str, ...]
    order: int = 0
    metric: str = "eer"

    @property
    def title(self) -> str:
        """The label, and where there are several orders of the tasks which one it is."""
        holder = self.path.parent.name
        return f"{self.label} {holder}" if holder.startswith("order-") else self.label

    @property
    def is_done(self) -> bool:
        """Whether every task was learned and judged."""
        return (self.path / "done.json").is_file()

    @property
    def settings(self) -> dict[str, Any]:
        """Strategy, detector and training settings of this run."""
        return _read_json(self.path / "settings.json")

    def score_file(self, after: int, on: int, split: str = "test") -> Path:
        """Scores on task ``on`` after learning task ``after`` (both from 0; -1 = untrained)."""
        learned = self.tasks[after] if after >= 0 else "untrained"
        folder = self.path / "scores" / split / f"{after + 1}-{learned}"
        return folder / f"{on + 1}-{self.tasks[on]}.csv"

    def detector_after(self, position: int) -> Path:
        """The folder of the detector as it was after the task at ``position`` (from 0)."""
        return self.path / "detectors" / f"{position + 1}-{self.tasks[position]}"

    def scores(self, after: int, on: int, split: str = "test") -> Scores:
        """Read one score file of a run on bonafide and spoof."""
        return Scores.read(self.score_file(after, on, split))

    def steps(self) -> list[dict[str, Any]]:
        """The training log, one record a step."""
        return list(read_lines(self.path / "steps.jsonl"))

    def storage(self) -> list[dict[str, Any]]:
        """What the strategy kept after each task: ``bytes``, ``clips``, ``keeps_audio``."""
        files = [self.path / "storage" / f"{i + 1}.json" for i in range(len(self.tasks))]
        return [_read_json(file) for file in files if file.is_file()]

    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds of each task, judging included; parts of a resumed task are added."""
        total: dict[str, float] = {}
        for record in read_lines(self.path / "seconds.jsonl"):
            total[record["task"]] = total.get(record["task"], 0.0) + record["seconds"]
        return total

    def action(self) -> list[dict[str, Any]]:
        """Proof of action: one record a protected layer and logged step; empty for most strategies.

        Keys: ``task, step, layer, gradient_ratio`` (norm of GR over norm of G), ``old_input_ratio``
        (norm of P r_old over norm of r_old), ``beta`` (null for OWM), ``rank_energy`` (1 - tr P / d:
        the share of directions that are protected).
        """
        return list(read_lines(self.path / "action.jsonl"))

    def collapse(self) -> list[dict[str, Any]]:
        """Neural collapse of the training clips, one record an epoch or task; mostly empty.

        Keys: ``task, position, epoch`` and those of `earwitness.collapse`; a value that wasn't defined
        is a word that says why.
        """
        return list(read_lines(self.path / "collapse.jsonl"))


def plan_runs(
    folder: Path,
    labels: Sequence[str],
    seeds: Sequence[int],
    orders: Sequence[Sequence[str]],
    *,
    metric: str = "eer",
) -> list[Run]:
    """Every run of an experiment and its place; with one order the places don't name it.

    >>> [str(run.path) for run in plan_runs(Path("r"), ["naive"], [3], [["a", "b"], ["b", "a"]])]
    ['r/naive/order-1/seed-3', 'r/naive/order-2/seed-3']
    """
    return [
        Run(
            folder / label / (f"order-{i + 1}" if len(orders) > 1 else "") / f"seed-{seed}",
            *(label, seed, tuple(order), i, metric),
        )
        for label in labels
        for i, order in enumerate(orders)
        for seed in seeds
    ]


class RunFolder:
    """All runs of one experiment.

    Raises:
        RunError: the folder is not a run folder, or holds no finished run.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "provenance.json").is_file():
            raise RunError(
                f"{self.path} is not a run folder (no provenance.json in it); "
                "expected a folder that `earwitness run` wrote."
            )

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, commit, fingerprints, seeds; ``tasks`` has the task names in order."""
        return _read_json(self.path / "provenance.json")

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.provenance.get("name", self.path.name))

    def runs(self, *, done: bool = True) -> list[Run]:
        """The runs, in the experiment's order of strategies and seeds; finished ones by default."""
        told = self.provenance
        runs = plan_runs(
            self.path,
            told["strategies"],
            told["seeds"],
            told.get("orders", [told["tasks"]]),
            metric=told["metric"],
        )
        return [run for run in runs if run.is_done or not done]

    def failed(self) -> dict[str, str]:
        """The runs that failed, by their place in the folder, and why."""
        found = {}
        for run in self.runs(done=False):
            if not run.is_done and (run.path / "failed.json").is_file():
                place = run.path.relative_to(self.path).as_posix()
                found[place] = str(_read_json(run.path / "failed.json")["reason"])
        return found

    def finished(self) -> list[Run]:
        """The finished runs; an error when there is none."""
        runs = self.runs()
        if not runs:
            raise RunError(f"{self.path}: no finished run; call `earwitness run` again to resume.")
        return runs


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RunError(f"{path}: cannot be read as JSON ({error}).") from None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, one JSON object a line; none where there is no file.

    >>> list(read_lines(Path("nothing.jsonl")))
    []
    """
    if path.is_file():
        with open(path, encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines)
