"""How whole recordings are heard: in overlapping windows, each scored, and the scores averaged.

Needs no torch: a detector that was exported is heard like any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import AudioError, SettingsError

__all__ = ["ClipScore", "ScoresClips", "Windows", "score_files"]


@dataclass(frozen=True)
class Windows:
    """How a whole recording is covered: windows of ``seconds`` every ``hop`` seconds.

    The last window ends with the recording; a recording shorter than a window is repeated.
    """

    seconds: float = 3.0
    hop: float = 1.5

    def __post_init__(self) -> None:
        if not 0 < self.hop <= self.seconds < float("inf"):
            raise SettingsError(
                f"windows of {self.seconds} s every {self.hop} s leave gaps or stand still; "
                "expected 0 < hop <= seconds."
            )


@dataclass(frozen=True)
class ClipScore:
    """Scores of one recording: each window's, their ``mean``, and the ``worst`` (lowest).

    As a number (``float(...)``) it is the mean.
    """

    mean: float
    worst: float
    starts: tuple[float, ...]  # seconds
    windows: tuple[float, ...]

    def __float__(self) -> float:
        return self.mean

    @classmethod
    def of(cls, starts: Sequence[float], scores: Sequence[float]) -> "ClipScore":
        """From the windows' scores, of which there is at least one.

        >>> ClipScore.of([0.0, 1.5], [2.0, -1.0])
        ClipScore(mean=0.5, worst=-1.0, starts=(0.0, 1.5), windows=(2.0, -1.0))
        """
        return cls(sum(scores) / len(scores), min(scores), tuple(starts), tuple(scores))


class ScoresClips(Protocol):
    """What can say whether a recording is genuine: `Detector`, or an exported one."""

    windows: Windows
    card: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256: what scores alike shares it."""

    def score(self, recording: Any, *, windows: Windows | None = None) -> ClipScore:
        """Score a whole recording: a path, or a mono wave at 16 kHz."""

    def score_windows(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Windows (n, samples) of mono waves at 16 kHz to their scores (n,)."""


def score_files(
    detector: ScoresClips, paths: Sequence[str | Path], *, windows: Windows | None = None
) -> Iterator[tuple[Path, ClipScore | AudioError]]:
    """Score recordings one by one; a bad file gives its error and the rest go on."""
    for path in map(Path, paths):
        try:
            yield path, detector.score(path, windows=windows)
        except AudioError as error:
            yield path, error
