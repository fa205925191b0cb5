"""What a search found, and the files that say so."""

import csv
import io
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from os.path import relpath
from pathlib import Path
from typing import Any

import tomli_w

from earwitness.errors import CheckpointError, RunError
from earwitness.files import write_json, write_text
from earwitness.tuning.plan import Plan
from earwitness.tuning.spaces import Space, short, size_of

__all__ = ["Tried", "Tuned", "conclude", "keep_search", "write_record", "write_tuned"]


@dataclass(frozen=True)
class Tried:
    """One trial: a strategy's ``settings``, their ``value`` on dev, and why it ``failed``, if it did.

    ``number`` is from 1. A failed trial has the worst value there is.

    >>> print(Tried("ewc", 3, {"strength": 12.34567}, 0.125, 8.0))
    ewc trial 3: 12.50 %  strength = 12.3457
    """

    label: str
    number: int
    settings: dict[str, Any]
    value: float
    seconds: float
    failed: str | None = None

    @property
    def spelled(self) -> str:
        """The settings in words."""
        return ", ".join(f"{name} = {short(value)}" for name, value in self.settings.items())

    def __str__(self) -> str:
        told = f"failed ({self.failed})" if self.failed else f"{100 * self.value:.2f} %"
        return f"{self.label} trial {self.number}: {told}  {self.spelled}".rstrip()


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    ``path`` is the tuned experiment and ``metric`` what a trial's value is. ``best`` has the best
    trial of each label, the first of equals. ``edges`` names for each label those of its best settings
    that lie at an end of what was searched: better ones may lie beyond. ``exhausted`` are searched
    labels with fewer different settings than trials to make; all of them were tried.
    """

    path: Path
    metric: str
    trials: list[Tried]
    best: dict[str, Tried]
    edges: dict[str, list[str]]
    exhausted: list[str]

    def of(self, label: str) -> list[Tried]:
        """The trials of a label in order."""
        return [one for one in self.trials if one.label == label]

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A line a label for reading: best settings, their value in per cent, trials, ends reached."""
        return [
            (
                *(label, one.spelled or "nothing was searched", f"{100 * one.value:.2f}"),
                f"{len(self.of(label))}{' (all there are)' if label in self.exhausted else ''}",
                "; ".join(self.edges[label]),
            )
            for label, one in self.best.items()
        ]


def conclude(plan: Plan, tried: Sequence[Tried], folder: Path) -> Tuned:
    """Say which trials are the best so far, and what to know about them."""
    sign = 1 if plan.minimise else -1
    best: dict[str, Tried] = {}
    for label in plan.spaces:
        good = [one for one in tried if one.label == label and one.failed is None]
        if good:  # rounded, so that equals stay equal however their mean was rounded
            best[label] = min(good, key=lambda one: round(sign * one.value, 12))
    return Tuned(
        path=folder / "tuned.toml",
        metric=plan.metric,
        trials=list(tried),
        best=best,
        edges={label: _edges(plan.spaces[label], one.settings) for label, one in best.items()},
        exhausted=[
            n for n, space in plan.spaces.items() if space and size_of(space) < plan.budget.trials
        ],
    )


def _edges(space: Space, settings: dict[str, Any]) -> list[str]:
    return [
        f"{name} = {short(settings[name])}, at the {edge} end of {values}"
        for name, values in space.items()
        if (edge := values.edge(settings[name]))
    ]


def keep_search(plan: Plan, path: Path) -> None:
    """Write down what is searched; a folder with another search is refused, more trials are not.

    Raises:
        CheckpointError: another search is written there.
    """
    given = deepcopy(plan.given)
    given.get("tuning", {}).pop("trials", None)
    text = tomli_w.dumps(given)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise CheckpointError(
            f"{path}: another search is in this folder; choose another folder with --out, or delete it."
        )
    write_text(path, text)


