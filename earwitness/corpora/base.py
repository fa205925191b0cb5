"""What several corpus readers need: find a folder, read a table, count, cut by split."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from earwitness.errors import ProtocolError, nearest
from earwitness.files import read_text
from earwitness.trials import CLASSES, Manifest, read_label

__all__ = [
    "by_split",
    "find_holder",
    "listing",
    "read_class",
    "read_table",
    "require_columns",
    "require_counts",
]


def find_holder(root: str | Path, marker: str) -> Path:
    """The folder that holds ``marker``: ``root`` itself, or one at most two levels below.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "corpus" / "LA" / "protocols").mkdir(parents=True)
    >>> find_holder(root, "protocols").relative_to(root).as_posix()
    'corpus/LA'

    Raises:
        ProtocolError: there is none, or the choice is open; says what was found.
    """
    root = Path(root)
    for level in (marker, f"*/{marker}", f"*/*/{marker}"):
        found = sorted(root.glob(level))
        if len(found) == 1:
            return found[0].parent
        if found:
            names = ", ".join(str(f.parent) for f in found)
            raise ProtocolError(f"{root}: {len(found)} folders hold {marker}: {names}; name one.")
    raise ProtocolError(
        f"{root}: expected {marker} in this folder or at most two levels below; "
        f"found {listing(root)}. Give the folder of the corpus as root."
    )


def listing(folder: Path) -> str:
    """What a folder holds, in a few words for a message.

    >>> listing(Path("no/such/folder"))
    'no such folder'
    """
    if not folder.is_dir():
        return "no such folder" if not folder.exists() else "a file"
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more if names else "an empty folder"


def read_class(text: str, classes: Sequence[str] = CLASSES) -> str:
    """The class that a label names, or unknown: bonafide and spoof as spelled anyhow, others exactly.

    >>> read_class("real"), read_class("hen", ("cow", "hen"))
    ('bonafide', 'hen')

    Raises:
        ValueError: it names none.
    """
    if tuple(classes) == CLASSES:
        return read_label(text)
    if text not in (*classes, "unknown"):
        expected = ", ".join(classes)
        raise ValueError(f"label {text!r} is not known{nearest(text, classes)} Classes: {expected}.")
    return text


def require_columns(path: Path, columns: Mapping[str, str] | None) -> None:
    """Raise when a column that ``columns`` (ours -> the file's) names is not in the file's header.

    Raises:
        ProtocolError: with the nearest name.
    """
    header, _ = _split_table(path)
    for theirs in (columns or {}).values():
        if theirs not in header:
            raise ProtocolError(
                f"{path}, line 1: no column {theirs!r}{nearest(theirs, header)} "
                f"Found: {', '.join(header)}."
            )


def read_table(path: Path, columns: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The rows of a TSV or CSV file with a header, under our column names.

    Blank lines are passed over; everything else must have as many cells as the header.

    Raises:
        ProtocolError: not a text file, a named column is absent, or a line of another length.
    """
    require_columns(path, columns)
    header, rows = _split_table(path)
    ours = {theirs: own for own, theirs in (columns or {}).items()}
    names = [ours.get(column, column) for column in header]
    table = []
    for line, cells in rows:
        if len(cells) != len(names):
            raise ProtocolError(
                f"{path}, line {line}: {len(cells)} column(s), expected {len(names)} as in the header."
            )
        table.append(dict(zip(names, cells, strict=True)))
    return table


def _split_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and the numbered lines that are not blank."""
    lines = read_text(path).splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    reader = csv.reader(lines, delimiter=delimiter)
    rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    if not rows:
        raise ProtocolError(f"{path}: the file is empty; a header line was expected.")
    return rows[0][1], [(line, row) for line, row in rows[1:] if any(row)]


def require_counts(manifest: Manifest, expected: Mapping[str, int], column: str = "label") -> None:
    """Raise when the trials for each value of ``column`` are not as many as the makers state.

    Raises:
        ProtocolError: lists every value that differs, found and official.
    """
    found, official = Counter(manifest.counts(column)), Counter(expected)
    differing = [v for v in sorted({*found, *official}) if found[v] != official[v]]
    if differing:
        stated = ", ".join(f"{v}: {found[v]:,} (official {official[v]:,})" for v in differing)
        raise ProtocolError(
            f"manifest {manifest.name!r}: trials by {column} are not the official ones: {stated}. "
            "The protocol is incomplete or altered; for a part of a corpus set check_counts=False."
        )


def by_split(manifest: Manifest) -> dict[str, Manifest]:
    """One manifest for each split, or ``{"all": manifest}`` when no trial names one.

    Raises:
        ProtocolError: some trials name a split and some do not.
    """
    counts = manifest.counts("split")
    if set(counts) == {"-"}:
        return {"all": manifest}
    if "-" in counts:
        raise ProtocolError(
            f"manifest {manifest.name!r}: {counts['-']} of {len(manifest)} trial(s) have no split; "
            "fill in the column split, or leave it out altogether."
        )
    return manifest.split()
