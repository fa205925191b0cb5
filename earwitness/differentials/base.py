"""What every differential detector is: a vector, reference minus test, to one number.

scikit-learn fits them (the extra ``differential``). What is learned are plain arrays, so that scoring
and loading need numpy alone. On disk a detector is a folder: ``arrays.npz``, opened without pickle, and
``card.json``, which says how to build it, what it was fitted on, and what the arrays' digest is.
"""

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

import earwitness
from earwitness.errors import (
    CheckpointError,
    EarwitnessError,
    MissingExtra,
    ProtocolError,
    RunError,
    SettingsError,
)
from earwitness.files import digest, read_card, write_atomically, write_json
from earwitness.trials import CLASSES

__all__ = ["Differential", "Rows", "refuse_other_card", "require_scikit_learn"]

Rows = NDArray[np.float64]

_CHUNK = 4096  # rows scored together, so that memory is bounded; a score doesn't depend on it
_FORMAT = "earwitness-differential"


class Differential(ABC):
    """Base of differential detectors; ``tells`` is what a score is.

    Differences are standardised first, by mean and variance in which either class weighs the same. A
    subclass learns the rest, under the names in ``arrays``.
    """

    tells: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]]
    built_from: dict[str, Any]

    def __init__(self) -> None:
        self.learned: dict[str, Rows] = {}
        self.fitted_on: dict[str, Any] = {}

    @abstractmethod
    def _fit(self, bonafide: Rows, spoof: Rows) -> dict[str, Rows]:
        """What is learned from standardised differences (trials, dimensions) of either class."""

    @abstractmethod
    def _score(self, rows: Rows) -> Rows:
        """Scores (trials,) of standardised differences (trials, dimensions)."""

    def fit(self, differences: ArrayLike, labels: Sequence[str]) -> Self:
        """Learn from differences (trials, dimensions) and their labels, ``bonafide`` or ``spoof``.

        The order of trials makes no difference, to the bit.

        Raises:
            ProtocolError: numbers that are not finite or all the same, other labels, fewer than two
                trials of a class.
            MissingExtra: scikit-learn is not installed.
        """
        require_scikit_learn()
        rows = _require_rows(differences)
        bonafide, spoof = (_in_order(some) for some in _by_class(rows, labels))
        mean = (bonafide.mean(0) + spoof.mean(0)) / 2
        variance = (((bonafide - mean) ** 2).mean(0) + ((spoof - mean) ** 2).mean(0)) / 2
        if not variance.any():
            raise ProtocolError("the differences to fit on are all the same; nothing can be learned.")
        scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        own = self._fit((bonafide - mean) / scale, (spoof - mean) / scale)
        self.learned = {"mean": mean, "scale": scale, **own}
        return self

    def score(self, differences: ArrayLike) -> Rows:
        """A real number for each of the differences (trials, dimensions); higher = more bonafide.

        Raises:
            ProtocolError: another width than was fitted, or numbers that are not finite.
            RunError: nothing has been fitted yet.
        """
        if not self.learned:
            raise RunError(f"this {type(self).__name__} has learned nothing yet; fit it first.")
        rows, mean = _require_rows(differences), self.learned["mean"]
        if rows.shape[1] != len(mean):
            raise ProtocolError(
                f"differences of {rows.shape[1]} numbers; the detector was fitted on {len(mean)}."
            )
        parts = (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # refused next
            scores = [self._score((part - mean) / self.learned["scale"]) for part in parts]
        return _require_finite(np.concatenate(scores))

    def save(self, folder: str | Path) -> None:
        """Write ``arrays.npz`` and ``card.json`` into a folder, each atomically.

        Raises:
            RunError: nothing has been fitted yet.
            SettingsError: not built by the shelf, or the folder's card is of something else.
        """
        if not self.learned:
            raise RunError(f"this {type(self).__name__} has learned nothing yet; fit it first.")
        if not hasattr(self, "built_from"):
            raise SettingsError("only what DIFFERENTIALS.build(...) made knows how to be built again.")
        folder = Path(folder)
        refuse_other_card(folder)
        path = folder / "arrays.npz"
        write_atomically(path, lambda temporary: _write_arrays(temporary, self.learned))
        write_json(
            folder / "card.json",
            {
                "format": _FORMAT,
                "format_version": 1,
                "version": earwitness.__version__,
                "differential": self.built_from,
                "difference": "reference minus test",
                "orientation": "higher = more bonafide",
                "tells": self.tells,
                "arrays_sha256": digest(path),
                "fitted_on": self.fitted_on,
            },
        )

    @staticmethod
    def load(folder: str | Path) -> "Differential":
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: absent, corrupted, foreign, or of another version.
        """
        from earwitness.differentials import DIFFERENTIALS

        folder = Path(folder)
        card = _read_card(folder)
        arrays = _read_arrays(folder / "arrays.npz", card["arrays_sha256"])
        try:
            found: Differential = DIFFERENTIALS.build(**card["differential"])
            missing = {"mean", "scale", *found.arrays} ^ set(arrays)
            if missing:
                raise CheckpointError(f"missing or unexpected: {', '.join(sorted(missing))}")
            found.learned = arrays
            found.score(np.zeros((1, len(arrays["mean"]))))  # shapes that don't fit together show here
        except (EarwitnessError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(f"{folder}: card and arrays make no detector ({error}).") from None
        found.fitted_on = dict(card["fitted_on"])
        return found


def require_scikit_learn() -> None:
    """Raise where scikit-learn, which does the fitting, is not installed.

    Raises:
        MissingExtra: it isn't.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise MissingExtra("fitting a differential detector", "differential") from None


def _require_rows(differences: ArrayLike) -> Rows:
    try:
        rows = np.asarray(differences, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"differences are no array of numbers ({error}).") from None
    if rows.ndim != 2 or 0 in rows.shape:
        raise ProtocolError(f"differences of shape {rows.shape}; expected (trials, dimensions).")
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise ProtocolError(
            f"{len(wrong)} of {len(rows)} difference(s) are NaN or infinite, first row {wrong[0]}."
        )
    return rows


def _require_finite(scores: Rows) -> Rows:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ProtocolError(
            f"{len(wrong)} of {len(scores)} score(s) are beyond what floats hold, first row "
            f"{wrong[0]}; these differences lie far from those that were fitted."
        )
    return scores


def _by_class(rows: Rows, labels: Sequence[str]) -> list[Rows]:
    """The rows of bonafide and those of spoof trials."""
    of = np.array(labels, dtype=str)
    if of.shape != (len(rows),):
        raise ProtocolError(f"{len(rows)} differences and {len(of)} labels; expected equally many.")
    foreign = np.flatnonzero(~np.isin(of, CLASSES))
    if len(foreign):
        raise ProtocolError(
            f"{len(foreign)} of {len(of)} trial(s) are labelled neither bonafide nor spoof, first "
            f"{str(of[foreign[0]])!r} (row {foreign[0]}); what is learned from needs a label."
        )
    counts = {name: int((of == name).sum()) for name in CLASSES}
    if min(counts.values()) < 2:
        raise ProtocolError(f"differences to fit on are {counts}; expected two or more of each class.")
    return [rows[of == name] for name in CLASSES]


def _in_order(rows: Rows) -> Rows:
    """Sorted, so that neither sums nor draws depend on the order in which trials came."""
    return rows[np.lexsort(rows.T)]


def _write_arrays(path: Path, arrays: Mapping[str, Rows]) -> None:
    with open(path, "wb") as file:  # numpy would add .npz to a name without it
        np.savez(file, **arrays)  # type: ignore[arg-type]  # a name for each


def _read_arrays(path: Path, expected: str) -> dict[str, Rows]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; a detector has card.json and arrays.npz.")
    found = digest(path)
    if found != expected:
        raise CheckpointError(
            f"{path}: the arrays are corrupted or belong to another card "
            f"(SHA-256 {found[:12]}…, the card says {str(expected)[:12]}…)."
        )
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: not arrays that numpy can open ({error}).") from None
    for name, values in arrays.items():
        if values.dtype != np.float64 or not np.isfinite(values).all():
            raise CheckpointError(f"{path}: {name} has {values.dtype}, expected finite float64.")
    return arrays


def refuse_other_card(folder: Path) -> None:
    """Raise where a card of another kind lies in a folder: writing there would destroy it.

    Raises:
        SettingsError: one does.
    """
    if not (folder / "card.json").exists():
        return
    try:
        _read_card(folder)
    except CheckpointError as error:
        raise SettingsError(f"{error} Nothing is written over it; choose another folder.") from None


def _read_card(folder: Path) -> dict[str, Any]:
    written_by = "`earwitness differential fit`"
    card = read_card(folder, _FORMAT, of="a differential detector", written_by=written_by)
    kinds = {"differential": dict, "fitted_on": dict, "arrays_sha256": str}
    wrong = [key for key, kind in kinds.items() if not isinstance(card.get(key), kind)]
    if wrong or card.get("format_version") != 1:
        raise CheckpointError(
            f"{folder / 'card.json'}: expected format version 1, found {card.get('format_version')}; "
            f"missing {wrong}."
        )
    return card
