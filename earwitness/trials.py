"""A trial is one line of a protocol; a manifest is an ordered, immutable list of them.

Conventions: labels are the words ``bonafide`` and ``spoof`` (or ``unknown`` for audio that nobody
has judged); ids are unique; nothing is ever dropped or repaired silently. Text form: TSV or CSV
with a header; columns ``id path label`` are required, ``attack speaker domain split`` are known,
every other column is kept as a free tag. Relative paths are relative to the manifest's root.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from earwitness.errors import ProtocolError, nearest
from earwitness.files import read_text, write_text

__all__ = [
    "CLASSES",
    "LABELS",
    "Manifest",
    "Trial",
    "join_manifests",
    "read_label",
    "require_classes",
]

CLASSES = ("bonafide", "spoof")  # the order of a detector's two logits
LABELS = (*CLASSES, "unknown")
_COLUMNS = ("id", "path", "label", "attack", "speaker", "domain", "split")
_SPELLINGS = {
    **dict.fromkeys(("bonafide", "bona-fide", "bona_fide", "bona fide"), "bonafide"),
    **dict.fromkeys(("genuine", "real", "human", "target"), "bonafide"),
    **dict.fromkeys(("spoof", "spoofed", "fake", "deepfake", "morph", "generated"), "spoof"),
    **dict.fromkeys(("unknown", "-", "", "?"), "unknown"),
}


def read_label(text: str) -> str:
    """Map any spelling the field uses to ``bonafide``, ``spoof`` or ``unknown``.

    Integers are refused: 1 means bonafide in half of the field's files and spoof in the other half.

    >>> read_label("Bona-Fide"), read_label("deepfake")
    ('bonafide', 'spoof')

    Raises:
        ValueError: the spelling is not known.
    """
    try:
        return _SPELLINGS[text.strip().lower()]
    except KeyError:
        raise ValueError(
            f"label {text!r} is not known{nearest(text, _SPELLINGS)} "
            f"Use bonafide, spoof or unknown (0 and 1 mean opposite things in different corpora)."
        ) from None


def require_classes(classes: Iterable[str], where: str) -> tuple[str, ...]:
    """The names of classes as a tuple; each stands there once, and "unknown" is none of them.

    Raises:
        ProtocolError: no class, a name that is empty, repeated or "unknown".
    """
    names = tuple(classes)
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if not names or "" in names or repeated:
        raise ProtocolError(
            f"{where}: the classes are {names}, expected at least one, each with a name of its own."
        )
    if "unknown" in names:
        raise ProtocolError(
            f"{where}: 'unknown' is among the classes; it is the label of trials that nobody has "
            "judged, so give the class another name."
        )
    return names


@dataclass(frozen=True, slots=True)
class Trial:
    """One clip of a protocol: who, what, where; never the audio itself."""

    id: str
    path: str  # absolute, or relative to the manifest's root
    label: str  # bonafide | spoof | unknown
    attack: str = "-"  # the generator; "-" for bonafide
    speaker: str = "-"
    domain: str = "-"
    split: str = "-"
    tags: Mapping[str, str] = field(default_factory=dict)

    def get(self, column: str) -> str:
        """The value of any column, known or free; ``"-"`` where the trial has none."""
        return getattr(self, column) if column in _COLUMNS else self.tags.get(column, "-")


class Manifest:
    """Ordered, immutable trials under a name.

    ``classes`` are bonafide and spoof; manifests of other things (images, attacks to be named) say
    theirs, in the order of a detector's logits.

    >>> manifest = Manifest("toy", [Trial("a", "a.wav", "bonafide"), Trial("b", "b.wav", "spoof")])
    >>> len(manifest), manifest.counts()
    (2, {'bonafide': 1, 'spoof': 1})

    Raises:
        ProtocolError: no trials, a duplicate id, an unknown label, or classes that can't be any.
    """

    def __init__(
        self,
        name: str,
        trials: Iterable[Trial],
        *,
        root: str | Path = ".",
        classes: Iterable[str] = CLASSES,
    ):
        self.name = name
        self.classes = require_classes(classes, f"manifest {name!r}")
        self.trials = tuple(trials)
        self.root = Path(root)
        self._fingerprint = ""  # made when first asked for
        if not self.trials:
            raise ProtocolError(f"manifest {name!r} is empty: at least one trial was expected.")
        repeated = [i for i, n in Counter(t.id for t in self.trials).items() if n > 1]
        if repeated:
            raise ProtocolError(
                f"manifest {name!r}: {len(repeated)} duplicate id(s), first {repeated[0]!r}; "
                "every trial needs an id of its own."
            )
        labels = {*self.classes, "unknown"}
        wrong = [t for t in self.trials if t.label not in labels]
        if wrong:
            raise ProtocolError(
                f"manifest {name!r}: {len(wrong)} unknown label(s), first {wrong[0].label!r} "
                f"(id {wrong[0].id!r}); expected one of {', '.join((*self.classes, 'unknown'))}."
            )

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __repr__(self) -> str:
        return f"Manifest({self.name!r}, {len(self)} trials, {self.counts()})"

    def counts(self, column: str = "label") -> dict[str, int]:
        """How many trials there are for each value of a column, in order of appearance."""
        return dict(Counter(t.get(column) for t in self.trials))

    def where(self, keep: Callable[[Trial], bool], name: str | None = None) -> "Manifest":
        """The trials for which ``keep`` is true; an empty result is an error."""
        trials = filter(keep, self.trials)
        return Manifest(name or self.name, trials, root=self.root, classes=self.classes)

    def having(self, conditions: Mapping[str, str]) -> "Manifest":
        """The trials whose columns have the given values; several values: ``"dev|test"``.

        Raises:
            ProtocolError: no trial is left; says which values there are.
        """
        part = self
        for column, value in conditions.items():
            wanted = {one.strip() for one in value.split("|")}
            there = sorted({trial.get(column) for trial in part})
            if wanted.isdisjoint(there):
                raise ProtocolError(
                    f"manifest {self.name!r}: no trial has {column}={value}{nearest(value, there)} "
                    f"There are: {', '.join(there[:20])}."
                )
            part = part.where(lambda trial, c=column, w=wanted: trial.get(c) in w)  # type: ignore[misc]
        return part

    def split(self, column: str = "split") -> dict[str, "Manifest"]:
        """One manifest for each value of a column, in order of appearance."""
        return {
            value: self.where(lambda t, v=value: t.get(column) == v, f"{self.name}/{value}")  # type: ignore[misc]
            for value in self.counts(column)
        }

    def path(self, trial: Trial) -> Path:
        """Where the trial's audio is."""
        return self.root / trial.path

    def require_both_classes(self) -> "Manifest":
        """Return self, or raise when bonafide or spoof trials are missing.

        Manifests of other classes may have any of them: a task may show a part of the classes only.
        """
        counts = self.counts()
        if self.classes != CLASSES:
            return self
        for label in ("bonafide", "spoof"):
            if not counts.get(label):
                raise ProtocolError(
                    f"manifest {self.name!r} has no {label} trial (it has {counts}); "
                    "training and error rates need both classes."
                )
        return self

    def require_files(self) -> "Manifest":
        """Return self, or raise an error that counts and names the audio files not found."""
        missing = [t for t in self.trials if not self.path(t).is_file()]
        if missing:
            first = missing[0]
            raise ProtocolError(
                f"manifest {self.name!r}: {len(missing)} of {len(self)} audio file(s) not found, "
                f"first {self.path(first)} (id {first.id!r}); check the root {self.root}."
            )
        return self

    def fingerprint(self) -> str:
        """SHA-256 of the manifest's text: the same trials in the same order, wherever they lie."""
        if not self._fingerprint:
            self._fingerprint = hashlib.sha256(self.to_text().encode()).hexdigest()
        return self._fingerprint

    def to_text(self, delimiter: str = "\t") -> str:
        """The manifest as TSV (or another delimiter) with a header line."""
        tags = sorted({name for t in self.trials for name in t.tags})
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow([*_COLUMNS, *tags])
        writer.writerows([t.get(c) for c in (*_COLUMNS, *tags)] for t in self.trials)
        return out.getvalue()

    def write(self, path: str | Path) -> None:
        """Write as TSV, or CSV when the name ends in ``.csv``, atomically.

        Paths are made absolute unless the file is written into the manifest's root.
        """
        path = Path(path)
        here = path.parent.resolve() == self.root.resolve()
        trials = self.trials if here else [_absolute(t, self.root) for t in self.trials]
        text = Manifest(self.name, trials, classes=self.classes).to_text(
            "," if path.suffix == ".csv" else "\t"
        )
        write_text(path, text)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        root: str | Path | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> "Manifest":
        """Read TSV or CSV with a header; ``columns`` maps our column names to the file's.

        Raises:
            ProtocolError: with the line, the id and the count of what is wrong.
        """
        path = Path(path)
        lines = _read_lines(path)
        delimiter = "\t" if "\t" in lines[0] else ","
        rows = csv.reader(lines, delimiter=delimiter)
        header = [cell.strip() for cell in next(rows)]
        for theirs in (columns or {}).values():
            if theirs not in header:
                raise ProtocolError(
                    f"{path}, line 1: no column {theirs!r} to rename{nearest(theirs, header)} "
                    f"Found: {', '.join(header)}."
                )
        renamed = {theirs: ours for ours, theirs in (columns or {}).items()}
        header = [renamed.get(column, column) for column in header]
        for column in ("path", "label"):
            if column not in header:
                raise ProtocolError(
                    f"{path}, line 1: no column {column!r}{nearest(column, header)} "
                    f"Found: {', '.join(header)}."
                )
        numbered = [
            (
                rows.line_num,
                _trial(dict(_pairs(header, row, path, rows.line_num)), path, rows.line_num),
            )
            for row in rows
            if any(cell.strip() for cell in row)
        ]
        _refuse_duplicates(numbered, path)
        trials = [trial for _, trial in numbered]
        return cls(name or path.stem, trials, root=root if root is not None else path.parent)


