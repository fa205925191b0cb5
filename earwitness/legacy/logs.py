"""What their scripts write about accuracy, read back: text logs and JSON metrics -> one table a run.

A text log has, after each ``-- >> Start of eval phase << --``, lines such as ``Top1_Acc_Stream/
eval_phase/test_stream/Task003 = 0.9440``: the test sets in order. Logs of the EVDA code lack these
and have ``Top1_Acc_Exp/eval_phase/test_stream/Task003/Exp003 = 0.9440``, which is the same number.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError
from earwitness.files import read_text
from earwitness.metrics import continual

__all__ = ["MEANS", "Record", "read_record", "summarise"]

STREAM = "Top1_Acc_Stream/eval_phase/test_stream/Task"
EXPERIENCE = "Top1_Acc_Exp/eval_phase/test_stream/Task"
EVALUATION = "-- >> Start of eval phase << --"
MEANS = {
    "offline": continual.clear_in_domain,
    "online": continual.clear_next_domain,
    "accuracy": continual.clear_accuracy,
    "backward": continual.clear_backward,
    "forward": continual.clear_forward,
}
_LINE = re.compile(rf"({STREAM}|{EXPERIENCE})(\d+)(?:/Exp\d+)?\s*=\s*(.*)")

_Row = dict[int, list[float]]  # test set -> its values, more than one where it was passed over again


@dataclass(frozen=True)
class Record:
    """Accuracies of one run: ``rows`` (evaluations, test sets), fractions, in the order of the file.

    Mode ``online`` evaluates before a task is learned, so its first row is of the untrained model.
    """

    name: str
    rows: NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    @property
    def online(self) -> bool:
        """By the file's name, as their scripts decide it."""
        return "online" in self.name

    @property
    def matrix(self) -> NDArray[np.float64] | None:
        """Row = after learning a task, column = test set; None of an unfinished or one-row run."""
        rows = self.rows[1:] if self.online else self.rows
        tasks = self.rows.shape[1]
        if self.online and len(rows) == tasks - 1:  # nothing comes after the last task
            rows = np.vstack([rows, np.full(tasks, np.nan)])
        return rows if rows.shape == (tasks, tasks) else None


def read_record(path: str | Path, *, train_eval: bool = False) -> Record:
    """Read a ``log_*.txt`` or a ``test_metric_*.json``, of their tools or ours.

    ``train_eval``: the training sets were evaluated too, before the test sets; every second
    evaluation is kept.

    Raises:
        ProtocolError: no accuracy in the file, a line without a number, rows of unequal length.
    """
    path = Path(path)
    found = _from_json(path) if path.suffix == ".json" else _from_text(path)
    rows = [row for row in found if row][train_eval :: 1 + train_eval]
    if not rows:
        raise ProtocolError(
            f"{path}: no accuracy; expected lines such as '{STREAM}000 = 0.9440'. "
            "Was the run stopped before its first evaluation?"
        )
    warnings = []
    if len(rows) > 1 and len(rows[-1]) < len(rows[0]):
        warnings.append(f"the last evaluation stops after {len(rows.pop())} test set(s): left out")
    for number, row in enumerate(rows):
        if sorted(row) != list(range(len(rows[0]))):
            raise ProtocolError(
                f"{path}: evaluation {number + 1} has the test sets {sorted(row)}, "
                f"expected 0 to {len(rows[0]) - 1}."
            )
    passes = max(len(values) for row in rows for values in row.values())
    if passes > 1:
        warnings.append(
            f"up to {passes} passes over a test set, averaged as their stream metric is: ELMA's "
            "experts one by one; what they decide together is only in result/<split>/eer/"
        )
    means = [[np.mean(row[on]) for on in sorted(row)] for row in rows]
    return Record(path.stem, np.array(means, dtype=np.float64), tuple(warnings))


def summarise(record: Record) -> dict[str, float]:
    """The five means by their names, those that there are; empty for an unfinished or one-row run.

    They are plain means over parts of the matrix: ``offline`` the diagonal, ``online`` right above
    it, ``accuracy`` diagonal and below, ``backward`` below, ``forward`` above.

    >>> summarise(Record("log_RWM_offline", np.array([[0.75, 0.5], [0.25, 1.0]])))["offline"]
    0.875
    """
    matrix = record.matrix
    if matrix is None:
        return {}
    if record.online:
        known = np.nan_to_num(matrix)  # no mean of these two has anything of the last row
        return {name: MEANS[name](known) for name in ("online", "forward")}
    names = MEANS if len(matrix) > 1 else ("offline", "accuracy")
    return {name: MEANS[name](matrix) for name in names}


def _from_text(path: Path) -> Iterator[_Row]:
    """Rows of the stream lines, or of the experience lines where the log has no others."""
    text = read_text(path)
    wanted = STREAM if STREAM in text else EXPERIENCE
    row: _Row = {}
    latest = -1
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.search(line)
        if EVALUATION in line:
            yield row
            row, latest = {}, -1
        elif found and found[1] == wanted:
            on = int(found[2])
            if on < latest:  # a log without the marks of its phases
                yield row
                row = {}
            row.setdefault(on, []).append(_number(found[3], path, number))
            latest = on
    yield row


def _number(text: str, path: Path, line: int) -> float:
    try:
        value = float(text.strip().rstrip(","))
    except ValueError:
        raise ProtocolError(f"{path}, line {line}: {text!r} is not a number.") from None
    if not 0 <= value <= 1:
        raise ProtocolError(f"{path}, line {line}: accuracy {value}, expected 0 to 1.")
    return value


def _from_json(path: Path) -> Iterator[_Row]:
    """One row a task index, in the order of the indices."""
    try:
        parts = json.loads(read_text(path)).items()
        yield from (_row_of(metrics) for _, metrics in sorted(parts, key=lambda part: int(part[0])))
    except (ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(
            f"{path}: not their metrics ({error}); expected task index -> metric name -> value."
        ) from None


def _row_of(metrics: Mapping[str, Any]) -> _Row:
    wanted = STREAM if any(name.startswith(STREAM) for name in metrics) else EXPERIENCE
    named = {name: value for name, value in metrics.items() if name.startswith(wanted)}
    return {int(name.removeprefix(wanted).split("/")[0]): [float(v)] for name, v in named.items()}
