"""What is selected from: folders of embeddings, and the manifests that say where their audio lies.

Lines are held as columns, so that a million of them fit; only selected clips become trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.corpora.vectors import embedded_by
from earwitness.delimited import sniff
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.files import digest
from earwitness.protocols import Protocol
from earwitness.scores import Scores
from earwitness.trials import CLASSES, Trial, read_label

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Listing", "Source", "read_listing", "read_source"]

_KNOWN = ("attack", "speaker", "domain", "split")


class Listing(NamedTuple):
    """The lines of a manifest as columns of strings, and the folder that its paths start from."""

    path: Path
    columns: "pl.DataFrame"

    def trials(self, lines: Sequence[int]) -> list[Trial]:
        """Some lines as trials, with absolute paths."""
        return [self._trial(cells) for cells in self.columns[list(lines)].iter_rows(named=True)]

    def _trial(self, cells: dict[str, str]) -> Trial:
        known = {name: cells.pop(name) for name in _KNOWN if name in cells}
        path = str((self.path.parent / cells.pop("path")).resolve())
        return Trial(cells.pop("id"), path, cells.pop("label"), **known, tags=cells)

    def column(self, name: str) -> list[str]:
        """The values of a column, "-" where there is none."""
        there = name in self.columns.columns
        return self.columns[name].to_list() if there else ["-"] * len(self.columns)


@dataclass(frozen=True)
class Source:
    """The clips of one split of a folder of embeddings.

    ``lines`` says where in ``listing`` each stands, which is the row of its embedding too; ``audio`` is
    the manifest that the folder was embedded from, if known, ``detector`` the digest of who did it.
    """

    folder: Path
    corpus: str
    listing: Listing
    lines: NDArray[np.intp]
    embeddings: NDArray[Any]
    detector: str
    audio: Listing | None = None

    @cached_property
    def embedding(self) -> str:
        """SHA-256 of the file of embeddings."""
        return digest(self.folder / "vectors.npy")

    def column(self, name: str) -> list[str]:
        """A column of the split's clips."""
        values = self.listing.column(name)
        return [values[line] for line in self.lines.tolist()]

    def trials(self, places: NDArray[np.intp]) -> list[Trial]:
        """Some of the clips: audio where a manifest says which, else rows of the embeddings."""
        lines = self.lines[places].tolist()
        if self.audio is None:
            return self.listing.trials(lines)
        ids = self.listing.column("id")
        line_of = {id_: line for line, id_ in enumerate(self.audio.column("id"))}
        return self.audio.trials([line_of[ids[line]] for line in lines])

    def of_splits(self, splits: Sequence[str]) -> list[Trial]:
        """All clips of other splits, of the manifest where there is one."""
        listing = self.audio or self.listing
        of = listing.column("split")
        for name in splits:
            if name not in of:
                raise SettingsError(f"{listing.path} has no split {name!r}{nearest(name, set(of))}")
        return listing.trials([line for line, split in enumerate(of) if split in splits])

    def margins(self, path: Path, threshold: float) -> NDArray[np.float64]:
        """How far each clip's score is on the side of its class.

        Raises:
            ProtocolError: clips without a score, scores of other clips, or of opposite labels.
        """
        whole = Protocol(str(self.folder), self.listing.column("id"), self.listing.column("label"))
        labels = self.column("label")
        mine = Protocol(str(self.folder), self.column("id"), labels)
        scores = Scores.read(path).join(mine, whole=whole)
        side = np.where(np.array(labels) == CLASSES[0], 1.0, -1.0)
        return side * (scores.values - threshold)


def read_source(folder: Path, *, split: str = "train", manifest: Path | None = None) -> Source:
    """Open what `earwitness embed` wrote; embeddings stay on disk.

    Args:
        folder: with manifest.tsv, vectors.npy, and embedding.json where it was made by a detector.
        split: whose clips are selected from, where the folder has splits.
        manifest: the file that was embedded: it says where the audio lies.

    Raises:
        ProtocolError: a file that is absent or malformed, lines that don't fit together.
        SettingsError: no such split.
    """
    listing, embeddings = _read_vectors(folder)
    lines = _lines_of(listing, split)
    named = folder if manifest is None else manifest.with_suffix("")
    corpus = named.parent.name if named.name == "manifest" else named.name
    audio = None if manifest is None else read_listing(manifest)
    source = Source(folder, corpus, listing, lines, embeddings, embedded_by(folder) or "-", audio)
    _require_labels(source)
    if audio is not None:
        _require_same_clips(source, audio)
    return source


