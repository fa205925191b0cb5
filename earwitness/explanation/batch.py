"""Explanations of every recording of a manifest: a file each, and one table.

What is done is noted line by line, so that the same command goes on where it was stopped.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.errors import AudioError, ProtocolError
from earwitness.explanation import Explanation
from earwitness.explanation.page import write
from earwitness.files import append_line, write_text
from earwitness.trials import Manifest

__all__ = ["TABLE", "Batch", "explain_all"]

TABLE = "explanations.csv"
_NOTES = "explanations.jsonl"  # while it goes on
_COLUMNS = (
    *("id", "score", "verdict", "network", "nearest", "u", "v"),
    *("farther_than_bonafide", "farther_than_spoof", "page"),
)


@dataclass(frozen=True)
class Batch:
    """How many recordings got each word, and what could not be explained."""

    words: dict[str, int]
    failed: list[AudioError | ProtocolError]


def explain_all(
    manifest: Manifest,
    one: Callable[[Path], Explanation],
    folder: Path,
    form: str,
    how: dict[str, Any],
    on_clip: Callable[[int, int], None],
) -> Batch:
    """Explain each recording with ``one`` into ``folder``, as ``form`` (html, png, json).

    ``how`` says with what, such as the detector's digest: explanations that were made otherwise are
    made again, others stand.
    """
    notes = folder / _NOTES
    done = _done(notes, how, folder)
    # Written anew: a line that a kill cut off must not get the next one behind it.
    write_text(notes, "".join(json.dumps(line) + "\n" for line in (how, *done.values())))
    rows, failed = [], []
    names = file_names(t.id for t in manifest)
    for number, (trial, name) in enumerate(zip(manifest, names, strict=True), 1):
        row = done.get(trial.id)
        if row is None:
            try:
                told = one(manifest.path(trial))
            except (AudioError, ProtocolError) as error:
                failed.append(error)
                on_clip(number, len(manifest))
                continue
            write(told, folder / f"{name}.{form}")
            row = _row(trial.id, told, f"{name}.{form}")
            append_line(notes, row)
        rows.append(row)
        on_clip(number, len(manifest))
    table = io.StringIO()
    writer = csv.DictWriter(table, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / TABLE, table.getvalue())
    notes.unlink()
    words = [row["verdict"] for row in rows]
    return Batch({word: words.count(word) for word in sorted(set(words))}, failed)


def _done(notes: Path, how: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of an earlier call that was stopped; a line that a kill cut off is none."""
    if not notes.is_file():
        return {}
    found = []
    for line in notes.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    if not found or found[0] != json.loads(json.dumps(how)):
        return {}
    return {row["id"]: row for row in found[1:] if (folder / row["page"]).is_file()}


def _row(id_: str, told: Explanation, page: str) -> dict[str, Any]:
    place = told.place
    numbers = (place.u, place.v, place.percentiles["bonafide"], place.percentiles["spoof"])
    values = (id_, told.score, told.word, told.named, place.nearest, *numbers, page)
    return dict(zip(_COLUMNS, values, strict=True))


def file_names(ids: Iterable[str]) -> list[str]:
    """File names for ids, which may hold slashes: unlike, whatever the file system takes for alike.

    >>> file_names(["a/b", "a_b", "c"])
    ['a_b', 'a_b-2', 'c']
    """
    taken: set[str] = set()
    names = []
    for id_ in ids:
        plain = "".join(c if c.isalnum() or c in "-._" else "_" for c in id_).strip(".")
        plain = plain.encode(errors="replace")[:180].decode(errors="ignore") or "clip"  # bytes count
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names