def write_record(plan: Plan, tuned: Tuned, sampler: str) -> None:
    """Write tuning.json and tuning.csv."""
    record = {
        "name": plan.base.name,
        "value": f"{tuned.metric} on dev, mean over all tasks after the last one and over seeds",
        "tasks": [task.name for task in plan.stream],
        **asdict(plan.budget),
        "sampler": sampler,
        "search": {n: {k: str(v) for k, v in space.items()} for n, space in plan.spaces.items()},
        "best": {label: one.number for label, one in tuned.best.items()},
        "edges": tuned.edges,
        "exhausted": tuned.exhausted,
        "tried": [asdict(one) for one in tuned.trials],
    }
    write_json(tuned.path.with_name("tuning.json"), record)
    write_text(tuned.path.with_name("tuning.csv"), _table(tuned.trials))


def _table(trials: list[Tried]) -> str:
    names = list(dict.fromkeys(name for one in trials for name in one.settings))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["label", "trial", "value", "seconds", "failed", *names])
    for one in trials:
        told = [one.label, one.number, one.value, one.seconds, one.failed or ""]
        writer.writerow([*told, *(one.settings.get(name, "") for name in names)])
    return out.getvalue()


def write_tuned(plan: Plan, tuned: Tuned) -> None:
    """Write the experiment as it was given, with the best settings in it.

    Raises:
        RunError: every trial of a strategy failed.
    """
    for label in plan.spaces:
        if label not in tuned.best:
            tried = tuned.of(label)
            raise RunError(
                f"{tuned.path.parent}: all {len(tried)} trial(s) of {label} failed, the first because: "
                f"{tried[0].failed} See tuning.json; search other settings, in another folder."
            )
    base = plan.base.settings
    settings = {
        **base,
        "selection": f"{base.get('selection', '')} {_explain(plan, tuned)}".strip(),
        "stream": {**base["stream"], "root": _root(plan, tuned.path.parent)},
        "strategies": {
            label: _seen_from(tuned.path.parent, plan, plan.strategy(label, one.settings))
            for label, one in tuned.best.items()
        },
    }
    write_text(tuned.path, tomli_w.dumps(settings))


def _root(plan: Plan, folder: Path) -> str:
    """Where the corpus is, seen from ``folder``."""
    root = plan.base.settings["stream"].get("root", ".")
    return root if Path(root).is_absolute() else relpath(plan.base.folder / root, folder)


def _seen_from(folder: Path, plan: Plan, strategy: dict[str, Any]) -> dict[str, Any]:
    """The same settings; the lessons of a teacher lie where they lay."""
    lessons = Path(str(strategy.get("lessons", "")))
    if "lessons" not in strategy or lessons.is_absolute():
        return strategy
    return {**strategy, "lessons": relpath(plan.base.folder / lessons, folder)}


def _explain(plan: Plan, tuned: Tuned) -> str:
    """How the settings were chosen, for people who read the results."""
    better = "lowest" if plan.minimise else "highest"
    seeds = ", ".join(map(str, plan.budget.seeds))
    searched = [label for label, space in plan.spaces.items() if space]
    counts = [
        f"{len(tuned.of(n))} for {n}{' (all there are)' if n in tuned.exhausted else ''}"
        for n in searched
    ]
    fixed = [label for label in plan.spaces if label not in searched]
    failed = sum(one.failed is not None for one in tuned.trials)
    edges = [f"{label} {edge}" for label, found in tuned.edges.items() for edge in found]
    parts = [
        f"Settings were chosen on dev alone, by the {better} mean {tuned.metric} over all tasks after "
        f"the last one, seed(s) {seeds}, tasks in their first order. Trials: {', '.join(counts)}.",
        f"Nothing was searched for {', '.join(fixed)}." if fixed else "",
        f"{failed} trial(s) failed and count as the worst value." if failed else "",
        f"Better values may lie beyond what was searched: {'; '.join(edges)}." if edges else "",
    ]
    return " ".join(part for part in parts if part)
