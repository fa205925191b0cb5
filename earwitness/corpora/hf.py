"""A Hugging Face audio dataset on disk: audio folder, Parquet shards, or from ``save_to_disk``.

::

    [SPLIT/]metadata.csv or metadata.jsonl with file_name, and the audio      (audio folder)
    data/SPLIT-00000-of-00004.parquet                                         (Parquet, as downloaded)
    [SPLIT/]data-00000-of-00001.arrow and dataset_info.json                   (save_to_disk)

In the last two, audio lies inside the tables; it is written out, once, into a folder that is named by
``extract_to``. Labels are words, or numbers whose words stand in ``dataset_info.json`` or are given.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.corpora.base import by_split, listing, read_table
from earwitness.corpora.lines import finish
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.files import read_text, write_atomically
from earwitness.trials import Manifest, Trial, read_label

if TYPE_CHECKING:
    import polars as pl

__all__ = ["read"]

_KNOWN = ("attack", "speaker", "domain")
_SHARD = re.compile(r"(?P<split>.+?)-\d+-of-\d+$")


def read(
    root: str | Path,
    *,
    label: str = "label",
    audio: str = "audio",
    columns: Mapping[str, str] | None = None,
    classes: tuple[str, ...] = (),
    extract_to: str = "",
    require_audio: bool = True,
) -> dict[str, Manifest]:
    """One manifest for each split, ``"all"`` where there is none.

    Args:
        root: the dataset's folder.
        label: the column of the label.
        audio: the column of the audio, in tables that hold it.
        columns: ours (attack, speaker, domain) -> the dataset's; equal names need no entry.
        classes: what the labels 0, 1, ... mean, where the dataset doesn't say it.
        extract_to: where audio that lies inside tables is written; files that are there stay.
        require_audio: every audio file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "train").mkdir()
    >>> _ = (folder / "train/metadata.csv").write_text("file_name,label\\na.wav,fake\\nb.wav,real\\n")
    >>> read(folder, require_audio=False)["train"].counts()
    {'spoof': 1, 'bonafide': 1}

    Raises:
        SettingsError: audio lies inside tables and ``extract_to`` is not given.
        ProtocolError: nothing of these is there, no such column, or a label that is not known.
    """
    root = Path(root)
    metadata = sorted([*root.rglob("metadata.csv"), *root.rglob("metadata.jsonl")])
    tables = sorted([*root.rglob("*.parquet"), *root.rglob("*.arrow")])
    if metadata:
        rows = [row for path in metadata for row in _of_folder(path, root)]
        place = root
    elif tables:
        if not extract_to:
            raise SettingsError(
                f"{root}: the audio lies inside {len(tables)} table(s); say where to write it "
                "(extract_to)."
            )
        place = Path(extract_to)
        rows = [row for path in tables for row in _of_table(path, root, place, audio)]
    else:
        raise ProtocolError(
            f"{root}: expected metadata.csv or metadata.jsonl, Parquet or Arrow files; "
            f"found {listing(root)}."
        )
    names = classes or _class_names(root, label)
    trials = [_trial(row, label, columns or {}, names) for row in rows]
    parts = by_split(Manifest(root.name, trials, root=place))
    return finish(parts, {}, check_counts=False, require_audio=require_audio)


def _of_folder(path: Path, root: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".csv":
        rows: list[dict[str, Any]] = list(read_table(path))
    else:
        rows = [
            _json(line, path, n)
            for n, line in enumerate(read_text(path).splitlines(), 1)
            if line.strip()
        ]
    split = "-" if path.parent == root else path.parent.relative_to(root).parts[-1]
    for row in rows:
        if "file_name" not in row:
            raise ProtocolError(f"{path}: no column 'file_name'{nearest('file_name', map(str, row))}")
        where = (path.parent / row["file_name"]).relative_to(root).as_posix()
        yield {**row, "_where": f"{path} ({row['file_name']})", "_path": where, "_split": split}


def _json(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except json.JSONDecodeError as error:
        raise ProtocolError(f"{path}, line {number}: not JSON ({error}).") from None
    if not isinstance(told, dict):
        raise ProtocolError(f"{path}, line {number}: expected an object, found {line[:40]!r}.")
    return told


def _of_table(path: Path, root: Path, place: Path, audio: str) -> Iterator[dict[str, Any]]:
    """Rows of a shard; their audio is written beside each other, named by split, shard and row."""
    frame = _frame(path)
    if audio not in frame.columns:
        raise ProtocolError(
            f"{path}: no column {audio!r}{nearest(audio, frame.columns)} "
            f"Found: {', '.join(frame.columns)}."
        )
    shard = _SHARD.match(path.stem)
    named = shard["split"] if shard and shard["split"] != "data" else None
    split = named or (path.parent.name if path.parent != root else "-")
    for number, row in enumerate(frame.iter_rows(named=True)):
        told = row.pop(audio) or {}
        where = f"{path}, row {number}"
        content, name = told.get("bytes"), told.get("path") or ""
        if not content:
            raise ProtocolError(
                f"{where}: no bytes in {audio!r}; embed the audio, or use an audio folder."
            )
        suffix = Path(name).suffix or _suffix(content)
        file = Path(split) / f"{path.stem}-{number:07d}{suffix}"
        if not (place / file).is_file():
            write_atomically(place / file, partial(_write, content))
        yield {**row, "_where": where, "_path": file.as_posix(), "_split": split}


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _frame(path: Path) -> "pl.DataFrame":
    import polars as pl

    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ipc_stream(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ProtocolError(f"{path}: not a table that can be read ({error}).") from None


def _suffix(content: bytes) -> str:
    """By the first bytes: datasets often keep no name."""
    starts = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3"}
    return next((suffix for start, suffix in starts.items() if content.startswith(start)), ".audio")


def _class_names(root: Path, label: str) -> tuple[str, ...]:
    for path in sorted(root.rglob("dataset_info.json")):
        told = _json(read_text(path).replace("\n", " "), path, 1)
        names = ((told.get("features") or {}).get(label) or {}).get("names")
        if names:
            return tuple(map(str, names))
    return ()


def _trial(
    row: Mapping[str, Any], label: str, columns: Mapping[str, str], names: tuple[str, ...]
) -> Trial:
    where, path = row["_where"], row["_path"]
    if label not in row:
        known = [name for name in row if not name.startswith("_")]
        raise ProtocolError(
            f"{where}: no column {label!r}{nearest(label, known)} Found: {', '.join(known)}."
        )
    value = row[label]
    text = str(value)
    if text.isdigit() and names:
        text = names[int(text)] if int(text) < len(names) else text
    try:
        read = read_label(text)
    except ValueError as error:
        hint = " Say what 0 and 1 mean with classes." if text.isdigit() else ""
        raise ProtocolError(f"{where}: {error}{hint}") from None
    told = {ours: str(row.get(columns.get(ours, ours)) or "-") for ours in _KNOWN}
    used = {label, "file_name", *columns.values(), *_KNOWN}
    tags = {k: str(v) for k, v in row.items() if k not in used and not k.startswith("_")}
    attack = "-" if read == "bonafide" else told["attack"]
    return Trial(
        Path(path).with_suffix("").as_posix(), path, read,
        attack=attack, speaker=told["speaker"], domain=told["domain"], split=row["_split"], tags=tags,
    )  # fmt: skip
