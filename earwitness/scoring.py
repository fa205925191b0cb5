"""Detector x manifest -> scores: whole recordings, in overlapping windows, with provenance.

A score is the mean over a recording's windows. Nobody is scored on the first seconds only, and a
file that cannot be read is an error, or counted and named when the caller asked for that.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import earwitness
from earwitness import audio
from earwitness.batches import load_rows
from earwitness.corpora.vectors import write
from earwitness.detector import ClipScore, Detector, Windows
from earwitness.errors import AudioError, RunError
from earwitness.files import write_json
from earwitness.scores import ClassScores, Scores
from earwitness.trials import CLASSES, Manifest, Trial

__all__ = ["embed", "score", "score_files"]

_BATCH = 64  # windows scored together; the result does not depend on it

Forward = Callable[[Detector, NDArray[np.float32]], NDArray[np.float64]]


def score(
    detector: Detector,
    manifest: Manifest,
    *,
    windows: Windows | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    on_clip: Callable[[], None] = lambda: None,
) -> Scores | ClassScores:
    """Score every trial of a manifest; one number a class where they aren't bonafide and spoof.

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
    decoded = audio.DecodingReport()
    for trial, outcome in _score_waves(detector, manifest, policy, decoded, _forward):
        on_clip()
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
    scores.provenance["coverage"]["decoders"] = dict(decoded.decoders)
    return scores


def score_files(
    detector: Detector, paths: Sequence[str | Path], *, windows: Windows | None = None
) -> Iterator[tuple[Path, ClipScore | AudioError]]:
    """Score recordings one by one; a bad file gives its error and the rest go on."""
    for path in map(Path, paths):
        try:
            yield path, detector.score(path, windows=windows)
        except AudioError as error:
            yield path, error


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
) -> Iterator[tuple[Trial, NDArray[np.float64] | AudioError]]:
    """Gather windows of successive clips into full batches; give back a mean for each clip."""
    window, hop = (round(s * audio.SAMPLE_RATE) for s in (policy.seconds, policy.hop))
    waiting: list[tuple[Trial, int]] = []
    rows: list[NDArray[np.float32]] = []
    for trial in manifest:
        try:
            clip = audio.read(manifest.path(trial))
        except AudioError as error:
            yield trial, error
            continue
        decoded.add(clip)
        wave = clip.wave
        starts = audio.windows(len(wave), window, hop)
        if len(starts) > _BATCH:  # a long recording goes through in bounded memory
            yield trial, _mean_of_long(detector, wave, starts, window, forward)
            continue
        rows += [audio.crop_or_repeat(wave, window, start=start) for start in starts]
        waiting.append((trial, len(starts)))
        if len(rows) >= _BATCH:
            yield from _means(detector, waiting, rows, forward)
            waiting, rows = [], []
    yield from _means(detector, waiting, rows, forward)


def _mean_of_long(
    detector: Detector, wave: NDArray[np.float32], starts: list[int], window: int, forward: Forward
) -> NDArray[np.float64]:
    total = np.zeros(())
    for first in range(0, len(starts), _BATCH):
        part = starts[first : first + _BATCH]
        rows = np.stack([audio.crop_or_repeat(wave, window, start=start) for start in part])
        total = total + forward(detector, rows).sum(0)
    return total / len(starts)


def _means(
    detector: Detector,
    waiting: list[tuple[Trial, int]],
    rows: list[NDArray[np.float32]],
    forward: Forward,
) -> Iterator[tuple[Trial, NDArray[np.float64]]]:
    if not rows:
        return
    scores = np.concatenate(
        [forward(detector, np.stack(rows[i : i + _BATCH])) for i in range(0, len(rows), _BATCH)]
    )
    ends = np.cumsum([count for _, count in waiting])
    for (trial, count), end in zip(waiting, ends, strict=True):
        yield trial, scores[end - count : end].mean(0)


@torch.no_grad()
def _forward(detector: Detector, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) scores, or (n, classes) logits where the classes aren't bonafide and spoof."""
    detector.eval()
    output = detector.judge(torch.from_numpy(rows).to(detector.device))
    told = output.score if detector.classes == CLASSES else output.logits
    return told.cpu().double().numpy()


@torch.no_grad()
def _embedding(detector: Detector, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, dim)."""
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
