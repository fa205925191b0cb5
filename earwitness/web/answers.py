"""What a service says of recordings, and of itself."""

from pydantic import BaseModel, Field

import earwitness
from earwitness.archive import Outcome, window_starts
from earwitness.audio import SAMPLE_RATE
from earwitness.calibration import Calibration
from earwitness.verdict import calibration_of, worth_of_card
from earwitness.web.judge import Judge

__all__ = ["About", "Answers", "Result", "Scored", "WindowScore"]


class WindowScore(BaseModel):
    """One window's score."""

    start: float = Field(description="seconds")
    end: float
    score: float


class Result(BaseModel):
    """What is said of one recording."""

    name: str
    score: float | None = Field(default=None, description="mean over windows; higher = more bonafide")
    worst: float | None = Field(default=None, description="the lowest window's score")
    llr: float | None = Field(
        default=None, description="log-likelihood ratio, where the detector is calibrated"
    )
    verdict: str | None = Field(
        default=None, description="by the sign of llr, else by the threshold in the card"
    )
    seconds: float | None = None
    windows: list[WindowScore] | None = None
    error: str | None = Field(default=None, description="why there is no score")


class Scored(BaseModel):
    """The answer to ``POST /score``."""

    detector: str = Field(description="SHA-256 of what scored")
    results: list[Result]


class About(BaseModel):
    """What answers."""

    detector: str
    windows: dict[str, float]
    calibrated: bool
    worth: str
    version: str


class Answers:
    """What is said in the name of a detector: its scores as its card reads them.

    ``users`` counts the requests that are being answered so; a detector is let go when there are none.
    """

    def __init__(self, judge: Judge):
        self.judge, self.users = judge, 0
        known = self.known = judge.known
        told = known.card.get("calibration")
        self.calibration: Calibration | None = calibration_of(known) if told else None
        self.threshold: float | None = (known.card.get("dev") or {}).get("threshold")

    def about(self) -> About:
        """For ``GET /detector``."""
        policy = self.known.windows
        return About(
            detector=self.known.digest, windows={"seconds": policy.seconds, "hop": policy.hop},
            calibrated=self.calibration is not None, worth=worth_of_card(self.known.card),
            version=earwitness.__version__,
        )  # fmt: skip

    def result(self, name: str, heard: Outcome, windows: bool) -> Result:
        """Of one recording; ``windows`` adds each window's score."""
        if heard.failed is not None:
            return Result(name=name, error=heard.failed)
        policy, verdict, llr = self.known.windows, None, self._ratio(heard.mean)
        if llr is not None:
            verdict = "bonafide" if llr >= 0 else "spoof"
        elif self.threshold is not None:
            verdict = "bonafide" if heard.mean >= self.threshold else "spoof"
        starts = [n / SAMPLE_RATE for n in window_starts(heard.samples, policy)]
        seconds = heard.samples / SAMPLE_RATE
        parts = [
            WindowScore(start=start, end=min(start + policy.seconds, seconds), score=own)
            for start, own in zip(starts, heard.scores, strict=True)
        ]
        return Result(
            name=name, score=heard.mean, worst=min(heard.scores), llr=llr,
            verdict=verdict, seconds=seconds, windows=parts if windows else None,
        )  # fmt: skip

    def _ratio(self, score: float) -> float | None:
        return None if self.calibration is None else float(self.calibration.apply([score])[0])
