"""Scores: trial id -> real number, higher = more bonafide. The only orientation there is.

Where the classes are others than bonafide and spoof, a trial has one number a class: `ClassScores`.

A score file is CSV or TSV: ``file_name,score,label`` with or without a header. Labels in a score
file are optional for joining with a manifest and needed for metrics without one.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError
from earwitness.files import read_text, write_json, write_text
from earwitness.trials import LABELS, Manifest, read_label, require_classes

__all__ = ["ONE_A_CLASS", "ClassScores", "Scores", "read_scores"]

ONE_A_CLASS = (
    "these are scores of other classes than bonafide and spoof, one number a class; "
    "they are judged by accuracy, with `earwitness compare`."
)

_ID_NAMES = {"file_name", "filename", "file", "id", "utt", "trial", "path"}


class Scores:
    """Scores of trials, in order, with labels where they are known.

    >>> scores = Scores(["a", "b"], [1.5, -0.5], ["bonafide", "spoof"])
    >>> scores.bonafide, scores.spoof
    (array([1.5]), array([-0.5]))

    Raises:
        ProtocolError: duplicate ids, NaN or infinite scores, lengths that differ.
    """

    def __init__(
        self,
        ids: Iterable[str],
        values: Iterable[float],
        labels: Iterable[str] | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        source: str = "scores",
    ):
        self.ids = list(ids)
        self.values = np.asarray(list(values), dtype=np.float64)
        self.labels = list(labels) if labels is not None else ["unknown"] * len(self.ids)
        self.provenance = dict(provenance or {})
        self.source = source
        if not len(self.ids) == len(self.values) == len(self.labels):
            raise ProtocolError(
                f"{source}: {len(self.ids)} ids, {len(self.values)} scores and "
                f"{len(self.labels)} labels; expected equally many."
            )
        repeated = [i for i, n in Counter(self.ids).items() if n > 1]
        if repeated:
            raise ProtocolError(
                f"{source}: {len(repeated)} duplicate id(s), first {repeated[0]!r}; "
                "every trial is scored once."
            )
        unknown = [x for x in self.labels if x not in LABELS]
        if unknown:
            raise ProtocolError(
                f"{source}: {len(unknown)} label(s) are not {', '.join(LABELS)}, first {unknown[0]!r}."
            )
        wrong = np.flatnonzero(~np.isfinite(self.values))
        if len(wrong):
            raise ProtocolError(
                f"{source}: {len(wrong)} score(s) are NaN or infinite, "
                f"first {self.values[wrong[0]]} (id {self.ids[wrong[0]]!r}); scores are real numbers."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bonafide(self) -> NDArray[np.float64]:
        """Scores of the bonafide trials."""
        return self._of("bonafide")

    @property
    def spoof(self) -> NDArray[np.float64]:
        """Scores of the spoof trials."""
        return self._of("spoof")

    def _of(self, label: str) -> NDArray[np.float64]:
        return self.values[np.array([one == label for one in self.labels], dtype=bool)]

    def join(self, manifest: Manifest) -> "Scores":
        """These scores in the manifest's order with the manifest's labels.

        Raises:
            ProtocolError: trials without a score or scores without a trial, with counts and ids.
        """
        value_of = dict(zip(self.ids, self.values, strict=True))
        missing = [t.id for t in manifest if t.id not in value_of]
        extra = sorted(set(self.ids) - {t.id for t in manifest})
        if missing or extra:
            raise ProtocolError(
                f"{self.source} and manifest {manifest.name!r} do not hold the same trials: "
                f"{len(missing)} without a score{_first(missing)}, "
                f"{len(extra)} scored but not in the manifest{_first(extra)}."
            )
        return Scores(
            [t.id for t in manifest],
            [value_of[t.id] for t in manifest],
            [t.label for t in manifest],
            provenance=self.provenance,
            source=self.source,
        )

    def write(self, path: str | Path) -> None:
        """Write ``file_name,score,label``; provenance goes to a side file ``<path>.json``.

        Floats are written with all their digits, so reading gives the same bits back.
        """
        path = Path(path)
        out = io.StringIO()
        writer = csv.writer(out, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerow(["file_name", "score", "label"])
        writer.writerows(
            [i, repr(float(v)), label]
            for i, v, label in zip(self.ids, self.values, self.labels, strict=True)
        )
        # The side file first: a process killed in between leaves no scores without provenance.
        if self.provenance:
            write_json(path.with_name(path.name + ".json"), self.provenance)
        write_text(path, out.getvalue())

    @classmethod
    def read(cls, path: str | Path) -> "Scores":
        """Read ``file_name,score[,label]`` as CSV or TSV, with or without a header line.

        Raises:
            ProtocolError: with the line and what was expected there.
        """
        path = Path(path)
        lines = read_text(path).splitlines()
        if not any(line.strip() for line in lines):
            raise ProtocolError(f"{path}: the file is empty; lines file_name,score,label expected.")
        if _is_one_a_class(lines[0]):
            raise ProtocolError(f"{path}: expected file_name,score,label; {ONE_A_CLASS}")
        delimiter = "\t" if "\t" in lines[0] else ","
        rows = [(n, row) for n, row in enumerate(csv.reader(lines, delimiter=delimiter), 1) if row]
        order, rows = _column_order(rows, path)
        parsed = [_parse(row, order, path, number) for number, row in rows]
        ids, values, labels = zip(*parsed, strict=True) if parsed else ((), (), ())
        return cls(ids, values, labels, source=str(path))


class ClassScores:
    """One number a class for each trial, where the classes aren't bonafide and spoof.

    ``values`` (trials, classes); the decision is the class of the highest. The label of a trial that
    nobody has judged is ``unknown``.

    >>> ClassScores(["a"], [[0.1, 0.7, 0.2]], ["1"], classes=("0", "1", "2")).right
    array([ True])

    Raises:
        ProtocolError: duplicate ids, NaN or infinite numbers, shapes that differ, labels that are
            none of the classes, classes that can't be any.
    """

    def __init__(
        self,
        ids: Iterable[str],
        values: ArrayLike,
        labels: Iterable[str],
        *,
        classes: Iterable[str],
        provenance: Mapping[str, Any] | None = None,
        source: str = "scores",
    ):
        self.classes = require_classes(classes, source)
        self.ids, self.labels = list(ids), list(labels)
        self.values = np.asarray(values, dtype=np.float64)
        self.provenance = dict(provenance or {})
        self.source = source
        expected = (len(self.ids), len(self.classes))
        if self.values.shape != expected or len(self.labels) != len(self.ids):
            raise ProtocolError(
                f"{source}: numbers of shape {self.values.shape} and {len(self.labels)} labels; "
                f"expected {expected}, a row a trial and a column a class."
            )
        if len(set(self.ids)) < len(self.ids):
            raise ProtocolError(f"{source}: a trial stands there twice; every trial is scored once.")
        foreign = sorted({*self.labels} - {*self.classes, "unknown"})
        if foreign:
            raise ProtocolError(
                f"{source}: {foreign[0]!r} is none of the classes {', '.join(self.classes)}."
            )
        if not np.isfinite(self.values).all():
            raise ProtocolError(f"{source}: NaN or infinite numbers; scores are real numbers.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(trials,) whether the highest number is that of the trial's own class.

        Raises:
            ProtocolError: trials are labelled unknown.
        """
        unknown = self.labels.count("unknown")
        if unknown:
            raise ProtocolError(
                f"{self.source}: {unknown} of {len(self)} trial(s) are labelled unknown, first "
                f"{self.ids[self.labels.index('unknown')]!r}; who is right needs a label for each."
            )
        own = np.array([self.classes.index(label) for label in self.labels])
        return self.values.argmax(1) == own

    def write(self, path: str | Path) -> None:
        """Write ``file_name,label,<class>,...``; provenance goes to a side file ``<path>.json``."""
        path = Path(path)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["file_name", "label", *self.classes])
        for id_, label, row in zip(self.ids, self.labels, self.values.tolist(), strict=True):
            writer.writerow([id_, label, *map(repr, row)])
        if self.provenance:
            write_json(path.with_name(path.name + ".json"), self.provenance)
        write_text(path, out.getvalue())

    @classmethod
    def read(cls, path: str | Path) -> "ClassScores":
        """Read what ``write`` wrote.

        Raises:
            ProtocolError: with the line and what was expected there.
        """
        rows = list(csv.reader(read_text(Path(path)).splitlines()))
        if len(rows) < 2 or rows[0][:2] != ["file_name", "label"]:
            raise ProtocolError(f"{path}: expected the header file_name,label,<class>,... and rows.")
        header, *rest = rows
        values = [_numbers(row, header, f"{path}, line {n}") for n, row in enumerate(rest, 2)]
        ids, labels = [row[0] for row in rest], [row[1] for row in rest]
        return cls(ids, np.array(values), labels, classes=header[2:], source=str(path))


