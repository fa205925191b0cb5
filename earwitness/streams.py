"""A task is one domain's train, dev and test manifests; a stream is tasks in order.

"Experience" in the continual-learning literature is a task here.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.trials import CLASSES, Manifest, Trial

__all__ = ["Stream", "Task", "require_thinning"]


@dataclass(frozen=True)
class Task:
    """What is learned at one time, and what it is judged by.

    ``train`` is learned from, ``dev`` may be looked at for choices, ``test`` for final numbers only.
    """

    name: str
    train: Manifest
    dev: Manifest
    test: Manifest

    def __post_init__(self) -> None:
        for part in (self.train, self.dev, self.test):
            part.require_both_classes()


class Stream:
    """Tasks in the order in which they arrive.

    Raises:
        ProtocolError: no task, two tasks of one name, or a clip in more than one split, of any tasks.
    """

    def __init__(self, tasks: Iterable[Task]):
        self.tasks = tuple(tasks)
        if not self.tasks:
            raise ProtocolError("a stream needs at least one task; none was given.")
        names = [task.name for task in self.tasks]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ProtocolError(f"task name(s) {', '.join(repeated)} appear more than once.")
        kinds = {part.classes for task in self for part in (task.train, task.dev, task.test)}
        if len(kinds) > 1:
            raise ProtocolError(f"the tasks' manifests differ in their classes: {sorted(kinds)}.")
        self.classes = kinds.pop()
        _require_disjoint(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, position: int) -> Task:
        return self.tasks[position]

    def in_order(self, names: Iterable[str]) -> "Stream":
        """The same tasks, or some of them, in another order.

        Raises:
            ProtocolError: the stream has no task of that name.
        """
        by_name = {task.name: task for task in self.tasks}
        names = list(names)
        for name in names:
            if name not in by_name:
                raise ProtocolError(
                    f"the stream has no task {name!r}{nearest(name, by_name)} "
                    f"Its tasks: {', '.join(by_name)}."
                )
        return Stream(by_name[name] for name in names)

    def thinned(
        self, *, later_clips: int | None = None, bonafide_share: float | None = None
    ) -> "Stream":
        """The same tasks with fewer training clips; what judges them stays whole.

        Args:
            later_clips: training clips of each task after the first, the classes in equal parts as
                far as they go.
            bonafide_share: share of bonafide among each task's training clips, between 0 and 1.

        Raises:
            SettingsError: a value that is no such number, or a share where the classes are others.
            ProtocolError: a share where training trials are labelled unknown; no trial of a class left.
        """
        require_thinning(later_clips=later_clips, bonafide_share=bonafide_share)
        if bonafide_share is not None and self.classes != CLASSES:
            raise SettingsError(
                "bonafide_share weighs bonafide against spoof; the stream's classes are "
                f"{', '.join(self.classes)}, so leave it out."
            )
        tasks = []
        for position, task in enumerate(self.tasks):
            train = task.train
            if bonafide_share is not None:
                train = _with_share(train, bonafide_share)
            if later_clips is not None and position:
                train = _fewer(train, later_clips)
            tasks.append(Task(task.name, train, task.dev, task.test))
        return Stream(tasks)

    @classmethod
    def by(
        cls,
        manifest: Manifest,
        column: str = "domain",
        *,
        order: Iterable[str] | None = None,
        dev_split: str = "dev",
        test_split: str = "test",
    ) -> "Stream":
        """Cut a manifest into tasks by a column, and each task by its ``split`` column.

        ``column="all"`` makes one task of everything: training as usual, without a stream.
        ``order`` names the tasks in their order; by default the order of appearance.
        """
        parts = {"all": manifest} if column == "all" else manifest.split(column)
        names = list(order) if order is not None else list(parts)
        for name in names:
            if name not in parts:
                raise ProtocolError(
                    f"manifest {manifest.name!r} has no {column} {name!r}"
                    f"{nearest(name, parts)} Found: {', '.join(parts)}."
                )
        return cls(_task(name, parts[name], dev_split, test_split) for name in names)


def require_thinning(*, later_clips: Any = None, bonafide_share: Any = None) -> None:
    """Refuse what `Stream.thinned` can't do, before there is a stream.

    Raises:
        SettingsError: with what was expected and found.
    """
    # True is an int to Python, but 0 < True < 1 is false, so only the clips need the second look.
    whole = isinstance(later_clips, int) and not isinstance(later_clips, bool)
    if later_clips is not None and not (whole and later_clips > 0):
        raise SettingsError(f"later_clips is {later_clips!r}, expected a whole number from 1.")
    a_share = isinstance(bonafide_share, int | float) and 0 < bonafide_share < 1
    if bonafide_share is not None and not a_share:
        raise SettingsError(f"bonafide_share is {bonafide_share!r}, expected a number between 0 and 1.")


def _lot(trial: Trial) -> str:
    """A fixed lot for each trial, whatever else is in the manifest."""
    return hashlib.sha256(trial.id.encode()).hexdigest()


def _fewer(manifest: Manifest, clips: int) -> Manifest:
    """``clips`` trials by lot, taken from the classes in turn."""
    queues = {c: sorted(m, key=_lot) for c, m in manifest.split("label").items()}
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
    kept = {t.id for t in itertools.islice((t for t in turns if t is not None), clips)}
    return manifest.where(lambda trial: trial.id in kept)


def _with_share(manifest: Manifest, share: float) -> Manifest:
    """As many trials as there can be with that share of bonafide."""
    counts = manifest.require_both_classes().counts()
    if "unknown" in counts:
        raise ProtocolError(
            f"manifest {manifest.name!r}: {counts['unknown']} of {len(manifest)} training trial(s) are "
            "labelled unknown; a share of bonafide needs a label for each, so label them or take "
            "them out of the manifest."
        )
    whole = min(counts["bonafide"] / share, counts["spoof"] / (1 - share))
    wanted = {"bonafide": round(whole * share), "spoof": round(whole * (1 - share))}
    kept = {
        trial.id
        for label, part in manifest.split("label").items()
        for trial in sorted(part, key=_lot)[: wanted.get(label, 0)]
    }
    return manifest.where(lambda trial: trial.id in kept)


def _task(name: str, part: Manifest, dev_split: str, test_split: str) -> Task:
    splits = part.split()
    wanted = ("train", dev_split, test_split)
    for split in wanted:
        if split not in splits:
            raise ProtocolError(
                f"task {name!r} has no trial with split {split!r}; found: {', '.join(splits)}."
            )
    others = {split: len(trials) for split, trials in splits.items() if split not in wanted}
    if others:
        raise ProtocolError(
            f"task {name!r} has trials of other splits than {', '.join(wanted)}: {others}; "
            "nothing is left out silently, so take them out of the manifest or name their split."
        )
    return Task(name, *(splits[split] for split in wanted))


def _require_disjoint(tasks: Iterable[Task]) -> None:
    """No clip of any task's train, dev or test may be in another of the three, in any task."""
    where: dict[str, tuple[str, str]] = {}
    shared = []
    for task in tasks:
        for part in ("train", "dev", "test"):
            manifest = getattr(task, part)
            for trial in manifest:
                clip = _clip(manifest, trial)
                first = where.setdefault(clip, (part, task.name))
                if first[0] != part:
                    shared.append((clip, first, (part, task.name)))
    if shared:
        clip, first, second = shared[0]
        raise ProtocolError(
            f"{len(shared)} clip(s) are in two splits; first {clip}, in {first[0]} of task "
            f"{first[1]!r} and {second[0]} of task {second[1]!r}. "
            "What is learned must not be what it is judged by."
        )


def _clip(manifest: Manifest, trial: Trial) -> str:
    """What tells clips apart: the file, and its row where all vectors share one file."""
    row = f", row {trial.tags['row']}" if "row" in trial.tags else ""
    return f"{os.path.abspath(manifest.path(trial))}{row}"
