"""Cases are heard one after another, in a thread beside the page."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from earwitness.detector import Detector
from earwitness.errors import EarwitnessError, SettingsError
from earwitness.explainers import EXPLAINERS
from earwitness.explanation import Explanation, explain, words
from earwitness.explanation.page import draw, write
from earwitness.figures.style import to_png
from earwitness.landmarks import Landmarks
from earwitness.scoring import require_testimony
from earwitness.verdict import worth_of_card
from earwitness.web.cases import Case
from earwitness.web.conclusion import conclude, evidence, line
from earwitness.web.spectrogram import picture_and_sound

__all__ = ["Hearing"]


class Hearing:
    """A detector with its landmarks, and the cases that wait for it.

    Raises:
        CheckpointError: no detector, or no landmarks beside it.
        SettingsError: the detector doesn't name bonafide and spoof, or hears no audio.
    """

    def __init__(self, folder: Path, *, odds: float, method: str | None = "occlusion"):
        if (folder / "model.onnx").is_file():
            raise SettingsError(
                f"{folder}: an exported detector scores and can't be explained; name the one that it "
                "was exported from."
            )
        self.detector = Detector.load(folder).eval()
        require_testimony(self.detector)
        self.landmarks = Landmarks.read(folder, detector=self.detector.digest)
        self._odds = odds
        self._explainer = EXPLAINERS.build(method) if method else None
        self._turns = ThreadPoolExecutor(1, "hearing")
        self._ending = threading.Event()

    def about(self) -> dict[str, Any]:
        """What the page says of the detector."""
        return {
            "digest": self.detector.digest,
            "worth": worth_of_card(self.detector.card),
            "stand_in": bool(self.detector.card.get("stand_in")),
            "hears_reference": self.detector.wants_reference,
            "windows": vars(self.detector.windows),
        }

    def take(self, case: Case) -> None:
        """Hear a case when it is its turn."""
        self._turns.submit(self._hear, case)

    def close(self) -> None:
        """Finish the case that is being heard; those that wait are heard when the page starts again."""
        self._ending.set()
        self._turns.shutdown(cancel_futures=True)

    def _hear(self, case: Case) -> None:
        if self._ending.is_set() or not case.folder.is_dir():
            return
        try:
            case.update(status="hearing")
            self._testify(case)
        except (EarwitnessError, OSError) as error:
            reason = getattr(error, "reason", str(error))
            case.update(status="failed", error=reason)
        except Exception as error:  # whatever it is, the page says it and goes on
            case.update(status="failed", error=f"unexpected: {type(error).__name__}: {error}")
        finally:
            case.tidy()

    def _testify(self, case: Case) -> None:
        told = explain(self.detector, self.landmarks, case.recording, explainer=self._explainer)
        picture_and_sound(case.recording, told.seconds, case.picture, case.sound)
        found = self._found(case, told)
        case.update(status="done", report=False, found=found)
        named = _named(told, case.read()["name"])
        pictures = draw(told)
        for name in ("plane", "patches"):
            if name in pictures:
                to_png(pictures[name], case.folder / f"{name}.png", dots_per_inch=120)
        for suffix in (".html", ".pdf"):
            write(named, case.folder / f"report{suffix}")
        case.update(report=True)

    def _found(self, case: Case, told: Explanation) -> dict[str, Any]:
        conclusion = conclude(told, self._odds)
        return {
            "conclusion": conclusion.word,
            "why": conclusion.why,
            "confidence": conclusion.confidence,
            "line": line(told),
            "evidence": evidence(told).tolist(),
            "word": told.word,
            "headline": words.headline(told),
            "meaning": words.meaning(told),
            "base_rate": words.worth(told.landmarks, told.word),
            "sentences": words.sentences(told),
            "limits": [*words.LIMITS, worth_of_card(told.card)],
            "with_reference": self._with_reference(case),
            **told.to_dict(),
        }

    def _with_reference(self, case: Case) -> float | None:
        """The score when the reference is heard beside it."""
        reference = case.reference
        if reference is None or not self.detector.wants_reference:
            return None
        return self.detector.score(case.recording, reference=reference).mean


def _named(told: Explanation, name: str) -> Explanation:
    """With the name that the recording came with, in place of the one that it is kept under."""
    from dataclasses import replace

    return replace(told, name=name)
