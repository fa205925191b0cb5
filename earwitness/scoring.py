"""Detector x manifest -> scores: whole recordings, in overlapping windows, with provenance.

A score is the mean over a recording's windows. Nobody is scored on the first seconds only, and a
file that cannot be read is an error, or counted and named when the caller asked for that.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import earwitness
from earwitness import audio, distributed
from earwitness.batches import load_rows
from earwitness.corpora.vectors import write
from earwitness.detector import Detector
from earwitness.errors import AudioError, RunError, SettingsError
from earwitness.files import write_json
from earwitness.landmarks import Embedded
from earwitness.references import References, Way
from earwitness.scores import ClassScores, Scores
from earwitness.trials import CLASSES, Manifest, Trial
from earwitness.windows import Windows, score_files

__all__ = [
    "embed", "hear_manifest", "hear_windows", "listen", "require_testimony", "score", "score_files",
]  # fmt: skip

_ORIGIN = ("domain", "attack", "generator")
_BATCH = 64  # windows scored together; the result does not depend on it

REAL = Way("real")
Row = NDArray[np.float32]
Forward = Callable[..., NDArray[np.float64]]


class _Beside:
    """The references of trials as rows of one window, zeros and length 0 where there is none."""

    def __init__(self, detector: Detector, references: References, way: Way, policy: Windows):
        if not detector.wants_reference:
            name = detector.settings["back_end"].get("name")
            raise SettingsError(f"the back end {name!r} hears no references; leave them out.")
        self.references, self.way = references, way
        self.samples = round(policy.seconds * audio.SAMPLE_RATE)
        self.without = 0

    def of(self, trial: Trial) -> tuple[Row, int]:
        """A row and how much of it is the reference."""
        path = self.references.choose(trial, mismatch=self.way.name == "mismatch")
        row = np.zeros(self.samples, dtype=np.float32)
        if path is None or not self.way.is_heard:
            self.without += path is None
            return row, 0
        heard = self.way.apply(audio.read(path).wave[: self.samples], trial.id, self.references.seed)
        row[: len(heard)] = heard
        return row, len(heard)

    def told(self, without: int) -> dict[str, Any]:
        """For the scores' provenance."""
        return {"policy": self.references.policy, "way": str(self.way), "without": without}


def score(
    detector: Detector,
    manifest: Manifest,
    *,
    windows: Windows | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    on_clip: Callable[[], None] = lambda: None,
    references: References | None = None,
    way: Way = REAL,
) -> Scores | ClassScores:
    """Score every trial of a manifest; one number a class where they aren't bonafide and spoof.

    ``references`` are heard by detectors that want them, as ``way`` says (`earwitness.references`);
    each from its beginning, as long as a window. Without them the network hears its zero vector.

    The scores' ``provenance`` has the detector's digest, the window policy, the trial scope and the
    coverage: how many trials were asked for, how many scored, and which failed and why.

    Raises:
        AudioError: a file cannot be used (``on_error="raise"``).
        RunError: no file could be used.
    """
    policy = windows or detector.windows
    detector.require_seconds(policy.seconds, "windows.seconds")
    if detector.front_end.eats != "wave":
        rows = load_rows(manifest, detector.front_end)
        values = np.concatenate([_forward(detector, some) for some in rows])
        return _scores(detector, list(manifest), values, manifest, policy, [])
    scored: dict[str, NDArray[np.float64]] = {}
    failed = []
    beside = None if references is None else _Beside(detector, references, way, policy)
    found, decoders, without = _outcomes(detector, manifest, policy, beside, on_clip)
    for trial in manifest:
        outcome = found[trial.id]
        if not isinstance(outcome, AudioError):
            scored[trial.id] = outcome
        elif on_error == "raise":
            raise outcome
        else:
            failed.append({"id": trial.id, "reason": str(outcome)})
    if not scored:
        raise RunError(f"manifest {manifest.name!r}: none of its {len(manifest)} files can be used.")
    trials = [trial for trial in manifest if trial.id in scored]
    values = np.stack([scored[trial.id] for trial in trials])
    scores = _scores(detector, trials, values, manifest, policy, failed)
    scores.provenance["coverage"]["decoders"] = decoders
    if beside is not None:
        scores.provenance["references"] = beside.told(without)
    return scores


def _outcomes(
    detector: Detector,
    manifest: Manifest,
    policy: Windows,
    beside: "_Beside | None",
    on_clip: Callable[[], None],
) -> tuple[dict[str, NDArray[np.float64] | AudioError], dict[str, int], int]:
    """Each trial's value or error, from all processes; who decoded; how many lack a reference."""
    own = [manifest.trials[n] for n in range(distributed.rank(), len(manifest), distributed.size())]
    decoded = audio.DecodingReport()
    found: dict[str, NDArray[np.float64] | AudioError] = {}
    for trial, outcome in _score_waves(detector, manifest, policy, decoded, _forward, beside, own):
        on_clip()
        found[trial.id] = outcome
    every = distributed.gather((found, decoded.decoders, beside.without if beside else 0))
    decoders = sum((one for _, one, _ in every), start=Counter[str]())
    together = {name: value for part, _, _ in every for name, value in part.items()}
    return together, dict(decoders), sum(n for _, _, n in every)


