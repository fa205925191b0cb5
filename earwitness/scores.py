"""Scores: trial id -> real number, higher = more bonafide. The only orientation there is.

Where the classes are others than bonafide and spoof, a trial has one number a class: `ClassScores`.

Ours is a CSV file ``file_name,score,label``; those of other people are read as they are
(`earwitness.score_files`). Labels are optional for joining with a protocol and needed for metrics
without one. Ids are kept as one column, so that tens of millions of trials fit.
"""

import copy
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError
from earwitness.files import read_text, write_json, write_text
from earwitness.protocols import Protocol
from earwitness.score_files import ONE_A_CLASS, read_score_file
from earwitness.trials import LABELS, Manifest, require_classes

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ONE_A_CLASS", "ClassScores", "Scores", "read_scores"]

_UNKNOWN = LABELS.index("unknown")


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
        ids: "Iterable[str] | pl.Series",
        values: "ArrayLike | Iterable[float]",
        labels: Iterable[str] | NDArray[np.int8] | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        source: str = "scores",
        note: str = "",
    ):
        import polars as pl

        self.id_column = ids if isinstance(ids, pl.Series) else pl.Series(list(ids), dtype=pl.String)
        numbers = values if isinstance(values, np.ndarray) else list(values)  # type: ignore[arg-type]
        self.values = np.asarray(numbers, dtype=np.float64)
        if labels is None:
            self.codes = np.full(len(self.id_column), _UNKNOWN, dtype=np.int8)
        else:
            self.codes = labels if isinstance(labels, np.ndarray) else _exact(labels, source)
        self.provenance = dict(provenance or {})
        self.source = source
        self.note = note  # why trials have no label, where that is worth saying
        self._order: pl.Series | None = None
        if not len(self.id_column) == len(self.values) == len(self.codes):
            raise ProtocolError(
                f"{source}: {len(self.id_column)} ids, {len(self.values)} scores and "
                f"{len(self.codes)} labels; expected equally many."
            )
        self._refuse_duplicates()
        wrong = np.flatnonzero(~np.isfinite(self.values))
        if len(wrong):
            raise ProtocolError(
                f"{source}: {len(wrong)} score(s) are NaN or infinite, "
                f"first {self.values[wrong[0]]} (id {self.id_column[int(wrong[0])]!r}); "
                "scores are real numbers."
            )

    def __len__(self) -> int:
        return len(self.id_column)

    @property
    def ids(self) -> list[str]:
        """The ids, in order."""
        return self.id_column.to_list()

    @property
    def labels(self) -> list[str]:
        """The labels, in order: bonafide, spoof or unknown."""
        return np.array(LABELS)[self.codes].tolist()

    @property
    def bonafide(self) -> NDArray[np.float64]:
        """Scores of the bonafide trials."""
        return self.values[self.codes == 0]

    @property
    def spoof(self) -> NDArray[np.float64]:
        """Scores of the spoof trials."""
        return self.values[self.codes == 1]

    def take(self, rows: NDArray[np.bool_]) -> "Scores":
        """The scores of some trials, in order."""
        taken = copy.copy(self)
        taken.id_column = self.id_column.filter(rows)
        taken.values, taken.codes = self.values[rows], self.codes[rows]
        taken._order = None
        return taken

    def order(self) -> "pl.Series":
        """Places of the ids in alphabetical order."""
        if self._order is None:
            self._order = self.id_column.arg_sort()
        return self._order

    def _refuse_duplicates(self) -> None:
        in_order = self.id_column.gather(self.order())
        repeated = (in_order[1:] == in_order[:-1]).to_numpy()
        if repeated.any():
            first = in_order[int(np.argmax(repeated))]
            raise ProtocolError(
                f"{self.source}: {int(repeated.sum())} duplicate id(s), first {first!r}; "
                "every trial is scored once."
            )

    def join(self, protocol: Protocol | Manifest, *, whole: Protocol | None = None) -> "Scores":
        """These scores in the protocol's order with the protocol's labels.

        Args:
            protocol: the trials to be judged.
            whole: the protocol that these trials were chosen from (`Protocol.where`); scores of its
                other trials are left out.

        Raises:
            ProtocolError: trials without a score or scores without a trial, with counts and ids.
        """
        trials = Protocol.of(protocol) if isinstance(protocol, Manifest) else protocol
        mine = self if whole is None else self._without(whole, trials)
        places = mine._places_of(trials)
        mine._refuse_other_labels(trials, places)
        return Scores(
            trials.ids,
            mine.values[places],
            trials.codes,
            provenance=self.provenance,
            source=self.source,
        )

    def _without(self, whole: Protocol, chosen: Protocol) -> "Scores":
        """Without the trials of the whole protocol that were not chosen."""
        left_out = whole.ids.filter(~whole.ids.is_in(chosen.ids.implode()))
        keep = (~self.id_column.is_in(left_out.implode())).to_numpy()
        return Scores(
            self.id_column.filter(keep), self.values[keep], self.codes[keep], source=self.source
        )

    def _places_of(self, trials: Protocol) -> NDArray[np.int64]:
        """Where the score of each trial stands."""
        if len(self) == len(trials) and (self.id_column == trials.ids).all():
            return np.arange(len(self))
        theirs = trials.order()
        mine = self.order()
        if (
            len(self) != len(trials)
            or not (self.id_column.gather(mine) == trials.ids.gather(theirs)).all()
        ):
            self._refuse_other_trials(trials)
        places = np.empty(len(self), dtype=np.int64)
        places[theirs.to_numpy()] = mine.to_numpy()
        return places

    def _refuse_other_labels(self, trials: Protocol, places: NDArray[np.int64]) -> None:
        """Labels of their own that say the opposite: one of the two files is of something else."""
        own = self.codes[places]
        known = (own < _UNKNOWN) & (trials.codes < _UNKNOWN)
        against = np.flatnonzero(known & (own != trials.codes))
        if len(against):
            first = int(against[0])
            raise ProtocolError(
                f"{self.source} and {trials.name}: {len(against):,} of {int(known.sum()):,} trials "
                f"have opposite labels, first {trials.ids[first]!r} ({LABELS[own[first]]} and "
                f"{LABELS[trials.codes[first]]}); which of the two is right?"
            )

    def _refuse_other_trials(self, trials: Protocol) -> None:
        missing = trials.ids.filter(~trials.ids.is_in(self.id_column.implode()))
        extra = self.id_column.filter(~self.id_column.is_in(trials.ids.implode()))
        raise ProtocolError(
            f"{self.source} and {trials.name} do not hold the same trials: "
            f"{len(missing):,} without a score{_first(missing)}, "
            f"{len(extra):,} scored but not in the protocol{_first(extra)}."
            + (" Ids differ by folder or extension alone." if _are_names(missing, extra) else "")
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
            [i, repr(v), label]
            for i, v, label in zip(self.ids, self.values.tolist(), self.labels, strict=True)
        )
        # The side file first: a process killed in between leaves no scores without provenance.
        if self.provenance:
            write_json(path.with_name(path.name + ".json"), self.provenance)
        write_text(path, out.getvalue())

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        column: str | None = None,
        higher_is: Literal["bonafide", "spoof"] | None = None,
        one_is: Literal["bonafide", "spoof"] | None = None,
        probabilities: bool = False,
    ) -> "Scores":
        """Read a score file in any layout of the field (`earwitness.score_files`), gzip too.

        Args:
            path: columns by a header, or in an order that is known: ``file,score,label`` (RAT),
                ``id score`` (2021), ``id attack key score`` (2019).
            column: the header's name of the score, where several could be it.
            higher_is: the class of which higher scores speak, where the file doesn't say it:
                bonafide. Scores that speak of spoof are negated.
            one_is: which class the label 1 is. Integers are not labels without this.
            probabilities: scores are probabilities; they become log-odds. 0 and 1 have none that
                is finite, so they are moved by 2^-53.

        Raises:
            ProtocolError: with the line and what was expected there.
            SettingsError: an option against what the file's header says.
        """
        found = read_score_file(
            path, column=column, higher_is=higher_is, one_is=one_is, probabilities=probabilities
        )
        return cls(found.ids, found.values, found.codes, source=str(path), note=found.note)


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


def _are_names(missing: "pl.Series", extra: "pl.Series") -> bool:
    """Whether ids are the same without folders and extensions."""
    both = (set(one.str.extract(r"([^/\\]+?)(?:\.[A-Za-z0-9]+)?$", 1)) for one in (missing, extra))
    return bool(len(missing)) and len(missing) == len(extra) and len(set(map(frozenset, both))) == 1


def _first(ids: "pl.Series") -> str:
    return f" (first {ids[0]!r})" if len(ids) else ""


def _exact(labels: Iterable[str], source: str) -> NDArray[np.int8]:
    """Labels as places in `LABELS`; other spellings are for files, not for code."""
    listed = list(labels)
    foreign = [label for label in listed if label not in LABELS]
    if foreign:
        raise ProtocolError(
            f"{source}: {len(foreign)} label(s) are not {', '.join(LABELS)}, first {foreign[0]!r}."
        )
    return np.array([LABELS.index(label) for label in listed], dtype=np.int8)
