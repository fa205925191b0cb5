"""A task is one domain's train, dev and test manifests; a stream is tasks in order.

"Experience" in the continual-learning literature is a task here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from earwitness.errors import ProtocolError, nearest
from earwitness.trials import Manifest, Trial

__all__ = ["Stream", "Task"]


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
        ProtocolError: no task, two tasks of one name, or a trial in more than one split.
    """

    def __init__(self, tasks: Iterable[Task]):
        self.tasks = tuple(tasks)
        if not self.tasks:
            raise ProtocolError("a stream needs at least one task; none was given.")
        names = [task.name for task in self.tasks]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ProtocolError(f"task name(s) {', '.join(repeated)} appear more than once.")
        for task in self.tasks:
            _require_disjoint(task)

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, position: int) -> Task:
        return self.tasks[position]

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

        ``order`` names the tasks in their order; by default the order of appearance.
        """
        parts = manifest.split(column)
        names = list(order) if order is not None else list(parts)
        for name in names:
            if name not in parts:
                raise ProtocolError(
                    f"manifest {manifest.name!r} has no {column} {name!r}"
                    f"{nearest(name, parts)} Found: {', '.join(parts)}."
                )
        return cls(_task(name, parts[name], dev_split, test_split) for name in names)


def _task(name: str, part: Manifest, dev_split: str, test_split: str) -> Task:
    splits = part.split()
    for wanted in ("train", dev_split, test_split):
        if wanted not in splits:
            raise ProtocolError(
                f"task {name!r} has no trial with split {wanted!r}; found: {', '.join(splits)}."
            )
    return Task(name, splits["train"], splits[dev_split], splits[test_split])


def _require_disjoint(task: Task) -> None:
    parts = {"train": task.train, "dev": task.dev, "test": task.test}
    clips = {name: {_clip(m, t) for t in m} for name, m in parts.items()}
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        shared = sorted(clips[one] & clips[other])
        if shared:
            raise ProtocolError(
                f"task {task.name!r}: {len(shared)} clip(s) are in both {one} and {other}, "
                f"first {shared[0]}; what is learned must not be what it is judged by."
            )


def _clip(manifest: Manifest, trial: Trial) -> str:
    """What tells clips apart: the file, and its row where all vectors share one file."""
    row = f", row {trial.tags['row']}" if "row" in trial.tags else ""
    return f"{manifest.path(trial)}{row}"
