"""Scores of single files as a person reads them: a table, and what the score is worth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import earwitness
from earwitness.calibration import Calibration
from earwitness.errors import AudioError, CheckpointError
from earwitness.scores import Scores
from earwitness.windows import ClipScore, ScoresClips, Windows, score_files

__all__ = [
    "Outcomes",
    "calibration_of",
    "explain_worth",
    "put_calibration",
    "score_table",
    "worth_of_card",
]


@dataclass
class Outcomes:
    """What became of each file: a score, or a reason why there is none."""

    scored: dict[str, ClipScore] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def write(
        self,
        detector: ScoresClips,
        windows: Windows,
        path: Path,
        calibration: Calibration | None = None,
    ) -> None:
        """Write ``file_name,score,label`` and its provenance beside it; with a calibration, ratios."""
        provenance = {
            "detector": detector.digest,
            "orientation": "higher = more bonafide",
            "trial_scope": "whole recording, mean over windows",
            "windows": {"seconds": windows.seconds, "hop": windows.hop},
            "coverage": {
                "trials": len(self.scored) + len(self.failed),
                "scored": len(self.scored),
                "failed": [{"id": name, "reason": why} for name, why in self.failed.items()],
            },
            "earwitness": earwitness.__version__,
        }
        values = [s.mean for s in self.scored.values()]
        if calibration is not None:
            provenance |= {
                "scale": "natural-log likelihood ratio",
                "calibration": calibration.to_dict(),
            }
            values = calibration.apply(values).tolist()
        Scores(self.scored, values, provenance=provenance).write(path)


def score_table(
    detector: ScoresClips,
    files: Sequence[Path],
    windows: Windows,
    say: Callable[[str], object],
    calibration: Calibration | None = None,
) -> Outcomes:
    """Score files one by one, saying a line for each as it is done; with a calibration, as ratios."""
    outcomes = Outcomes()
    threshold = (detector.card.get("dev") or {}).get("threshold")
    name = "score" if calibration is None else "LLR"
    say(f"{name:>8} {'worst':>8} windows  verdict   file")
    for path, result in score_files(detector, files, windows=windows):
        if isinstance(result, AudioError):
            outcomes.failed[str(path)] = result.reason
            say(f"{'-':>8} {'-':>8} {'-':>7}  failed    {path}: {result.reason}")
            continue
        outcomes.scored[str(path)] = result
        verdict = "-" if threshold is None else _side(result.mean, threshold)
        mean, worst = result.mean, result.worst
        if calibration is not None:
            mean, worst = calibration.apply([mean, worst]).tolist()
        say(f"{mean:8.3f} {worst:8.3f} {len(result.windows):7d}  {verdict:9} {path}")
    return outcomes


def put_calibration(folder: str | Path, calibration: Calibration) -> None:
    """Put a calibration into the card of a saved detector; it holds for these weights alone.

    Raises:
        CheckpointError: no detector is there, or it is damaged.
    """
    from earwitness.detector import Detector, annotate

    weights = Detector.load(folder).digest
    annotate(folder, calibration={**calibration.to_dict(), "of_weights": weights})


def calibration_of(detector: ScoresClips) -> Calibration:
    """The calibration in a detector's card.

    Raises:
        CheckpointError: it has none, or learned something since.
    """
    told = detector.card.get("calibration")
    if not told:
        raise CheckpointError(
            "the detector's card has no calibration; score development clips, then run "
            "`earwitness calibrate DEV_SCORES --protocol KEY --detector FOLDER`."
        )
    if told.get("of_weights") != detector.digest:
        raise CheckpointError(
            "the calibration in the detector's card was fitted to other weights; the detector has "
            "learned since. Fit it again: `earwitness calibrate ... --detector FOLDER`."
        )
    return Calibration.from_dict(told, "the detector's card")


def _side(score: float, threshold: float) -> str:
    return "bonafide" if score >= threshold else "spoof"


def explain_worth(detector: ScoresClips) -> str:
    """A plain sentence or two on what this detector's score can and cannot tell.

    >>> from earwitness.detector import Detector
    >>> explain_worth(Detector.build("logmel", "linear"))[:35]
    'What a score is worth: this detecto'
    """
    return worth_of_card(detector.card)


def worth_of_card(card: Mapping[str, Any]) -> str:
    """The same, from a detector's card."""
    lead = "What a score is worth: "
    if not card.get("trained_on"):
        return lead + "this detector's card names no training data; its scores mean nothing yet."
    clips = sum(sum(t["labels"].values()) for t in card["trained_on"])
    tasks = ", ".join(t["task"] for t in card["trained_on"])
    parts = [f"it comes from a detector that learned {clips} clips of: {tasks}."]
    if card.get("dev"):
        dev = card["dev"]
        parts.append(
            f"At the threshold {dev['threshold']:.3f} it was wrong on {100 * dev['eer']:.0f} % of its "
            f"own kind of development clips ({dev['bonafide']} bonafide, {dev['spoof']} spoof)."
        )
    parts.append(
        "The score is not a probability, and about generators or channels unlike these it says little."
    )
    if card.get("stand_in"):
        parts.append(
            "It was trained on a synthetic stand-in for speech: about real recordings it says nothing."
        )
    return lead + " ".join(parts)
