"""Scores of single files as a person reads them: a table, and what the score is worth."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from earwitness.calibration import Calibration
from earwitness.errors import CheckpointError
from earwitness.windows import ScoresClips

__all__ = ["ScoreTable", "calibration_of", "explain_worth", "put_calibration", "worth_of_card"]


class Carded(Protocol):
    """What has a card, and a digest of what it is the card of."""

    @property
    def card(self) -> dict[str, Any]:
        """The card."""

    @property
    def digest(self) -> str:
        """SHA-256."""


class ScoreTable:
    """Says a line for each recording; with a calibration, likelihood ratios in place of scores."""

    def __init__(
        self,
        detector: ScoresClips,
        say: Callable[[str], object],
        calibration: Calibration | None = None,
    ):
        self._say, self._calibration = say, calibration
        self._threshold = (detector.card.get("dev") or {}).get("threshold")
        name = "score" if calibration is None else "LLR"
        say(f"{name:>8} {'worst':>8} windows  verdict   file")

    def add(self, name: str, mean: float, worst: float, windows: int) -> None:
        """A recording that was scored."""
        verdict = "-" if self._threshold is None else _side(mean, self._threshold)
        if self._calibration is not None:
            mean, worst = self._calibration.apply([mean, worst]).tolist()
            verdict = _side(mean, 0.0)  # by the evidence; the threshold is of scores
        self._say(f"{mean:8.3f} {worst:8.3f} {windows:7d}  {verdict:9} {name}")

    def fail(self, name: str, reason: str) -> None:
        """One that could not be."""
        self._say(f"{'-':>8} {'-':>8} {'-':>7}  failed    {name}: {reason}")


def put_calibration(folder: str | Path, calibration: Calibration) -> None:
    """Put a calibration into the card of a saved detector; it holds for these weights alone.

    Raises:
        CheckpointError: no detector is there, or it is damaged.
    """
    from earwitness.detector import Detector, annotate

    weights = Detector.load(folder).digest
    annotate(folder, calibration={**calibration.to_dict(), "of_weights": weights})


def calibration_of(detector: Carded) -> Calibration:
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
