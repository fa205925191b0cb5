"""``get_metric_all.py``: the five means of each method over its runs, and pictures.

Theirs finds the runs of a method by the beginning of the file's name, so GDumb takes in
GDumbFinetune; here a name has to be the whole one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError
from earwitness.legacy.logs import Record, read_record, summarise

__all__ = ["Group", "metrics"]

_LOG = re.compile(r"(.+_(?:offline|online))\d*\.txt")  # the number is that of the run
_JSON = re.compile(r"(test_metric_.+)\.json")


@dataclass(frozen=True)
class Group:
    """The runs of one method: ``table`` (distinct runs, means), its columns, and the mean matrix."""

    name: str
    files: int
    columns: tuple[str, ...]
    table: NDArray[np.float64]
    matrix: NDArray[np.float64] | None

    @property
    def label(self) -> str:
        """The method, as the file's name has it."""
        bare = self.name.removeprefix("test_metric_").removeprefix("log_")
        return re.sub(r"_(offline|online)$", "", bare)

    def __str__(self) -> str:
        mean, std = self.table.mean(0).tolist(), self.table.std(0).tolist()
        what = ", ".join(self.columns)
        return (
            f"{self.name} with {what} of mean of {mean} std of {std} with {self.files} elem"
            f" ({len(self.table)} distinct)"
        )


def metrics(
    folder: str | Path = "metric",
    *,
    plot: bool = False,
    plot_folder: str | Path = "plot_avalanche",
    verbose: bool = False,
    timestamp: int | None = None,
    train_eval: bool = False,
    say: Callable[[str], None] = print,
) -> list[Group]:
    """Say and return the means of every method whose logs (or metric files) lie in ``folder``.

    Several runs: equal rows count once; mean and population standard deviation. ``plot`` writes,
    for the methods that are there, a heat map each, ``NAME.pdf``, and ``rwm_clear_exp_<k>.pdf`` with
    the accuracy on test set k after each task, all also as PNG, into ``plot_folder``.

    Args:
        folder: where ``parse --move`` copied logs to, or the folder ``metric`` of a run.
        verbose: say every distinct row.
        timestamp, train_eval: as for ``parse``.

    Raises:
        ProtocolError: nothing to read, or, after all others were said, files without accuracy.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ProtocolError(f"{folder}: no such folder; `earwitness legacy parse --move` makes one.")
    groups: list[Group] = []
    wrong: list[str] = []
    for name, paths in _by_name(folder).items():
        try:
            records = [read_record(path, train_eval=train_eval) for path in paths]
            group = _group(name, records, timestamp)
        except ProtocolError as error:
            wrong.append(str(error))
            continue
        groups.append(group)
        for path, record in zip(paths, records, strict=True):
            for warning in record.warnings:
                say(f"{path.name}: {warning}")
        if verbose:
            say(str(group.table))
        say(str(group))
    if plot:
        _plot(groups, Path(plot_folder), say)
    if wrong:
        raise ProtocolError("\n".join(wrong))
    if not groups:
        raise ProtocolError(
            f"{folder}: nothing to read; expected log_<method>_<mode><k>.txt or test_metric_*.json."
        )
    return groups


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """Group name -> its files; what matches neither form is of something else (train metrics)."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        found = _LOG.fullmatch(path.name) or _JSON.fullmatch(path.name)
        if found:
            groups.setdefault(found[1], []).append(path)
    return groups


def _group(name: str, records: list[Record], tasks: int | None) -> Group:
    """Runs of one kind: all with a matrix, or all without (then the mean of what there is)."""
    shapes = {record.rows.shape for record in records}
    if len(shapes) > 1 or (tasks is not None and next(iter(shapes))[1] != tasks):
        expected = "equal ones" if tasks is None else f"{tasks} test sets (--timestamp)"
        raise ProtocolError(
            f"{name}: tables of {sorted(shapes)} evaluations and test sets, expected {expected}; "
            "is a run unfinished?"
        )
    means = [summarise(record) or {"mean": float(record.rows.mean())} for record in records]
    columns = tuple(means[0])
    table = np.unique([[row[c] for c in columns] for row in means], axis=0)
    square = [record.matrix for record in records if record.matrix is not None]
    matrix = np.mean(square, axis=0) if square and not records[0].online else None
    return Group(name, len(records), columns, table, matrix)


def _plot(groups: list[Group], folder: Path, say: Callable[[str], None]) -> None:
    from earwitness.legacy.pictures import draw_accuracies

    drawn = {group.name: group for group in groups if group.matrix is not None}
    matrices = {name: group.matrix for name, group in drawn.items() if group.matrix is not None}
    labels = {name: group.label for name, group in drawn.items()}
    for path in draw_accuracies(matrices, labels, folder):
        say(f"wrote {path}")
