"""What a person is told first about a recording: bonafide, spoof, or that it can't be said."""

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from earwitness.calibration import Calibration
from earwitness.explanation import Explanation
from earwitness.explanation.words import times

__all__ = ["Conclusion", "conclude", "evidence", "line"]

_RARE = 0.05  # share of held-out recordings
_MIXED = 0.25  # share of a recording's windows
_ODDS = 10.0  # a likelihood ratio below it is weak support at best


@dataclass(frozen=True)
class Conclusion:
    """``word``: bonafide, spoof or inconclusive. ``why``, and how sure, each in a sentence."""

    word: str
    why: str
    confidence: str


def conclude(told: Explanation, odds: float = _ODDS) -> Conclusion:
    """Inconclusive where the evidence is weaker than ``odds`` to one, or the recording is strange.

    Where the detector is not calibrated there is no strength of evidence to tell: the threshold in its
    card decides, and the confidence says so. Inconclusive is also a recording of less than half a
    window; one of which a quarter of the
    windows lie on the other side, as where a part was replaced; and one unlike all that was learned, or
    of which the score and the embedding don't say the same, where that is rare on recordings that were
    not learned from.
    """
    word, strange = _side(told), _strange(told)
    confidence = _confidence(told)
    if told.seconds < told.windows.seconds / 2:
        why = (
            f"The recording is too short: {told.seconds:.2f} s, repeated to the "
            f"{told.windows.seconds:g} s that the detector hears at a time."
        )
        return Conclusion("inconclusive", why, confidence)
    if strange:
        return Conclusion("inconclusive", strange, confidence)
    if told.calibrated is not None and abs(told.calibrated) < log(odds):
        why = (
            f"The evidence for {word} is weak: below {odds:g} to one, which is where this page "
            "draws the line."
        )
        return Conclusion("inconclusive", why, confidence)
    other = _other_side(told, word)
    if other >= _MIXED:
        side = "spoof" if word == "bonafide" else "bonafide"
        why = (
            f"Its parts don't say the same: {100 * other:.0f} % of the windows speak for {side}, where "
            "the whole leans the other way. Listen to them one by one."
        )
        return Conclusion("inconclusive", why, confidence)
    if told.calibrated is not None:
        why = f"The evidence for {word} is stronger than {odds:g} to one."
    elif told.threshold is not None:
        side = "above" if told.score >= told.threshold else "below"
        why = f"The score {told.score:+.2f} is {side} the detector's threshold {told.threshold:+.2f}."
    else:
        why = f"The score {told.score:+.2f} leans to {word}; the detector has no threshold."
    return Conclusion(word, why, confidence)


def _side(told: Explanation) -> str:
    if told.calibrated is not None:
        return "bonafide" if told.calibrated > 0 else "spoof"
    return "bonafide" if told.score >= (told.threshold or 0.0) else "spoof"


def evidence(told: Explanation) -> NDArray[np.float64]:
    """What each window says, above 0 for bonafide: its log-likelihood ratio where the detector is
    calibrated, else how far its score lies from the threshold."""
    if told.calibrated is None:
        return told.scores - (told.threshold or 0.0)
    calibration = Calibration.from_dict(told.card["calibration"], "the detector's card")
    return calibration.apply(told.scores)


def line(told: Explanation) -> str:
    """Where that is 0, in a sentence."""
    if told.calibrated is not None:
        return "The line is where the evidence is even, by the calibration."
    if told.threshold is None:
        return "The line is a score of 0; the detector has no threshold."
    return f"The line is the detector's threshold, a score of {told.threshold:+.2f}."


def _other_side(told: Explanation, word: str) -> float:
    """The share of the windows that speak against the whole; 0 of a single one.

    The last window, which ends with the recording, counts where half of it is its own.
    """
    said = evidence(told)
    if len(said) > 1 and told.starts[-1] - told.starts[-2] < told.windows.seconds / 2:
        said = said[:-1]
    genuine = float((said >= 0).mean())
    return 1 - genuine if word == "bonafide" else genuine


def _strange(told: Explanation) -> str:
    rate = told.landmarks.rates.get(told.word, 1.0)
    if told.word == "CONSISTENT" or rate > _RARE or not sum(told.landmarks.counts["held_out"].values()):
        return ""
    if told.word == "ATYPICAL":
        return "The recording is unlike everything that the detector learned from."
    return "The network's score and its embedding of the recording don't say the same."


def _confidence(told: Explanation) -> str:
    if told.calibrated is None:
        return "Not calibrated: how strong the evidence is, is not known."
    side = "bonafide" if told.calibrated > 0 else "spoof"
    share = 100 / (1 + exp(-abs(told.calibrated)))
    percent = "more than 99 %" if share > 99 else f"{share:.0f} %"
    return (
        f"Calibrated: {times(told.calibrated)} as likely for a {side} recording as for the other kind. "
        f"If both were equally likely before, it is {side} with {percent}."
    )
