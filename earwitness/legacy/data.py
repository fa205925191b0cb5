"""Their data: folders of buckets and classes, or the file lists made from them, as a stream of tasks.

A list is ``data_cache/data_{train,test,all}_path.txt`` in the run's folder, with the header ``file
class_index timestamp``. Lists that are there are used, whoever wrote them, whatever the YAML file
says by now; otherwise they are made. Theirs takes a folder's files in the order in which the disk
gives them; here names are sorted, so a list can be made twice.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from earwitness.corpora.base import listing
from earwitness.errors import ProtocolError
from earwitness.files import read_text, write_text
from earwitness.legacy.config import Config
from earwitness.streams import Stream, Task
from earwitness.trials import CLASSES, Manifest, Trial, join_manifests, read_label

__all__ = ["File", "TrainTest", "class_names", "file_lists", "joined", "split_by_lot", "stream"]

_HEADER = "file class_index timestamp"
_Item = TypeVar("_Item")


class File(NamedTuple):
    """A line of a list: path as it stands there, place of its class in class_list, bucket from 1."""

    path: str
    place: int
    bucket: int


class TrainTest(Stream):
    """A stream of a benchmark without development sets: ``dev`` is the test set.

    So nothing may be chosen by it; ``run`` keeps the last epoch's weights.

    Raises:
        ProtocolError: a file is learned in one task and judged by in another, or in the same.
    """

    def __init__(self, tasks: Iterable[Task]):
        self.tasks = tuple(tasks)
        self.classes = self.tasks[0].train.classes
        learned = {trial.path: task.name for task in self.tasks for trial in task.train}
        both = [t.path for task in self.tasks for t in task.test if t.path in learned]
        if both:
            raise ProtocolError(f"{len(both)} file(s) are in train and in test; first {both[0]}.")


def stream(config: Config, folder: str | Path, say: Callable[[str], None] = print) -> TrainTest:
    """The tasks of a file of theirs; ``folder`` is the run's, where the lists lie.

    Raises:
        ProtocolError: a folder or list is not what it should be; says where and what was expected.
    """
    train, test = file_lists(config, Path(folder), say)
    buckets = range(1, config.timestamp + 1)
    return TrainTest(
        Task(
            str(number),
            _manifest(config, "train", [file for file in train if file.bucket == number]),
            tested := _manifest(config, "test", [file for file in test if file.bucket == number]),
            tested,
        )
        for number in buckets
    )


def joined(tasks: Stream) -> TrainTest:
    """All training data as one task, as their JointTraining has it."""
    train = join_manifests("train", [task.train for task in tasks])
    test = join_manifests("test", [task.test for task in tasks])
    return TrainTest([Task("all", train, test, test)])


def class_names(config: Config) -> tuple[str, ...]:
    """Our names of the classes in the order of class_list.

    Two classes that are real and fake, in any spelling, are bonafide and spoof.
    """
    try:
        ours = tuple(read_label(name) for name in config.classes)
    except ValueError:
        return config.classes
    return ours if sorted(ours) == sorted(CLASSES) else config.classes


def file_lists(
    config: Config, folder: Path, say: Callable[[str], None] = print
) -> tuple[list[File], list[File]]:
    """Files of train and of test: from the lists in ``folder``, or listed now and written there."""
    train, test, everything = (
        folder / "data_cache" / f"data_{stage}_path.txt" for stage in ("train", "test", "all")
    )
    if train.is_file() and test.is_file():
        say(f"file lists: those in {train.parent}, made earlier")
        roots = config.roots()
        return (
            _found(_read_list(train, config), roots[0], say),
            _found(_read_list(test, config), roots[1] or roots[0], say),
        )
    lists = _listed(config, say)
    for path, files in ((train, lists[0]), (test, lists[1]), (everything, [*lists[0], *lists[1]])):
        lines = (f"{file.path} {file.place} {file.bucket}" for file in files)
        write_text(path, "\n".join([_HEADER, *lines]))
    return lists


def split_by_lot(items: Sequence[_Item], share: float, seed: int) -> tuple[list[_Item], list[_Item]]:
    """Train and test part, the same as scikit-learn's ``train_test_split`` gives for that seed.

    >>> split_by_lot(range(10), 0.3, 1111)
    ([0, 6, 2, 4, 1, 5, 7], [9, 3, 8])
    """
    order = np.random.RandomState(seed).permutation(len(items))
    tested = math.ceil(share * len(items))
    return [items[i] for i in order[tested:]], [items[i] for i in order[:tested]]


def _listed(config: Config, say: Callable[[str], None]) -> tuple[list[File], list[File]]:
    train_root, test_root = config.roots()
    train: list[File] = []
    test: list[File] = []
    for bucket in range(1, config.timestamp + 1):
        for index, name in enumerate(config.classes):
            here = Path(str(bucket)) / name
            files = _first(train_root / here, config.num_instance_each_class, config, say)
            others: list[str] = []
            if test_root is None:
                files, others = split_by_lot(files, config.test_split, config.random)
            else:
                others = _first(test_root / here, config.num_instance_each_class_test, config, say)
            train += [File(path, index, bucket) for path in files]
            test += [File(path, index, bucket) for path in others]
    return train, test


def _first(folder: Path, count: int, config: Config, say: Callable[[str], None]) -> list[str]:
    """The first ``count`` files by name; too few are an error, or with EVDA, as there, a remark."""
    if not folder.is_dir():
        raise ProtocolError(
            f"{folder}: no such folder; expected <bucket>/<class>/ for buckets 1 to "
            f"{config.timestamp}. In {folder.parents[1]}: {listing(folder.parents[1])}."
        )
    files = sorted(str(p) for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    if any(" " in path for path in files):
        raise ProtocolError(f"{folder}: a blank in a path; their file lists part columns by blanks.")
    if len(files) < count:
        found = f"{folder}: {len(files)} file(s), num_instance_each_class says {count}"
        if config.dialect == "clear" or not files:
            raise ProtocolError(f"{found}.")
        say(f"{found}: all of them are used")
    return files[:count]


def _read_list(path: Path, config: Config) -> list[File]:
    lines = read_text(path).splitlines()
    if not lines or lines[0].split() != _HEADER.split():
        raise ProtocolError(f"{path}, line 1: expected {_HEADER!r}.")
    return [_file(line, path, number, config) for number, line in enumerate(lines[1:], 2) if line]


def _file(line: str, path: Path, number: int, config: Config) -> File:
    try:
        name, index, bucket = line.split()
        file = File(name, int(index), int(bucket))
    except ValueError:
        raise ProtocolError(
            f"{path}, line {number}: {line!r}, expected path, class index and bucket."
        ) from None
    if not (0 <= file.place < config.num_classes and 1 <= file.bucket <= config.timestamp):
        raise ProtocolError(
            f"{path}, line {number}: class {file.place} and bucket {file.bucket}, expected classes 0 "
            f"to {config.num_classes - 1} and buckets 1 to {config.timestamp}; "
            f"remove {path.parent} to have the lists made anew."
        )
    return file


def _found(files: list[File], root: Path, say: Callable[[str], None]) -> list[File]:
    """Lists of another machine name its folders: the same bucket, class and name is looked up here."""
    if not files or Path(files[0].path).is_file():
        return files
    say(f"file lists: {files[0].path} is not there, so files are looked up in {root}")
    return [f._replace(path=str(root.joinpath(*Path(f.path).parts[-3:]))) for f in files]


def _manifest(config: Config, split: str, files: list[File]) -> Manifest:
    names = class_names(config)
    classes = CLASSES if sorted(names) == sorted(CLASSES) else names
    trials = [Trial(f.path, f.path, names[f.place], domain=str(f.bucket), split=split) for f in files]
    return Manifest(split, trials, classes=classes)