def read_scores(path: str | Path) -> Scores | ClassScores:
    """Read a score file of either kind; one whose third column is ``score`` is of bonafide and spoof.

    Raises:
        ProtocolError: as the reader of its kind.
    """
    lines = read_text(Path(path)).splitlines()
    one_a_class = bool(lines) and _is_one_a_class(lines[0])
    return ClassScores.read(path) if one_a_class else Scores.read(path)


def _is_one_a_class(line: str) -> bool:
    """Whether this is the header of class scores; ``file_name,label,score`` is of the other kind."""
    header = next(csv.reader([line]), [])
    third = header[2].strip().lower() if len(header) > 2 else "score"
    return header[:2] == ["file_name", "label"] and third != "score"


def _numbers(row: list[str], header: list[str], where: str) -> list[float]:
    if len(row) != len(header):
        found = f"{len(row)} column(s)" if row else "a blank line"
        raise ProtocolError(f"{where}: {found}, expected {len(header)} columns as in the header.")
    try:
        return [float(cell) for cell in row[2:]]
    except ValueError as error:
        raise ProtocolError(f"{where}: expected a number a class, found {row[2:]} ({error}).") from None


def _first(ids: list[str]) -> str:
    return f" (first {ids[0]!r})" if ids else ""


def _column_order(
    rows: list[tuple[int, list[str]]], path: Path
) -> tuple[dict[str, int], list[tuple[int, list[str]]]]:
    """Where id, score and label stand: from the header if there is one, else 0, 1, 2."""
    first = [cell.strip().lower() for cell in rows[0][1]]
    if "score" not in first:
        return {"id": 0, "score": 1, "label": 2}, rows
    ids = [i for i, name in enumerate(first) if name in _ID_NAMES]
    if not ids:
        raise ProtocolError(
            f"{path}, line 1: the header has no id column; expected file_name, found {first}."
        )
    order = {"id": ids[0], "score": first.index("score")}
    if "label" in first:
        order["label"] = first.index("label")
    return order, rows[1:]


def _parse(row: list[str], order: dict[str, int], path: Path, number: int) -> tuple[str, float, str]:
    try:
        label = row[order["label"]] if len(row) > order.get("label", len(row)) else "unknown"
        return row[order["id"]].strip(), float(row[order["score"]]), read_label(label)
    except (IndexError, ValueError) as error:
        raise ProtocolError(
            f"{path}, line {number}: expected file_name,score,label, found {row} ({error})"
        ) from None
