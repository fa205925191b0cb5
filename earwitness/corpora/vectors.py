"""A corpus of vectors computed elsewhere, for instance sentence embeddings of a large model.

One manifest, and beside it one ``.npy`` array of shape (trials, dimensions), floating point,
whose row n belongs to the manifest's line n. Such a trial has the array as its path and its row
in the tag ``row``. `load_vectors` gives the numbers back for any selection and order of trials.

Where every trial has a file of its own (``.npy`` or ``.pth``), the file is the vector, or frames
whose mean over time is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.corpora._kept import Kept
from earwitness.corpora._pth import read_pth
from earwitness.corpora.base import by_split, read_class, read_table
from earwitness.errors import ProtocolError
from earwitness.files import write_atomically
from earwitness.trials import CLASSES, Manifest, Trial

__all__ = ["embedded_by", "load_vectors", "read", "write"]

_CHUNK = 65_536  # rows looked at together, so that a large array never is in memory as a whole
_KEPT = Kept(512)  # the vectors of trials with files of their own


def read(
    root: str | Path,
    *,
    manifest: str = "manifest.tsv",
    array: str = "vectors.npy",
    columns: Mapping[str, str] | None = None,
    classes: tuple[str, ...] = CLASSES,
) -> dict[str, Manifest]:
    """One manifest for each value of the column ``split``; ``"all"`` without such a column.

    Args:
        root: the folder that holds both files.
        manifest: TSV or CSV with the columns ``id`` and ``label``.
        array: the array, opened without pickle.
        columns: our column name -> the file's.
        classes: what labels can say, in the order of a detector's logits; others than bonafide and
            spoof are taken as they are spelled.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "vectors.npy", np.eye(2, 3))
    >>> _ = (folder / "manifest.tsv").write_text("id\\tlabel\\na\\treal\\nb\\tfake\\n")
    >>> both = read(folder)["all"]
    >>> both.trials[1].path, both.trials[1].get("row"), load_vectors(both).shape
    ('vectors.npy', '1', (2, 3))

    Raises:
        ProtocolError: a file is missing or malformed, the array has another number of rows than
            the manifest, or it holds NaN or infinite values.
    """
    root = Path(root)
    if not (root / manifest).is_file():
        raise ProtocolError(
            f"{root / manifest}: no such file; expected a folder with {manifest} and {array}, as "
            "`earwitness embed` writes it (in an experiment: stream.root)."
        )
    table = read_table(root / manifest, columns)
    numbers = _open(root / array)
    if len(numbers) != len(table):
        raise ProtocolError(
            f"{root / array}: {len(numbers)} row(s), but {manifest} has {len(table)} trial(s)."
        )
    for start in range(0, len(numbers), _CHUNK):
        _require_finite(numbers[start : start + _CHUNK], np.arange(start, start + _CHUNK), root / array)
    trials = _trials(table, root / manifest, array, classes)
    return by_split(Manifest(Path(manifest).stem, trials, root=root, classes=classes))


def write(
    folder: str | Path,
    vectors: ArrayLike,
    trials: Iterable[Trial],
    *,
    name: str = "vectors",
    classes: tuple[str, ...] = CLASSES,
) -> Manifest:
    """Write vectors (trials, dimensions) and their trials as ``read`` reads them; kept as float32.

    The trials' paths and rows are set here; whatever their path was is not kept.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> made = write(folder, [[1.0], [2.0]], [Trial("a", "", "cat"), Trial("b", "", "dog")],
    ...              classes=("cat", "dog"))
    >>> made.fingerprint() == read(folder, classes=("cat", "dog"))["all"].fingerprint()
    True

    Raises:
        ProtocolError: not one row of finite numbers a trial, or trials that make no manifest.
    """
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite: refused next
        rows = np.asarray(vectors).astype(np.float32)
    path, trials = Path(folder) / "vectors.npy", list(trials)
    if rows.ndim != 2 or len(rows) != len(trials):
        raise ProtocolError(
            f"vectors of shape {rows.shape} for {len(trials)} trial(s): expected one row a trial."
        )
    _require_finite(rows, np.arange(len(rows)), path)
    placed = (
        replace(t, path=path.name, tags={**t.tags, "row": str(row)}) for row, t in enumerate(trials)
    )
    manifest = Manifest(name, placed, root=folder, classes=classes)
    write_atomically(path, lambda temporary: _save(temporary, rows))
    manifest.write(path.with_name("manifest.tsv"))
    return manifest


def embedded_by(folder: str | Path) -> str:
    """The digest of the detector whose embeddings lie in a folder, "" where nobody says it.

    Raises:
        ProtocolError: its embedding.json is not what `earwitness embed` writes.
    """
    path = Path(folder) / "embedding.json"
    if not path.is_file():
        return ""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["detector"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{path}: not what `earwitness embed` writes ({error!r}).") from None


def load_vectors(manifest: Manifest) -> NDArray[np.float32]:
    """The vectors of the trials, in their order, of shape (trials, dimensions).

    A trial without the tag ``row`` whose path ends in ``.npy`` or ``.pth`` has its vector there:
    (dimensions,), or (frames, dimensions) to be averaged over frames.

    Raises:
        ProtocolError: a trial without a row, or arrays of different width.
    """
    positions: dict[str, list[int]] = {}
    for position, trial in enumerate(manifest):
        positions.setdefault(trial.path, []).append(position)
    sources = {
        manifest.root / path: (here, *_source(manifest.root / path, [manifest.trials[p] for p in here]))
        for path, here in positions.items()
    }
    widths = {str(path): array.shape[1] for path, (_, array, _) in sources.items()}
    if len(set(widths.values())) > 1:
        one_each = {width: path for path, width in widths.items()}
        raise ProtocolError(
            f"the arrays of {manifest.name!r} differ in dimensions, for instance "
            + ", ".join(f"{path}: {width}" for width, path in one_each.items())
        )
    loaded = np.empty((len(manifest), next(iter(widths.values()))), dtype=np.float32)
    for path, (here, array, rows) in sources.items():
        if rows.max() >= len(array):
            raise ProtocolError(f"{path}: {len(array)} rows, but row {rows.max()} is wanted.")
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite: refused next
            loaded[here] = array[rows]
        _require_finite(loaded[here], rows, path)
    return loaded


def _source(path: Path, trials: list[Trial]) -> tuple[NDArray[Any], NDArray[np.int_]]:
    """An array (rows, dimensions) and the row in it of each trial."""
    if path.suffix in (".npy", ".pth") and all("row" not in trial.tags for trial in trials):
        return _KEPT.get(path, _mean), np.zeros(len(trials), dtype=int)
    rows = np.array([_row(trial) for trial in trials])
    return _open(path), rows


def _mean(path: Path) -> NDArray[np.float32]:
    """The vector of a file as (1, dimensions): the mean over its frames where it has several."""
    numbers = np.atleast_2d(_numbers(path, mapped=False))
    _require_shape(numbers, path, "(dimensions,) or (frames, dimensions)")
    with np.errstate(over="ignore"):
        mean: NDArray[np.float32] = numbers.mean(0, dtype=np.float64, keepdims=True).astype(np.float32)
    return mean


def _trials(
    table: list[dict[str, str]], path: Path, array: str, classes: tuple[str, ...]
) -> Iterator[Trial]:
    for row, cells in enumerate(table):
        if not cells.get("id") or "label" not in cells:
            raise ProtocolError(f"{path}, trial {row + 1}: no id or no label; found {cells}.")
        if cells.get("row", str(row)) != str(row):
            raise ProtocolError(
                f"{path}, trial {row + 1} (id {cells['id']!r}): the column row says "
                f"{cells['row']!r}, expected {row}: trials and vectors go in the same order."
            )
        try:
            label = read_class(cells["label"], classes)
        except ValueError as error:
            raise ProtocolError(f"{path}, trial {row + 1} (id {cells['id']!r}): {error}") from None
        known = {c: cells.pop(c) or "-" for c in ("attack", "speaker", "domain", "split") if c in cells}
        tags = {c: v for c, v in cells.items() if c not in ("id", "path", "label")}
        yield Trial(cells["id"], array, label, **known, tags={**tags, "row": str(row)})


def _row(trial: Trial) -> int:
    row = trial.get("row")
    if not row.isdecimal():
        raise ProtocolError(
            f"trial {trial.id!r}: the tag row is {row!r}, expected the row of its vector."
        )
    return int(row)


def _open(path: Path) -> NDArray[Any]:
    numbers = _numbers(path, mapped=True)
    _require_shape(numbers, path, "(trials, dimensions)")
    return numbers


def _numbers(path: Path, *, mapped: bool) -> Any:
    """What the file holds; of a tuple the first, as some features come together with labels."""
    if path.suffix == ".pth":
        held = read_pth(path)
        return held[0] if isinstance(held, tuple | list) and held else held
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise ProtocolError(f"{path}: no such file.") from None
    except (OSError, ValueError, EOFError) as error:
        raise ProtocolError(f"{path}: not an array that numpy can open ({error}).") from None


def _require_shape(numbers: Any, path: Path, expected: str) -> None:
    shape, kind = getattr(numbers, "shape", None), getattr(numbers, "dtype", None)
    if shape is None or len(shape) != 2 or not len(numbers) or not np.issubdtype(kind, np.floating):
        raise ProtocolError(
            f"{path}: expected a floating-point array of shape {expected}, "
            f"found {kind} of shape {shape}."
        )


def _save(path: Path, rows: NDArray[np.float32]) -> None:
    with open(path, "wb") as file:  # numpy would add .npy to a name without it
        np.save(file, rows)


def _require_finite(numbers: NDArray[Any], rows: NDArray[np.int_], path: Path) -> None:
    bad = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(bad):
        raise ProtocolError(
            f"{path}: {len(bad)} row(s) with NaN or infinite values, first row {rows[bad[0]]}."
        )
