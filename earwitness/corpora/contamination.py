"""What training and test material share: speakers, sentences, sources, and the same recordings.

A detector that has heard the test speakers, or the very recordings behind the test clips in another
encoding, looks better than it is. Recordings are compared by audio fingerprints: Haitsma & Kalker, "A
highly robust audio fingerprinting system", ISMIR 2002. They survive gain, lossy codecs, cuts and some
noise, and don't match another reading of the same sentence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness import audio
from earwitness.errors import AudioError
from earwitness.trials import Manifest

__all__ = ["Overlap", "Twin", "fingerprint", "shared_values", "twins"]

_ALIASES = {
    "speaker": ("speaker", "source_speaker"),
    "sentence": ("sentence", "sentence_id", "text", "transcript"),
    "source": ("source_corpus", "source", "original_file"),
}
_UNKNOWN = ("", "-")
_FRAME, _HOP, _BANDS = 4096, 256, 33  # 256 ms and 16 ms at 16 kHz
_LOWEST, _HIGHEST = 300.0, 3400.0  # Hz: what telephones and codecs leave
_LEAST_HITS = 3
_MOST_ERRORS = 0.3  # of the bits; two recordings that have nothing in common differ in half of them
_COMMON = 200  # a word that stands in so many places says nothing


class Overlap(NamedTuple):
    """Values of a column that training and test share: how many, in how many test trials, examples."""

    column: str
    values: int
    trials: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Twin:
    """A test clip that is a training clip, or part of it: share of bits that differ, seconds."""

    test: str
    train: str
    errors: float
    seconds: float


def shared_values(train: Iterable[Manifest], test: Manifest) -> list[Overlap]:
    """Speakers, sentences and sources of the test trials that training has too; known ones only.

    >>> from earwitness.trials import Trial
    >>> one = Manifest("a", [Trial("x", "x", "spoof", speaker="ann", tags={"sentence_id": "s1"})])
    >>> two = Manifest("b", [Trial("y", "y", "spoof", speaker="ann", tags={"sentence_id": "s2"})])
    >>> shared_values([one], two)
    [Overlap(column='speaker', values=1, trials=1, examples=('ann',))]
    """
    trained = list(train)
    found = []
    for column, aliases in _ALIASES.items():
        seen = {t.get(name) for one in trained for t in one for name in aliases} - {*_UNKNOWN}
        hits = [sorted({t.get(name) for name in aliases} & seen) for t in test]
        values = sorted({value for hit in hits for value in hit})
        if values:
            trials = sum(map(bool, hits))
            found.append(Overlap(column, len(values), trials, tuple(values[:3])))
    return found


def fingerprint(wave: NDArray[np.float32]) -> NDArray[np.uint32]:
    """32 bits each 16 ms: whether energy rises from band to band more than it did a frame before.

    >>> wave = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    >>> fingerprint(wave).shape, bool((fingerprint(wave) == fingerprint(wave / 3)).all())
    ((109,), True)
    """
    if len(wave) < _FRAME + _HOP:
        return np.zeros(0, dtype=np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(wave, _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)) ** 2
    edges = np.geomspace(_LOWEST, _HIGHEST, _BANDS + 1) * _FRAME / audio.SAMPLE_RATE
    bands = np.add.reduceat(power, edges.astype(int)[:-1], axis=1)
    rising = np.diff(np.diff(bands, axis=1), axis=0) > 0
    return np.packbits(rising, axis=1).view(">u4")[:, 0].astype(np.uint32)


def twins(
    train: Iterable[Manifest],
    test: Manifest,
    *,
    on_file: Callable[[int], object] = lambda done: None,
) -> tuple[list[Twin], dict[str, str]]:
    """Test clips that are training clips in another encoding, cut or loudness; and unusable files.

    A test clip is compared with the training clips that share words of its fingerprint at one time
    shift; it is a twin where fewer than 30 % of the bits differ over what both have.

    Args:
        train: manifests of what was learned from.
        test: the manifest to be judged on.
        on_file: called with the number of files heard so far.

    Returns:
        The twins, and path -> reason for files that can't be decoded.
    """
    heard = _Heard(on_file)
    known = heard.of(t for one in train for t in map(one.path, one))
    index = _Index(known)
    found = []
    for trial in test:
        path = test.path(trial)
        words = heard.one(path)
        if words is not None and (best := index.best(words)) is not None:
            place, errors, frames = best
            found.append(
                Twin(str(path), str(index.paths[place]), errors, frames * _HOP / audio.SAMPLE_RATE)
            )

    return found, heard.failed


class _Heard:
    """Fingerprints of files, counting those that were heard and noting those that can't be."""

    def __init__(self, on_file: Callable[[int], object]):
        self.on_file, self.done, self.failed = on_file, 0, dict[str, str]()

    def one(self, path: Path) -> NDArray[np.uint32] | None:
        self.done += 1
        self.on_file(self.done)
        try:
            return fingerprint(audio.read(path, check=False).wave)
        except AudioError as error:
            self.failed[str(path)] = error.reason
            return None

    def of(self, paths: Iterable[Path]) -> dict[Path, NDArray[np.uint32]]:
        heard = ((path, self.one(path)) for path in paths)
        return {path: words for path, words in heard if words is not None}


class _Index:
    """Where each word of the training fingerprints stands."""

    def __init__(self, known: Mapping[Path, NDArray[np.uint32]]):
        self.paths = list(known)
        self.prints = list(known.values())
        sizes = [len(words) for words in self.prints]
        self.file = np.repeat(np.arange(len(sizes)), sizes)
        self.frame = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, dtype=int)])
        words = np.concatenate(self.prints or [np.zeros(0, dtype=np.uint32)])
        self.order = np.argsort(words, kind="stable")
        self.words = words[self.order]

    def best(self, words: NDArray[np.uint32]) -> tuple[int, float, int] | None:
        """File, share of bits that differ and frames of the nearest print, if it is near enough."""
        first = self.words.searchsorted(words)
        last = self.words.searchsorted(words, side="right")
        telling = (last > first) & (last - first <= _COMMON) & (words != 0)  # 0 is silence
        votes: dict[tuple[int, int], int] = {}
        for frame in np.flatnonzero(telling):
            for place in self.order[first[frame] : last[frame]]:
                key = (int(self.file[place]), int(self.frame[place]) - int(frame))
                votes[key] = votes.get(key, 0) + 1
        likely = sorted(votes, key=lambda key: -votes[key])[:8]
        judged = [self._errors(words, *key) for key in likely if votes[key] >= _LEAST_HITS]
        near = [one for one in judged if one[1] < _MOST_ERRORS]
        return min(near, key=lambda one: one[1]) if near else None

    def _errors(self, words: NDArray[np.uint32], file: int, shift: int) -> tuple[int, float, int]:
        own = self.prints[file]
        start, end = max(0, -shift), min(len(words), len(own) - shift)
        differing = np.bitwise_count(words[start:end] ^ own[start + shift : end + shift])
        return file, float(differing.mean() / 32), end - start
