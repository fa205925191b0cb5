"""``parse_log_to_result.py``: the five means of each log of a run.

Where theirs prints the mean of an empty list, this says what is wrong with the log; logs of mode
``online``, which theirs passes over, get the two means that they have; and it reads EVDA's logs.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from earwitness.errors import ProtocolError
from earwitness.legacy.logs import Record, read_record, summarise

__all__ = ["parse"]


def parse(
    split: str | Path,
    *,
    verbose: bool = False,
    move: str | Path | None = None,
    timestamp: int | None = None,
    train_eval: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, float]]:
    """Say and return the five means of each ``log/*.txt`` of the run ``split``.

    Args:
        split: the run's folder, or its name, here or (where the CLEAR forks write) one folder up.
        verbose: say the matrix too, a row an evaluation.
        move: a folder that gets a copy of each log as ``NAME<k>.txt``, k counting from 1: several
            runs of a method side by side, for ``metrics``.
        timestamp: the number of tasks, checked where given.
        train_eval: see ``read_record``.

    Raises:
        ProtocolError: no such run, no logs, or, after all others were said, logs without accuracy.
    """
    folder = _logs_of(split)
    means: dict[str, dict[str, float]] = {}
    wrong: list[str] = []
    for path in sorted(folder.glob("*.txt")):
        try:
            record = read_record(path, train_eval=train_eval)
            _require_tasks(record, timestamp, path)
        except ProtocolError as error:
            wrong.append(str(error))
            continue
        means[path.name] = summarise(record)
        _tell(path.name, record, means[path.name], verbose, say)
        if move is not None:
            say(f"copied to {_copy(path, Path(move))}")
    if wrong:
        raise ProtocolError("\n".join(wrong))
    if not means:
        raise ProtocolError(f"{folder}: no log; expected files such as log_RWM_offline.txt.")
    return means


def _logs_of(split: str | Path) -> Path:
    tried = [Path(split) / "log", Path("..") / split / "log"]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise ProtocolError(
        f"no folder {tried[0]} and none {tried[1]}; --split is the folder or the name of a run."
    )


def _require_tasks(record: Record, tasks: int | None, path: Path) -> None:
    if tasks is not None and record.rows.shape[1] != tasks:
        raise ProtocolError(
            f"{path}: {record.rows.shape[1]} test sets, expected {tasks} (--timestamp)."
        )


def _tell(
    name: str, record: Record, means: dict[str, float], verbose: bool, say: Callable[[str], None]
) -> None:
    for warning in record.warnings:
        say(f"{name}: {warning}")
    if verbose:
        for row in record.rows:
            say(" ".join(f"{value:.4f}" for value in row))
    if means:
        say(f"{name} with {', '.join(means)} of {', '.join(str(v) for v in means.values())}")
    else:
        say(f"{name} count of {record.rows.size}, with mean of {np.mean(record.rows)}")


def _copy(path: Path, folder: Path) -> Path:
    """Copy under the first number above those in use."""
    folder.mkdir(parents=True, exist_ok=True)
    form = re.compile(rf"{re.escape(path.stem)}(\d+){re.escape(path.suffix)}")
    used = [int(m[1]) for p in folder.iterdir() if (m := form.fullmatch(p.name))]
    target = folder / f"{path.stem}{max(used, default=0) + 1}{path.suffix}"
    shutil.copyfile(path, target)
    return target