def read_listing(path: Path) -> Listing:
    """Read the columns of a manifest; labels as bonafide, spoof or unknown.

    Raises:
        ProtocolError: no header with a label, a label that is not known, ids that are not distinct.
    """
    import polars as pl

    dialect = sniff(path, lambda cells: "label" in cells)
    header = dialect.header
    if header is None or not {"id", "path"} & {*header}:
        raise ProtocolError(f"{path}, line 1: expected a header with id or path, and label.")
    table = dialect.read()
    columns = {name: table.column(place, "-") for place, name in enumerate(header)}
    if "id" not in columns:
        columns["id"] = pl.Series([Path(name).stem for name in columns["path"]])
    if columns["id"].is_duplicated().any():
        twice = columns["id"].filter(columns["id"].is_duplicated())[0]
        raise ProtocolError(f"{path}: the id {twice!r} stands there more than once.")
    spelled = {label: _label(label, path) for label in columns["label"].unique().to_list()}
    columns["label"] = columns["label"].replace_strict(spelled, return_dtype=pl.String)
    return Listing(path, pl.DataFrame(columns))


def _label(text: str, path: Path) -> str:
    try:
        return read_label(text)
    except ValueError as error:
        raise ProtocolError(f"{path}: {error}") from None


def _read_vectors(folder: Path) -> tuple[Listing, NDArray[Any]]:
    import polars as pl

    listing, path = read_listing(folder / "manifest.tsv"), folder / "vectors.npy"
    try:
        embeddings = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ProtocolError(f"{path}: no such file; `earwitness embed` writes one.") from None
    except (OSError, ValueError, EOFError) as error:
        raise ProtocolError(f"{path}: not an array that numpy can open ({error}).") from None
    count = len(listing.columns)
    if embeddings.ndim != 2 or len(embeddings) != count:
        raise ProtocolError(f"{path}: shape {embeddings.shape}, but manifest.tsv has {count} clip(s).")
    rows = [str(row) for row in range(count)]
    if "row" in listing.columns.columns and listing.column("row") != rows:
        raise ProtocolError(
            f"{listing.path}: the column row isn't 0, 1, 2, ...: not in vectors' order."
        )
    placed = listing.columns.with_columns(pl.lit("vectors.npy").alias("path"), pl.Series("row", rows))
    return listing._replace(columns=placed), embeddings


def _lines_of(listing: Listing, split: str) -> NDArray[np.intp]:
    of = listing.column("split")
    if set(of) == {"-"}:
        return np.arange(len(of))
    if split not in of:
        found = ", ".join(sorted(set(of)))
        raise SettingsError(
            f"{listing.path} has no split {split!r}{nearest(split, set(of))} It has: {found}; say "
            "which is learned from: --split NAME."
        )
    return np.flatnonzero([one == split for one in of])


def _require_labels(source: Source) -> None:
    ids, labels = source.column("id"), source.column("label")
    if "unknown" in labels:
        raise ProtocolError(
            f"{source.listing.path}: {labels.count('unknown')} of {len(labels)} clip(s) are labelled "
            f"unknown, first {ids[labels.index('unknown')]!r}; selection needs a label for each."
        )


def _require_same_clips(source: Source, audio: Listing) -> None:
    labels = dict(zip(audio.column("id"), audio.column("label"), strict=True))
    wrong = [
        id_
        for id_, label in zip(source.column("id"), source.column("label"), strict=True)
        if labels.get(id_) != label
    ]
    if "path" not in audio.columns.columns or wrong:
        raise ProtocolError(
            f"{audio.path} isn't what {source.folder} was embedded from: {len(wrong)} clip(s) are not "
            f"there or have another label{f', first {wrong[0]!r}' if wrong else ', nor a path'}."
        )
