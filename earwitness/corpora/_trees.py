"""Folders whose names are domains and classes, and splits drawn by lot where a corpus has none."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from earwitness.corpora.base import listing, read_class
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.trials import Trial


def natural(name: str) -> list[str | int]:
    """A key that sorts numbers inside names by their size.

    >>> sorted(["task10", "task9"], key=natural)
    ['task9', 'task10']
    """
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order; hidden files are no content.

    Raises:
        ProtocolError: no such folder, or nothing in it.
    """
    visible = [p for p in folder.iterdir() if p.name[0] != "."] if folder.is_dir() else []
    if not visible:
        raise ProtocolError(f"{folder}: expected a folder with content; found {listing(folder)}.")
    return sorted(visible, key=lambda path: natural(path.name))


def subfolders(folder: Path, holding: str) -> list[Path]:
    """The folders in a folder that has nothing but folders.

    Raises:
        ProtocolError: something else lies there; says what was expected to.
    """
    found = entries(folder)
    loose = [path.name for path in found if not path.is_dir()]
    if loose:
        raise ProtocolError(
            f"{folder}: expected folders ({holding}) only; found {', '.join(loose[:6])}."
        )
    return found


def holds_folders(folder: Path) -> bool:
    """Whether there are folders in a folder."""
    return any(path.is_dir() and path.name[0] != "." for path in folder.iterdir())


def class_trials(
    root: Path,
    folder: Path,
    suffixes: tuple[str, ...],
    *,
    label: str,
    domain: str,
    split: str,
) -> list[Trial]:
    """The files of one class in the order of their names; ids are paths in ``root`` without suffix.

    Raises:
        ProtocolError: a file of another kind, a folder, or nothing at all.
    """
    files = sorted(entries(folder))
    wrong = [path.name for path in files if path.suffix.lower() not in suffixes]
    if wrong:
        raise ProtocolError(
            f"{folder}: expected files ({', '.join(suffixes)}) only; found {', '.join(wrong[:6])}."
        )
    names = [path.relative_to(root) for path in files]
    return [
        Trial(n.with_suffix("").as_posix(), n.as_posix(), label, domain=domain, split=split)
        for n in names
    ]


def class_folders(
    folder: Path, classes: Sequence[str], *, every: bool, only: bool
) -> list[tuple[str, Path]]:
    """Label and folder of the classes, in their order.

    Args:
        folder: holds one folder a class, and nothing else.
        classes: bonafide and spoof may be spelled in any way, others exactly.
        every: each class must be there.
        only: nothing else may be there; otherwise other folders are left out.

    Raises:
        ProtocolError: a class has no folder, or a folder is no class.
    """
    found: list[tuple[str, Path]] = []
    others = []
    for path in subfolders(folder, "one a class"):
        label = _label(path.name, classes)
        if label in classes:
            found.append((label, path))
        else:
            others.append(path.name)
    absent = [name for name in classes if name not in dict(found)]
    if absent and every:
        raise ProtocolError(
            f"{folder}: no folder for the class {absent[0]!r}{nearest(absent[0], others)} "
            f"Found: {listing(folder)}."
        )
    if others and only:
        raise ProtocolError(
            f"{folder}: {', '.join(others[:6])} is not among the classes {', '.join(classes[:12])}."
        )
    return sorted(found, key=lambda pair: classes.index(pair[0]))


def _label(name: str, classes: Sequence[str]) -> str:
    try:
        return read_class(name, classes)
    except ValueError:
        return "unknown"


def set_apart(trials: Iterable[Trial], split: str, share: float, seed: int) -> list[Trial]:
    """Move ``share`` of the training trials of each domain and class to another split, by lot.

    A trial's lot depends on the seed and its id alone, and each group gives at least one. The order
    of the trials stays.

    >>> trials = [Trial(f"{n}", f"{n}.png", "cat", split="train") for n in range(10)]
    >>> [t.split for t in set_apart(trials, "dev", 0.2, seed=0)].count("dev")
    2

    Raises:
        SettingsError: the share is not between 0 and 1.
        ProtocolError: a class of a domain has too few trials to share.
    """
    if not 0 < share < 1:
        raise SettingsError(f"{split}_share is {share}, expected more than 0 and less than 1.")
    trials = list(trials)
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.split == "train":
            groups.setdefault((trial.domain, trial.label), []).append(trial)
    moved = set()
    for (domain, label), group in groups.items():
        count = max(1, int(share * len(group) + 0.5))
        if count >= len(group):
            raise ProtocolError(
                f"domain {domain!r}, class {label!r}: {split} and train need a trial each with a share "
                f"of {share}; found {len(group)}."
            )
        moved |= {t.id for t in sorted(group, key=lambda t: _lot(seed, t))[:count]}
    return [replace(t, split=split) if t.id in moved else t for t in trials]


def _lot(seed: int, trial: Trial) -> str:
    return hashlib.sha256(f"{seed} {trial.id}".encode()).hexdigest()
