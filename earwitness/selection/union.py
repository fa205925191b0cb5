"""Several selections as one list of trials, in which no recording stands twice.

Two clips are one where their decoded audio is: 16 kHz mono float32, as every detector hears it, so that
the same recording as WAV and as FLAC, or under two names, counts once. Of vectors without audio, those
are one whose numbers are.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from earwitness import audio
from earwitness.errors import ProtocolError
from earwitness.selection.selecting import Selection
from earwitness.selection.sources import Source
from earwitness.trials import Trial

__all__ = ["COLUMNS", "Pick", "add_whole", "content", "picks_of", "union"]

_EACH = ("corpus", "generator", "cluster", "distance", "rank", "detector", "embedding")
COLUMNS = (*_EACH, "class", "rule", "rate", "seed", "audio")


class Pick(NamedTuple):
    """A trial that one detector selected, and why: text for each of the columns ``corpus`` to
    ``embedding``."""

    trial: Trial
    told: Mapping[str, str]


def picks_of(source: Source, selection: Selection) -> list[Pick]:
    """The clips that were selected from a source."""
    columns = (selection.cluster.tolist(), selection.distance.tolist(), selection.rank.tolist())
    picks = []
    for trial, *numbers in zip(source.trials(selection.places), *columns, strict=True):
        told = ["-" if np.isnan(number) else repr(number) for number in numbers]
        cells = (source.corpus, trial.attack, *told, source.detector, source.embedding)
        picks.append(Pick(trial, dict(zip(_EACH, cells, strict=True))))
    return picks


def union(
    picks: Sequence[Pick],
    common: Mapping[str, str],
    *,
    on_clip: Callable[[int, int], object] = lambda done, of: None,
) -> list[Trial]:
    """One trial for each recording, with what its selections say as tags.

    Of a recording that was selected more than once the first trial stays; the columns that may differ
    hold the values of all, in order, with semicolons between. ``common`` are tags of every trial.

    Raises:
        AudioError: a selected recording can't be used.
        ProtocolError: one recording with two labels.
    """
    known: dict[tuple[str, str], str] = {}
    same: dict[str, list[Pick]] = {}
    for done, pick in enumerate(picks, 1):
        where = (pick.trial.path, pick.trial.get("row"))
        if where not in known:
            known[where] = content(pick.trial)
        same.setdefault(known[where], []).append(pick)
        on_clip(done, len(picks))
    return _with_own_ids([_merged(some, digest, common) for digest, some in same.items()])


def content(trial: Trial) -> str:
    """SHA-256 of a trial's decoded audio, or of its vector as float32."""
    if "row" in trial.tags:
        vector = np.load(trial.path, mmap_mode="r", allow_pickle=False)[int(trial.tags["row"])]
        samples = np.asarray(vector)
    else:
        samples = audio.read(Path(trial.path)).wave
    return hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()


def add_whole(trials: Sequence[Trial], others: Iterable[tuple[str, Trial]]) -> list[Trial]:
    """With clips that were not selected but are all wanted, to judge by; corpus and trial of each."""
    whole = {
        (trial.path, trial.get("row")): replace(
            trial, tags={**trial.tags, **_unselected(corpus, trial)}
        )
        for corpus, trial in others
    }
    return _with_own_ids([*trials, *whole.values()])


def _unselected(corpus: str, trial: Trial) -> dict[str, str]:
    known = {"corpus": corpus, "generator": trial.attack, "class": trial.label}
    return dict.fromkeys(COLUMNS, "-") | known


def _merged(same: list[Pick], digest: str, common: Mapping[str, str]) -> Trial:
    first = same[0].trial
    for other, _ in same:
        if other.label != first.label:
            raise ProtocolError(
                f"{first.path} is {first.label} and {other.path} is {other.label}, but they are the "
                "same recording; which of the labels is right?"
            )
    told = {column: ";".join(pick.told[column] for pick in same) for column in _EACH}
    return replace(first, tags={**first.tags, **told, "class": first.label, "audio": digest, **common})


def _with_own_ids(trials: list[Trial]) -> list[Trial]:
    """Where several trials have one id, the corpus's name goes before it."""
    count = Counter(trial.id for trial in trials)
    named = [
        t if count[t.id] == 1 else replace(t, id=f"{t.tags['corpus'].split(';')[0]}/{t.id}")
        for t in trials
    ]
    twice = [id_ for id_, n in Counter(trial.id for trial in named).items() if n > 1]
    if twice:
        raise ProtocolError(
            f"{len(twice)} id(s) are of several recordings, first {twice[0]!r}; give the manifests or "
            "folders of the corpora different names, which then go before the ids."
        )
    return named
