"""A corpus of vectors computed elsewhere, for instance sentence embeddings of a large model.

One manifest, and beside it one ``.npy`` array of shape (trials, dimensions), floating point,
whose row n belongs to the manifest's line n. Such a trial has the array as its path and its row
in the tag ``row``. `load_vectors` gives the numbers back for any selection and order of trials.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.corpora.base import by_split, read_table
from earwitness.errors import ProtocolError
from earwitness.trials import Manifest, Trial, read_label

__all__ = ["load_vectors", "read"]

_CHUNK = 65_536  # rows looked at together, so that a large array never is in memory as a whole


def read(
    root: str | Path,
    *,
    manifest: str = "manifest.tsv",
    array: str = "vectors.npy",
    columns: Mapping[str, str] | None = None,
) -> dict[str, Manifest]:
    """One manifest for each value of the column ``split``; ``"all"`` without such a column.

    Args:
        root: the folder that holds both files.
        manifest: TSV or CSV with the columns ``id`` and ``label``.
        array: the array, opened without pickle.
        columns: our column name -> the file's.

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
    table = read_table(root / manifest, columns)
    numbers = _open(root / array)
    if len(numbers) != len(table):
        raise ProtocolError(
            f"{root / array}: {len(numbers)} row(s), but {manifest} has {len(table)} trial(s)."
        )
    for start in range(0, len(numbers), _CHUNK):
        _require_finite(numbers[start : start + _CHUNK], np.arange(start, start + _CHUNK), root / array)
    trials = _trials(table, root / manifest, array)
    return by_split(Manifest(Path(manifest).stem, trials, root=root))


def load_vectors(manifest: Manifest) -> NDArray[np.float32]:
    """The vectors of the trials, in their order, of shape (trials, dimensions).

    Raises:
        ProtocolError: a trial without a row, or arrays of different width.
    """
    paths = [manifest.path(trial) for trial in manifest]
    rows = np.array([_row(trial) for trial in manifest])
    arrays = {path: _open(path) for path in dict.fromkeys(paths)}
    widths = {str(path): array.shape[1] for path, array in arrays.items()}
    if len(set(widths.values())) > 1:
        raise ProtocolError(f"the arrays of {manifest.name!r} differ in dimensions: {widths}.")
    loaded = np.empty((len(paths), arrays[paths[0]].shape[1]), dtype=np.float32)
    for path, array in arrays.items():
        here = np.flatnonzero([p == path for p in paths])
        if rows[here].max() >= len(array):
            raise ProtocolError(f"{path}: {len(array)} rows, but row {rows[here].max()} is wanted.")
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite: refused next
            loaded[here] = array[rows[here]]
        _require_finite(loaded[here], rows[here], path)
    return loaded


def _trials(table: list[dict[str, str]], path: Path, array: str) -> Iterator[Trial]:
    for row, cells in enumerate(table):
        if not cells.get("id") or "label" not in cells:
            raise ProtocolError(f"{path}, trial {row + 1}: no id or no label; found {cells}.")
        if cells.get("row", str(row)) != str(row):
            raise ProtocolError(
                f"{path}, trial {row + 1} (id {cells['id']!r}): the column row says "
                f"{cells['row']!r}, expected {row}: trials and vectors go in the same order."
            )
        try:
            label = read_label(cells["label"])
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
    try:
        numbers = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ProtocolError(f"{path}: no such file.") from None
    except (OSError, ValueError, EOFError) as error:
        raise ProtocolError(f"{path}: not an array that numpy can open ({error}).") from None
    shape, kind = getattr(numbers, "shape", None), getattr(numbers, "dtype", None)
    if shape is None or len(shape) != 2 or not np.issubdtype(kind, np.floating):
        raise ProtocolError(
            f"{path}: expected a floating-point array of shape (trials, dimensions), "
            f"found {kind} of shape {shape}."
        )
    opened: NDArray[Any] = numbers
    return opened


def _require_finite(numbers: NDArray[Any], rows: NDArray[np.int_], path: Path) -> None:
    bad = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(bad):
        raise ProtocolError(
            f"{path}: {len(bad)} row(s) with NaN or infinite values, first row {rows[bad[0]]}."
        )
