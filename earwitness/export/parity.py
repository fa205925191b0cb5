"""Whether what was exported scores as the detector does: on recordings, before it is kept."""

import copy
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness import audio
from earwitness.calibration import Calibration
from earwitness.detector import Detector
from earwitness.errors import RunError
from earwitness.trials import Manifest
from earwitness.windows import Windows

__all__ = ["Parity", "compare"]

_MOST = 1e-4
_TOGETHER = 16  # windows


class Runs(Protocol):
    """A model that was exported and opened again."""

    def run(self, waves: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Waves (batch, samples) to outputs by name."""


@dataclass(frozen=True)
class Parity:
    """The largest differences found from the detector in float64: of any window's ``score``, logit,
    embedding (relative to the largest of its numbers) and ``llr``; ``clips`` and ``windows`` that were
    compared, and on what. ``float32`` is the largest of a score from the detector as it runs.
    """

    score: float
    float32: float
    logits: float
    embedding: float
    llr: float | None
    clips: int
    windows: int
    on: str

    def told(self) -> dict[str, Any]:
        """For the card."""
        return asdict(self)


def compare(
    detector: Detector, opened: Runs, clips: Manifest, calibration: Calibration | None = None
) -> Parity:
    """Score the clips with both: in the detector's windows, and each clip whole, up to a minute.

    Raises:
        RunError: a score, logit or llr differs by more than 1e-4 from the detector's in float64, or an
            embedding by so much of its own largest number. (In float32 a detector's own rounding can be
            larger than that: a large ResNet's scores were off by 2e-4.)
    """
    worst = dict.fromkeys(("score", "logits", "embedding", "llr", "float32"), 0.0)
    detector, exact = detector.eval(), copy.deepcopy(detector).double().eval()
    count = 0
    for trial in clips:
        wave = audio.read(clips.path(trial)).wave
        for view in _views(wave, detector.windows, detector.min_samples):
            count += len(view)
            rows = np.ascontiguousarray(view, dtype=np.float32)
            theirs = opened.run(rows)
            worst["float32"] = max(worst["float32"], _from_float32(detector, theirs, rows))
            for name, value in _differences(exact, theirs, rows, calibration).items():
                if not value <= _MOST:
                    raise RunError(
                        f"{clips.path(trial)}: the exported model's {name} differs from the detector's "
                        f"by {value:.2g}, more than {_MOST:g}; nothing was written."
                    )
                worst[name] = max(worst[name], value)
    llr = worst.pop("llr") if calibration is not None else None
    return Parity(
        **{k: v for k, v in worst.items() if k != "llr"}, llr=llr, clips=len(clips), windows=count,
        on=clips.name,
    )  # fmt: skip


def _views(wave: NDArray[np.float32], windows: Windows, least: int) -> list[NDArray[np.float32]]:
    window, hop = (round(s * audio.SAMPLE_RATE) for s in (windows.seconds, windows.hop))
    starts = audio.windows(len(wave), window, hop)
    rows = np.stack([audio.crop_or_repeat(wave, window, start=start) for start in starts])
    whole = wave[: 60 * audio.SAMPLE_RATE]
    whole = whole if len(whole) >= least else audio.crop_or_repeat(whole, least)
    return [*(rows[n : n + _TOGETHER] for n in range(0, len(rows), _TOGETHER)), whole[None]]


@torch.no_grad()
def _differences(
    exact: Detector,
    theirs: dict[str, NDArray[np.float32]],
    rows: NDArray[np.float32],
    calibration: Calibration | None,
) -> dict[str, float]:
    ours = exact(torch.from_numpy(rows).double())
    score, h = ours.score.numpy(), ours.embedding.numpy()
    found = {
        "score": _largest(score - theirs["score"]),
        "logits": _largest(ours.logits.numpy() - theirs["logits"]),
        "embedding": _largest(h - theirs["embedding"]) / max(1e-12, _largest(h)),
    }
    if calibration is not None:
        found["llr"] = _largest(calibration.apply(score) - theirs["llr"])
    return found


@torch.no_grad()
def _from_float32(
    detector: Detector, theirs: dict[str, NDArray[np.float32]], rows: NDArray[np.float32]
) -> float:
    return _largest(detector(torch.from_numpy(rows)).score.numpy() - theirs["score"])


def _largest(values: NDArray[np.floating[Any]]) -> float:
    """NaN where one is."""
    return float(np.abs(values).max())