def listen(
    detector: Detector,
    manifest: Manifest,
    windows: Windows,
    decoded: audio.DecodingReport,
    references: References | None = None,
    trials: Sequence[Trial] | None = None,
) -> Iterator[tuple[Trial, NDArray[np.float64] | AudioError]]:
    """Hear recordings in windows, one outcome after another: a number (or one a class), or an error.

    ``trials`` are those of the manifest's that are heard, by default all; ``references`` are heard
    beside them by detectors that want them.
    """
    beside = None
    if references is not None:
        beside = _Beside(detector, references, REAL, windows)
    return _score_waves(detector, manifest, windows, decoded, _forward, beside, trials)


def embed(detector: Detector, manifest: Manifest, folder: str | Path) -> tuple[int, int]:
    """Write the detector's embedding of every recording as a corpus for the reader ``vectors``.

    ``folder`` gets ``manifest.tsv`` and ``vectors.npy``, a row a trial: the mean over the
    recording's windows. Returns the array's shape.

    Raises:
        AudioError: a file cannot be used.
    """
    if detector.front_end.eats == "wave":
        vectors = _embed_waves(detector, manifest)
    else:
        rows = load_rows(manifest, detector.front_end)
        vectors = np.concatenate([_embedding(detector, some) for some in rows])
    write(folder, vectors, manifest, name=manifest.name, classes=manifest.classes)
    told = {"detector": detector.digest, "card": detector.card}
    write_json(Path(folder) / "embedding.json", told)
    return vectors.shape


def hear_manifest(
    detector: Detector,
    manifest: Manifest,
    *,
    on_error: Literal["raise", "skip"] = "raise",
    on_clip: Callable[[], None] = lambda: None,
) -> Embedded:
    """Embedding and score of every recording, both means over its windows, for `Landmarks.fit`.

    With ``on_error="skip"`` recordings that can't be read are left out.

    Raises:
        AudioError: a file cannot be used (``on_error="raise"``).
        SettingsError: the detector doesn't hear audio, or names other classes.
    """
    require_testimony(detector)
    decoded, own = audio.DecodingReport(), {}
    share = [manifest.trials[n] for n in range(distributed.rank(), len(manifest), distributed.size())]
    heard = _score_waves(detector, manifest, detector.windows, decoded, hear_windows, trials=share)
    for trial, outcome in heard:
        on_clip()
        own[trial.id] = outcome
    found = {id_: outcome for part in distributed.gather(own) for id_, outcome in part.items()}
    failed = [outcome for outcome in found.values() if isinstance(outcome, AudioError)]
    if failed and on_error == "raise":
        raise failed[0]
    trials = [trial for trial in manifest if not isinstance(found[trial.id], AudioError)]
    values = np.stack([found[t.id] for t in trials]) if trials else np.zeros((0, 2))
    return Embedded(
        values[:, :-1], values[:, -1], [t.label for t in trials], [t.id for t in trials],
        [" ".join(w for w in map(t.get, _ORIGIN) if w != "-") or "-" for t in trials],
    )  # fmt: skip


def require_testimony(detector: Detector) -> None:
    """Raise where a detector's verdicts can't be told by where clips lie in its embedding."""
    name = detector.settings["front_end"].get("name")
    if detector.front_end.eats != "wave":
        raise SettingsError(f"the front end {name!r} eats {detector.front_end.eats}s, not recordings.")
    if detector.classes != CLASSES or detector.rule is not None:
        raise SettingsError(
            "only detectors of bonafide and spoof that decide by their own logits are explained; this "
            + (f"names {', '.join(detector.classes)}." if detector.rule is None else "has a rule.")
        )


@torch.no_grad()
def hear_windows(
    detector: Detector, rows: Row, pairs: Sequence[tuple[Row, int]] = ()
) -> NDArray[np.float64]:
    """(n, dim + 1): each window's embedding and, last, its score."""
    detector.eval()
    output = detector(torch.from_numpy(rows).to(detector.device), None, *_tensors(detector, pairs))
    return torch.cat([output.embedding, output.score[:, None]], 1).cpu().double().numpy()


def _embed_waves(detector: Detector, manifest: Manifest) -> NDArray[np.float64]:
    decoded = audio.DecodingReport()
    rows = {}
    for trial, outcome in _score_waves(detector, manifest, detector.windows, decoded, _embedding):
        if isinstance(outcome, AudioError):
            raise outcome
        rows[trial.id] = outcome
    return np.stack([rows[trial.id] for trial in manifest])


