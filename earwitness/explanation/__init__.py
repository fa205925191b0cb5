"""An explanation of one verdict about one recording: what a person can check and a court can read.

`explain` hears the recording once, in bounded memory, and places it among the detector's `landmarks`;
`page` and `words` put that into pictures and sentences.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness import audio, blocks
from earwitness.detector import Detector, Windows
from earwitness.errors import CheckpointError, ProtocolError
from earwitness.explainers import Attribution, Explainer
from earwitness.files import digest
from earwitness.landmarks import Landmarks, Place, plane
from earwitness.scoring import hear_windows, require_testimony
from earwitness.verdict import calibration_of

__all__ = ["Explanation", "Telling", "explain"]

_BATCH = 32  # windows at once
_PICTURED_SECONDS = 60.0  # longer recordings have no spectrogram of all of it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Telling:
    """The window that speaks loudest for the network's class: its ``start`` (seconds) and ``wave``.

    ``attribution`` says which patches of it the score rests on, where that was asked for.
    """

    start: float
    wave: NDArray[np.float32]
    attribution: Attribution | None = None


@dataclass(frozen=True)
class Explanation:
    """What was found about a recording.

    Attributes:
        name, sha256, seconds: of the file.
        score: mean over the windows, higher = more bonafide. ``starts`` (seconds), ``scores`` and
            ``u``: of each window, see `landmarks`.
        place, landmarks: where the recording lies, and among what. ``word``: how that fits the score.
        telling: the loudest window. ``wave``: all of a recording of up to a minute, else None.
        wants_reference: the detector can hear a reference; none was heard here.
        calibrated: the score as a natural-log likelihood ratio, where the card has a calibration of
            these weights.
        windows: how it was heard. ``card``: of the detector. ``detector``: digest of its weights.
    """

    name: str
    sha256: str
    seconds: float
    score: float
    starts: Floats
    scores: Floats
    u: Floats
    place: Place
    word: str
    telling: Telling
    wave: NDArray[np.float32] | None
    landmarks: Landmarks
    wants_reference: bool
    calibrated: float | None
    windows: Windows
    card: dict[str, Any]
    detector: str

    @property
    def named(self) -> str:
        """The class that the network names."""
        return "bonafide" if self.score > 0 else "spoof"

    @property
    def probability(self) -> float:
        """The network's own probability of bonafide: not calibrated, and at its training's priors."""
        return float(1 / (1 + np.exp(-np.clip(self.score, -700, 700))))

    @property
    def threshold(self) -> float | None:
        """The threshold that was chosen on dev, where there was one."""
        return (self.card.get("dev") or {}).get("threshold")

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: all numbers of the page."""
        place, marks, attribution = self.place, self.landmarks, self.telling.attribution
        return {
            "file": self.name,
            "sha256": self.sha256,
            "seconds": self.seconds,
            "score": self.score,
            "network": {"class": self.named, "probability_of_bonafide": self.probability},
            "threshold": self.threshold,
            "calibrated_llr": self.calibrated,
            "verdict": self.word,
            "u": place.u,
            "v": place.v,
            "distances": dict(place.distances),
            "percentiles": dict(place.percentiles),
            "nearest_mean": place.nearest,
            "llr_of_distances": place.llr,
            "neighbours": {c: [n._asdict() for n in near] for c, near in place.neighbours.items()},
            "on_held_out": {"rates": dict(marks.rates), "nc4": marks.nc4, "counts": dict(marks.counts)},
            "windows": [
                {"start": float(s), "score": float(x), "u": float(u)}
                for s, x, u in zip(self.starts, self.scores, self.u, strict=True)
            ],
            "telling_window": {"start": self.telling.start}
            | ({} if attribution is None else {
                "method": attribution.method,
                "hertz": attribution.hertz.tolist(),
                "seconds": attribution.seconds.tolist(),
                "values": attribution.values.tolist(),
            }),
            "settings": {"windows": vars(self.windows), "detector": self.detector},
        }  # fmt: skip


