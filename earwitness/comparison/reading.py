"""Run folders side by side: which may be compared, which runs they planned, and what each run found."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from earwitness.comparison.result import Matrix
from earwitness.comparison.statistics import Unit
from earwitness.errors import RunError
from earwitness.evaluation import matrix, pooled, untrained_row
from earwitness.metrics import lower_is_better
from earwitness.metrics.continual import summarise
from earwitness.runs import Run, RunFolder

__all__ = ["Plan", "Reading", "View", "orders_of", "plans", "read", "require_alike"]


@dataclass(frozen=True)
class View:
    """How runs are looked at; ``can_pool``: accuracies of other classes pool into their own mean."""

    metric: str
    split: str
    units: str
    orders: list[tuple[str, ...]]
    can_pool: bool


@dataclass(frozen=True)
class Plan:
    """All runs that a folder planned for one label."""

    label: str
    folder: str
    runs: list[Run]

    @property
    def done(self) -> list[Run]:
        """The finished ones."""
        return [run for run in self.runs if run.is_done]


@dataclass(frozen=True)
class Reading:
    """What one finished run found."""

    unit: Unit
    tasks: tuple[str, ...]
    matrix: Matrix
    untrained: list[float] | None
    values: dict[str, float | None]
    keeps_audio: bool | None  # None: no storage was noted
    strategy: dict[str, Any]


def require_alike(folders: Sequence[RunFolder]) -> None:
    """Refuse folders whose metric, split, tasks or judged clips differ.

    Raises:
        RunError: it says which and how; also where there is no folder.
    """
    if not folders:
        raise RunError("a comparison needs at least one run folder; none was given.")
    first = _judged(folders[0].provenance)
    for folder in folders:
        for what, found in _judged(folder.provenance).items():
            if found != first[what]:
                raise RunError(
                    f"{folder.path}: {what}: {found}, but in {folders[0].path}: {first[what]}; "
                    "only runs on the same tasks and clips, judged by the same metric, are compared."
                )


def _judged(told: dict[str, Any]) -> dict[str, Any]:
    split = told.get("split", "test")
    clips = {
        task: parts.get(split, {}).get("fingerprint")
        for task, parts in told.get("manifests", {}).items()
    }
    return {
        "metric": told["metric"],
        "split": split,
        "tasks": sorted(told["tasks"]),
        "fingerprints of the judged clips": clips,
    }


def orders_of(folders: Sequence[RunFolder]) -> list[tuple[str, ...]]:
    """Every order of the tasks, in the order in which the folders name them."""
    told = [folder.provenance for folder in folders]
    return list(dict.fromkeys(tuple(o) for one in told for o in one.get("orders", [one["tasks"]])))


def plans(folders: Sequence[RunFolder]) -> list[Plan]:
    """What every folder planned; a label that several have gets the folder's name before it.

    Raises:
        RunError: a folder without a finished run, or two with one name and a label in common.
    """
    made = [plan for folder in folders for plan in _plans(folder)]
    taken = Counter(plan.label for plan in made)
    named = [Plan(f"{p.folder}/{p.label}", p.folder, p.runs) if taken[p.label] > 1 else p for p in made]
    if len({plan.label for plan in named}) < len(named):
        names = ", ".join(folder.name for folder in folders)
        raise RunError(
            f"runs side by side need names of their own; found {names}. "
            "The name is in the experiment file."
        )
    return named


def _plans(folder: RunFolder) -> list[Plan]:
    folder.finished()
    groups: dict[str, list[Run]] = {}
    for run in folder.runs(done=False):
        groups.setdefault(run.label, []).append(run)
    return [Plan(label, folder.name, runs) for label, runs in groups.items()]


def read(run: Run, view: View) -> Reading:
    """Read a run's score files, each once, and those of the last row again where they are pooled.

    Raises:
        ProtocolError: a score file is absent or wrong.
    """
    levels = matrix(run, view.metric, view.split)
    untrained = untrained_row(run, view.metric, view.split)
    values = summarise(levels, lower_is_better=lower_is_better(view.metric), untrained=untrained)
    if view.can_pool:
        values["pooled"] = pooled(run, len(run.tasks) - 1, view.metric, view.split)
    kept: dict[str, Any] = next(reversed(run.storage()), {})
    return Reading(
        unit=(run.seed, view.orders.index(run.tasks) + 1),
        tasks=run.tasks,
        matrix=levels.tolist(),
        untrained=None if untrained is None else untrained.tolist(),
        values={key: None if value is None else float(value) for key, value in values.items()}
        | {key: kept.get(key) for key in ("bytes", "clips")}
        | {"seconds_a_task": _seconds_a_task(run)},
        keeps_audio=kept.get("keeps_audio"),
        strategy=run.settings.get("strategy", {}),
    )


def _seconds_a_task(run: Run) -> float | None:
    """A task without a step, as those after the first of ``frozen``, has no line of its own."""
    seconds = run.seconds()
    return sum(seconds.values()) / len(run.tasks) if seconds else None