def _score_waves(
    detector: Detector,
    manifest: Manifest,
    policy: Windows,
    decoded: audio.DecodingReport,
    forward: Forward,
    beside: _Beside | None = None,
    trials: Sequence[Trial] | None = None,
) -> Iterator[tuple[Trial, NDArray[np.float64] | AudioError]]:
    """Gather windows of successive clips into full batches; give back a mean for each clip."""
    window, hop = (round(s * audio.SAMPLE_RATE) for s in (policy.seconds, policy.hop))
    waiting: list[tuple[Trial, int]] = []
    rows: list[Row] = []
    pairs: list[tuple[Row, int]] = []
    for trial in manifest if trials is None else trials:
        try:
            clip = audio.read(manifest.path(trial))
            pair = [beside.of(trial)] if beside else []
        except AudioError as error:
            yield trial, error
            continue
        decoded.add(clip)
        wave = clip.wave
        starts = audio.windows(len(wave), window, hop)
        if len(starts) > _BATCH:  # a long recording goes through in bounded memory
            yield trial, _mean_of_long(detector, wave, starts, window, forward, pair)
            continue
        rows += [audio.crop_or_repeat(wave, window, start=start) for start in starts]
        pairs += pair * len(starts)
        waiting.append((trial, len(starts)))
        if len(rows) >= _BATCH:
            yield from _means(detector, waiting, rows, forward, pairs)
            waiting, rows, pairs = [], [], []
    yield from _means(detector, waiting, rows, forward, pairs)


def _mean_of_long(
    detector: Detector,
    wave: Row,
    starts: list[int],
    window: int,
    forward: Forward,
    pair: list[tuple[Row, int]],
) -> NDArray[np.float64]:
    total = np.zeros(())
    for first in range(0, len(starts), _BATCH):
        part = starts[first : first + _BATCH]
        rows = np.stack([audio.crop_or_repeat(wave, window, start=start) for start in part])
        total = total + forward(detector, rows, pair * len(part)).sum(0)
    return total / len(starts)


def _means(
    detector: Detector,
    waiting: list[tuple[Trial, int]],
    rows: list[Row],
    forward: Forward,
    pairs: list[tuple[Row, int]],
) -> Iterator[tuple[Trial, NDArray[np.float64]]]:
    if not rows:
        return
    scores = np.concatenate(
        [
            forward(detector, np.stack(rows[i : i + _BATCH]), pairs[i : i + _BATCH])
            for i in range(0, len(rows), _BATCH)
        ]
    )
    ends = np.cumsum([count for _, count in waiting])
    for (trial, count), end in zip(waiting, ends, strict=True):
        yield trial, scores[end - count : end].mean(0)


@torch.no_grad()
def _forward(
    detector: Detector, rows: Row, pairs: Sequence[tuple[Row, int]] = ()
) -> NDArray[np.float64]:
    """(n,) scores, or (n, classes) logits where the classes aren't bonafide and spoof."""
    detector.eval()
    output = detector.judge(
        torch.from_numpy(rows).to(detector.device), None, *_tensors(detector, pairs)
    )
    told = output.score if detector.classes == CLASSES else output.logits
    return told.cpu().double().numpy()


def _tensors(detector: Detector, pairs: Sequence[tuple[Row, int]]) -> list[torch.Tensor]:
    """References (n, samples) and their lengths (n,), or nothing where none is heard."""
    if not any(length for _, length in pairs):
        return []
    rows = torch.from_numpy(np.stack([row for row, _ in pairs]))
    length = torch.tensor([length for _, length in pairs])
    return [rows.to(detector.device), length.to(detector.device)]


@torch.no_grad()
def _embedding(
    detector: Detector, rows: Row, pairs: Sequence[tuple[Row, int]] = ()
) -> NDArray[np.float64]:
    """(n, dim)."""
    del pairs
    detector.eval()
    return detector(torch.from_numpy(rows).to(detector.device)).embedding.cpu().double().numpy()


def _scores(
    detector: Detector,
    trials: list[Trial],
    values: NDArray[np.float64],
    manifest: Manifest,
    policy: Windows,
    failed: list[dict[str, str]],
) -> Scores | ClassScores:
    provenance: dict[str, Any] = {
        "detector": detector.digest,
        "orientation": "higher = more bonafide",
        "trial_scope": "whole recording, mean over windows",
        "windows": {"seconds": policy.seconds, "hop": policy.hop},
        "manifest": {"name": manifest.name, "fingerprint": manifest.fingerprint()},
        "coverage": {"trials": len(manifest), "scored": len(trials), "failed": failed},
        "earwitness": earwitness.__version__,
    }
    eats = detector.front_end.eats
    if eats != "wave":
        provenance |= {"trial_scope": f"one {eats} a trial", "windows": None}
    ids, labels = [t.id for t in trials], [t.label for t in trials]
    if detector.classes == CLASSES:
        return Scores(ids, values, labels, provenance=provenance)
    provenance["orientation"] = "one logit a class"
    return ClassScores(ids, values, labels, classes=detector.classes, provenance=provenance)
