"""Cases are heard one after another, in a thread beside the page."""

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from earwitness.detector import Detector
from earwitness.errors import EarwitnessError, ProtocolError, SettingsError
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

_REMEMBERED = 16


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
        self._told: dict[str, Explanation] = {}  # of the latest cases, for their reports
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
        told = self._explain(case)
        picture_and_sound(case.recording, told.seconds, case.picture, case.sound)
        pictures = draw(told)
        for name in ("plane", "patches"):
            if name in pictures:
                to_png(pictures[name], case.folder / f"{name}.png", dots_per_inch=120)
        case.update(status="done", found=self._found(case, told))

    def _explain(self, case: Case) -> Explanation:
        told = explain(self.detector, self.landmarks, case.recording, explainer=self._explainer)
        self._told[case.id] = told
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return told

    def report(self, case: Case, suffix: str) -> bytes:
        """The report as it is now, ``.html`` or ``.pdf``: the verdict and the note first.

        Raises:
            ProtocolError: the case was heard by another detector than this, or not to the end.
        """
        return self._turns.submit(self._report, case, suffix).result()

    def _report(self, case: Case, suffix: str) -> bytes:
        known = case.read()
        found = known.get("found")
        if found is None:
            raise ProtocolError("the recording has not been heard yet.")
        if found["settings"]["detector"] != self.detector.digest:
            raise ProtocolError(
                "this case was heard by another detector; start the page with that one for its report, "
                "or give the recording again."
            )
        told = replace(self._told.get(case.id) or self._explain(case), name=known["name"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"report{suffix}"
            write(told, path, _said_of(known))
            return path.read_bytes()

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


def _said_of(known: dict[str, Any]) -> list[tuple[str, str]]:
    """The head of a report."""
    found = known["found"]
    came = datetime.fromtimestamp(known["came"]).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    said = [
        ("Verdict", found["conclusion"]),
        ("Why", found["why"]),
        ("Confidence", found["confidence"]),
        ("Given", came),
    ]
    if known.get("reference"):
        heard = found["with_reference"]
        beside = "not heard by this detector" if heard is None else f"with it the score is {heard:+.2f}"
        said.append(("Reference", f"{known['reference']} ({beside})"))
    return [*said, *([("Note", known["note"])] if known["note"] else [])]
