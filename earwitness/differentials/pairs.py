"""Differences of embeddings: of each trial a genuine recording's vector minus its own.

Vectors lie in folders as `earwitness embed` and `corpora.vectors` write them. Which recording is a
trial's reference depends on the trial's id and on who is there, not on the order of either.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.corpora import vectors
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.references import References, find_references
from earwitness.trials import Manifest, Trial, join_manifests

__all__ = ["Pairs", "pair", "read_all", "read_split"]


@dataclass(frozen=True)
class Pairs:
    """Trials that have a reference, in the manifest's order.

    ``references`` are the ids of the recordings that were subtracted from, ``differences`` (trials,
    dimensions), ``missing`` the ids of trials without a reference, ``embedded_by`` the digest of the
    detector whose embeddings these are, "" where nobody says it.
    """

    trials: tuple[Trial, ...]
    references: tuple[str, ...]
    differences: NDArray[np.float64]
    missing: tuple[str, ...] = ()
    embedded_by: str = ""

    @property
    def ids(self) -> list[str]:
        """The trials' ids."""
        return [trial.id for trial in self.trials]

    @property
    def labels(self) -> list[str]:
        """The trials' labels."""
        return [trial.label for trial in self.trials]


def pair(
    manifest: Manifest,
    pool: Manifest | None = None,
    *,
    seed: int = 0,
    without: Literal["refuse", "leave-out"] = "refuse",
) -> Pairs:
    """Subtract each trial's vector from that of a bonafide recording of its speaker, never itself.

    Args:
        manifest: trials with vectors (`corpora.vectors`).
        pool: where bonafide recordings are looked for, such as enrolment; the manifest unless given.
        seed: another one chooses other references.
        without: a trial that has no reference is an error, or left out and named in ``missing``; as a
            reference of others it stays.

    >>> import tempfile
    >>> trials = [Trial(i, "", label, speaker="s") for i, label in
    ...           [("a", "bonafide"), ("b", "bonafide"), ("c", "spoof")]]
    >>> made = vectors.write(tempfile.mkdtemp(), [[1.0], [3.0], [8.0]], trials)
    >>> found = pair(made)
    >>> found.references[:2], found.differences[:2].tolist()
    (('b', 'a'), [[2.0], [-2.0]])

    Raises:
        ProtocolError: trials without a reference, vectors of different width or of different detectors.
    """
    others = sorted(pool or manifest, key=lambda trial: trial.id)
    references = _places(manifest, others, seed)
    missing = references.missing
    if missing and without == "refuse":
        raise ProtocolError(
            f"manifest {manifest.name!r}: {len(missing)} of {len(manifest)} trial(s) have no "
            f"reference: no other bonafide recording of their speaker is there ({_few(missing)}). "
            "Leave them out (--leave-out), or name a folder that has some (--references FOLDER)."
        )
    encoder, gone = _encoder(manifest, pool), set(missing)
    kept = [trial for trial in manifest if trial.id not in gone]
    chosen = [others[_place(references, trial)] for trial in kept]
    own = _vectors(manifest, kept)
    theirs = _vectors(pool or manifest, chosen)
    if own.shape[1] != theirs.shape[1]:
        raise ProtocolError(
            f"embeddings of {own.shape[1]} numbers and references of {theirs.shape[1]}; both must come "
            "from one detector."
        )
    names = tuple(trial.id for trial in chosen)
    return Pairs(tuple(kept), names, theirs - own, missing, encoder)


def read_split(folder: str | Path, split: str | None = None) -> Manifest:
    """The trials of a folder of vectors; ``split`` is needed where it holds several.

    Raises:
        ProtocolError: the folder is not one of vectors.
        SettingsError: no such split, or several and none named.
    """
    parts = vectors.read(folder)
    if split is None and len(parts) == 1:
        return next(iter(parts.values()))
    if split is None:
        raise SettingsError(f"{folder} holds {', '.join(parts)}; say which: --split NAME.")
    if split not in parts:
        raise SettingsError(
            f"{folder} has no split {split!r}{nearest(split, parts)} Found: {', '.join(parts)}."
        )
    return parts[split]


def read_all(folder: str | Path) -> Manifest:
    """All trials of a folder of vectors, whatever their split."""
    return join_manifests(Path(folder).name, vectors.read(folder).values())


def _places(manifest: Manifest, others: list[Trial], seed: int) -> References:
    """References whose file name is a place in ``others``: all vectors lie in one file."""
    placed = [replace(trial, path=str(place)) for place, trial in enumerate(others)]
    return find_references(manifest, "same-speaker", pool=Manifest("references", placed), seed=seed)


def _place(references: References, trial: Trial) -> int:
    path = references.choose(trial)
    assert path is not None, "a trial without a reference was kept"
    return int(path.name)


def _vectors(manifest: Manifest, trials: Iterable[Trial]) -> NDArray[np.float64]:
    """(trials, dimensions); a trial may stand there more than once."""
    rows = vectors.load_vectors(manifest).astype(np.float64)
    at = {trial.id: row for row, trial in enumerate(manifest)}
    return rows[[at[trial.id] for trial in trials]]


def _encoder(manifest: Manifest, pool: Manifest | None) -> str:
    """The digest of the detector that made the embeddings of both."""
    found = [vectors.embedded_by(one.root) for one in (manifest, pool) if one is not None]
    known = {one for one in found if one}
    if len(known) > 1:
        raise ProtocolError(
            f"{manifest.root} and {pool and pool.root} hold embeddings of different detectors "
            f"({', '.join(one[:12] + '…' for one in found)}); their difference means nothing."
        )
    return known.pop() if known else ""


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