def explain(
    detector: Detector,
    landmarks: Landmarks,
    recording: str | Path,
    *,
    windows: Windows | None = None,
    explainer: Explainer | None = None,
) -> Explanation:
    """Hear a recording and explain its score; without an ``explainer``, without attribution.

    Raises:
        AudioError: the file can't be used.
        SettingsError: the detector hears no audio, or doesn't name bonafide and spoof.
        ProtocolError: the landmarks are of embeddings of another size.
    """
    require_testimony(detector)
    path, policy = Path(recording), windows or detector.windows
    detector.require_seconds(policy.seconds, "windows.seconds")
    heard = _Hearing(detector, landmarks)
    kept: list[NDArray[np.float32]] = []
    window, hop = (round(s * audio.SAMPLE_RATE) for s in (policy.seconds, policy.hop))
    count = blocks.Heard()
    pieces = _keeping(blocks.blocks(path), kept)
    batch: list[tuple[int, NDArray[np.float32]]] = []
    for one in blocks.windows_of(pieces, window, hop, count):
        batch.append(one)
        if len(batch) == _BATCH:
            heard.take(batch)
            batch = []
    heard.take(batch)
    score, embedding = heard.means()
    if not np.isfinite(score):
        raise ProtocolError(f"{path}: the detector's score of it is {score}; nothing to explain.")
    place = landmarks.place(embedding)
    start, wave = heard.loudest(bonafide=score > 0)
    attribution = explainer.attribute(detector, wave) if explainer else None
    return Explanation(
        name=path.name.encode(errors="replace").decode(),  # a name that isn't UTF-8 can't be written
        sha256=digest(path),
        seconds=count.seconds,
        score=score,
        starts=np.array(heard.starts) / audio.SAMPLE_RATE,
        scores=np.array(heard.scores),
        u=np.array(heard.u),
        place=place,
        word=place.word(score),
        telling=Telling(start / audio.SAMPLE_RATE, wave, attribution),
        wave=np.concatenate(kept) if count.seconds <= _PICTURED_SECONDS else None,
        landmarks=landmarks,
        wants_reference=detector.wants_reference,
        calibrated=_calibrated(detector, score),
        windows=policy,
        card=detector.card,
        detector=detector.digest,
    )


def _calibrated(detector: Detector, score: float) -> float | None:
    try:
        return float(calibration_of(detector).apply([score])[0])
    except CheckpointError:  # it has none, or one of other weights
        return None


def _keeping(
    pieces: Iterator[NDArray[np.float32]], kept: list[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Pass pieces on and keep them while the recording is short enough to be drawn."""
    total = 0
    for piece in pieces:
        total += len(piece)
        if total <= _PICTURED_SECONDS * audio.SAMPLE_RATE:
            kept.append(piece)
        else:
            kept.clear()
        yield piece


class _Hearing:
    """What is kept of windows as they go by: numbers, a sum, and the two that speak loudest."""

    def __init__(self, detector: Detector, landmarks: Landmarks):
        self.detector, self.landmarks = detector, landmarks
        self.starts: list[int] = []
        self.scores: list[float] = []
        self.u: list[float] = []
        self.total: Floats = np.zeros(())
        self.extremes: dict[bool, tuple[float, int, NDArray[np.float32]]] = {}

    def take(self, batch: list[tuple[int, NDArray[np.float32]]]) -> None:
        if not batch:
            return
        rows = np.stack([row for _, row in batch])
        found = hear_windows(self.detector, rows)
        self.total = self.total + found.sum(0)
        self.starts += [start for start, _ in batch]
        self.scores += found[:, -1].tolist()
        if found.shape[1] - 1 == self.landmarks.means.shape[1]:  # else `place` says what is wrong
            self.u += plane(found[:, :-1], self.landmarks.means)[0].tolist()
        for bonafide, best in ((True, found[:, -1].argmax()), (False, found[:, -1].argmin())):
            score = float(found[best, -1])
            known = self.extremes.get(bonafide)
            if known is None or (score > known[0] if bonafide else score < known[0]):
                self.extremes[bonafide] = (score, batch[best][0], rows[best].copy())

    def means(self) -> tuple[float, Floats]:
        mean = self.total / len(self.starts)
        return float(mean[-1]), np.asarray(mean[:-1])

    def loudest(self, *, bonafide: bool) -> tuple[int, NDArray[np.float32]]:
        _, start, row = self.extremes[bonafide]
        return start, row
