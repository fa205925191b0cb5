"""A stand-in corpus that the project makes itself: no recordings, no downloads, no licence.

Machines babble (``_voice``) in the part of *bonafide*; generators (``_generators``) re-make other
babble as *spoof*. Every domain has one generator and one recording condition (``_recording``) that
both classes share, so a learner that moves on forgets. **Results on this corpus say nothing about
real speech**: it is there to try code, to teach, and to show forgetting within minutes.

Conventions:

- A clip depends on the seed and its own place (domain, split, class, number) and on nothing else:
  a smaller corpus is a part of a larger one. Speakers of different splits are different.
- Clip ``k`` of either class shares duration, leading silence, level, crest factor, room and noise
  level with clip ``k`` of the other, so none of these tells the classes apart.
- ``corpus.json`` stands first as unfinished and last as finished: a killed run goes on where it
  stopped, and a finished corpus is used again. Bytes are the same for the same versions of numpy,
  scipy and libsndfile.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness import audio
from earwitness.audio import SAMPLE_RATE
from earwitness.corpora._generators import GENERATORS
from earwitness.corpora._recording import CONDITIONS, record
from earwitness.corpora._voice import draw_speaker, speak
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.files import write_json
from earwitness.trials import Manifest, Trial

__all__ = ["make", "read"]

_DOMAINS = ("pulse-vocoder", "griffin-lim", "upsampler", "sinusoidal")
_CLIPS = (60, 20, 40)
_SECONDS = (1.2, 2.0)
_RECIPE = 1  # raise it when the same settings would give other sounds
_SPLITS = ("train", "dev", "test")
_SPEAKERS = {"train": range(20), "dev": range(20, 30), "test": range(30, 50)}


def make(
    root: str | Path,
    *,
    domains: tuple[str, ...] = _DOMAINS,
    clips: tuple[int, ...] = _CLIPS,
    seconds: tuple[float, ...] = _SECONDS,
    seed: int = 0,
) -> Manifest:
    """Make the corpus in ``root``, or find it there, and return its manifest.

    Args:
        root: an empty folder, a folder to create, or one that holds this corpus.
        domains: names of generators; each is a domain, in this order.
        clips: how many clips train, dev and test have for each class and domain.
        seconds: the shortest and the longest clip; durations are uniform between them.
        seed: 0 or more.

    Raises:
        SettingsError: a setting that cannot be followed.
        ProtocolError: ``root`` holds something else, other settings, or a damaged corpus.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = make(folder, domains=("upsampler",), clips=(2, 1, 1), seconds=(0.5, 0.6))
    >>> corpus.counts(), corpus.counts("split")
    ({'bonafide': 4, 'spoof': 4}, {'train': 4, 'dev': 2, 'test': 2})
    """
    _check(domains, clips, seconds, seed)
    root = Path(root)
    settings = {"recipe": _RECIPE, "domains": [*domains], "clips": [*clips]}
    settings |= {"seconds": [float(s) for s in seconds], "seed": seed}
    manifest = Manifest("synthetic", _trials(domains, clips), root=root)
    card = {"settings": settings, "fingerprint": manifest.fingerprint(), "complete": True}
    found = _found(root)
    if found is None:
        write_json(root / "corpus.json", card | {"complete": False})
    elif found["settings"] != settings:
        raise ProtocolError(
            f"{root} holds a synthetic corpus made with {found['settings']}, asked was "
            f"{settings}; choose another folder or delete this one."
        )
    elif found["complete"]:
        return _whole(root, card)
    for trial in manifest:
        if not manifest.path(trial).exists():
            audio.write(manifest.path(trial), _clip(trial, seconds, seed))
    manifest.write(root / "manifest.tsv")
    write_json(root / "corpus.json", card)
    return manifest


def read(
    root: str | Path,
    *,
    domains: tuple[str, ...] = _DOMAINS,
    clips: tuple[int, ...] = _CLIPS,
    seconds: tuple[float, ...] = _SECONDS,
    seed: int = 0,
) -> dict[str, Manifest]:
    """The corpus in ``root`` as ``train``, ``dev`` and ``test``; made first where it is absent.

    Arguments and errors are those of ``make``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     list(read(folder, domains=("upsampler",), clips=(1, 1, 1), seconds=(0.5, 0.6)))
    ['train', 'dev', 'test']
    """
    return make(root, domains=domains, clips=clips, seconds=seconds, seed=seed).split()


def _check(
    domains: tuple[str, ...], clips: tuple[int, ...], seconds: tuple[float, ...], seed: int
) -> None:
    for name in domains:
        if name not in GENERATORS:
            known = ", ".join(GENERATORS)
            raise SettingsError(
                f"no domain is called {name!r}{nearest(name, GENERATORS)} Known: {known}."
            )
    demands = {
        f"domains is {domains}, expected at least one name and none twice": domains
        and len(set(domains)) == len(domains),
        f"clips is {clips}, expected three counts of 1 or more (train, dev, test)": len(clips) == 3
        and min(clips) >= 1,
        f"seconds is {seconds}, expected a shortest of 0.5 or more and a longest": len(seconds) == 2
        and 0.5 <= seconds[0] <= seconds[1],
        f"seed is {seed}, expected 0 or more": seed >= 0,
    }
    for demand, is_met in demands.items():
        if not is_met:
            raise SettingsError(f"corpus 'synthetic': {demand}.")


def _found(root: Path) -> dict[str, Any] | None:
    """The card of the corpus in ``root``; None where there is nothing yet."""
    if not root.exists() or (root.is_dir() and all(p.name.startswith(".") for p in root.iterdir())):
        return None
    try:
        found = json.loads((root / "corpus.json").read_text(encoding="utf-8"))
        return {"settings": found["settings"], "complete": found["complete"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(
            f"{root} is not empty and holds no synthetic corpus ({error}); choose another folder."
        ) from None


def _whole(root: Path, card: dict[str, Any]) -> Manifest:
    """The finished corpus as it lies there, checked against what was written."""
    manifest = Manifest.read(root / "manifest.tsv", name="synthetic").require_files()
    if manifest.fingerprint() != card["fingerprint"]:
        raise ProtocolError(f"{root / 'manifest.tsv'} was changed; delete {root} to make it again.")
    return manifest


def _trials(domains: tuple[str, ...], clips: tuple[int, ...]) -> Iterator[Trial]:
    for domain in domains:
        for split, count in zip(_SPLITS, clips, strict=True):
            for label in ("bonafide", "spoof"):
                for number in range(count):
                    yield _trial(domain, split, label, number)


def _trial(domain: str, split: str, label: str, number: int) -> Trial:
    id_ = f"{domain}-{split}-{label}-{number:04d}"
    attack = domain if label == "spoof" else "-"
    speaker = _SPEAKERS[split][number % len(_SPEAKERS[split])]
    path = f"{domain}/{id_}.flac"
    return Trial(id_, path, label, attack, f"synthetic-s{speaker:03d}", domain, split)


def _draws(seed: int, *key: str | int) -> np.random.Generator:
    """A random generator for one purpose; words are keyed by their checksums."""
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key]
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=words))


def _clip(trial: Trial, seconds: tuple[float, ...], seed: int) -> NDArray[np.float32]:
    """The sound of one trial."""
    number = int(trial.id.rpartition("-")[2])
    pair = _draws(seed, "pair", trial.domain, trial.split, number)
    own = _draws(seed, trial.label, trial.domain, trial.split, number)
    speaker = draw_speaker(trial.speaker, _draws(seed, "speaker", trial.speaker))
    samples = round(pair.uniform(seconds[0], seconds[-1]) * SAMPLE_RATE)
    wave = speak(speaker, samples, pair.uniform(0.03, 0.12), own)
    if trial.label == "spoof":
        wave = GENERATORS[trial.attack](wave, own)
    return record(wave, CONDITIONS[trial.domain], pair, own).astype(np.float32)