def join_manifests(name: str, manifests: Iterable[Manifest]) -> Manifest:
    """All trials of several manifests, in order; of different roots, paths become absolute."""
    manifests = list(manifests)
    roots = {m.root for m in manifests}
    kinds = {m.classes for m in manifests}
    if len(kinds) > 1:
        raise ProtocolError(f"manifests of different classes can't be joined: {sorted(kinds)}.")
    classes = kinds.pop() if kinds else CLASSES
    if len(roots) == 1:
        joined = (t for m in manifests for t in m)
        return Manifest(name, joined, root=roots.pop(), classes=classes)
    joined = (_absolute(t, m.root) for m in manifests for t in m)
    return Manifest(name, joined, classes=classes)


def _absolute(trial: Trial, root: Path) -> Trial:
    return replace(trial, path=str((root / trial.path).resolve()))


def _read_lines(path: Path) -> list[str]:
    lines = read_text(path).splitlines()
    if not lines:
        raise ProtocolError(f"{path}: the file is empty; a header line was expected.")
    return lines


def _pairs(header: list[str], row: list[str], path: Path, line: int) -> Iterator[tuple[str, str]]:
    if len(row) != len(header):
        raise ProtocolError(
            f"{path}, line {line}: {len(row)} column(s), expected {len(header)} as in the header."
        )
    return zip(header, (cell.strip() for cell in row), strict=True)


def _trial(cells: dict[str, str], path: Path, line: int) -> Trial:
    id_ = cells.get("id") or Path(cells["path"]).stem
    try:
        label = read_label(cells["label"])
    except ValueError as error:
        raise ProtocolError(f"{path}, line {line} (id {id_!r}): {error}") from None
    known = {c: cells[c] or "-" for c in ("attack", "speaker", "domain", "split") if c in cells}
    tags = {c: value for c, value in cells.items() if c not in _COLUMNS}
    return Trial(id_, cells["path"], label, **known, tags=tags)


def _refuse_duplicates(numbered: list[tuple[int, Trial]], path: Path) -> None:
    first: dict[str, int] = {}
    repeated = [(line, t.id) for line, t in numbered if first.setdefault(t.id, line) != line]
    if repeated:
        line, id_ = repeated[0]
        raise ProtocolError(
            f"{path}, line {line}: the id {id_!r} already stands on line {first[id_]} "
            f"({len(repeated)} repeated line(s) in all); every trial needs an id of its own."
        )
