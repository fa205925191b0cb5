"""What one worker does: recordings are decoded and cut into windows, and windows of successive
recordings are scored together. Memory is bounded, however long a recording is."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from time import time

import numpy as np
from numpy.typing import NDArray

from earwitness.archive.journal import Outcome
from earwitness.archive.recordings import Recording
from earwitness.audio import SAMPLE_RATE
from earwitness.blocks import Heard, blocks, windows_of
from earwitness.errors import AudioError, RunError
from earwitness.processes import keep_memory
from earwitness.runtimes import Runtime, open_detector, use_one_thread
from earwitness.windows import ScoresClips, Windows

__all__ = ["blame", "hear", "hear_here", "open_here", "what_is_here"]

_TOGETHER = 32  # windows; with more the network leaves the processor's cache
_changed: list[str] = []  # the folder, where another detector is in it than was asked for
_here: list[tuple[ScoresClips, Windows]] = []  # what this worker process listens with


def open_here(
    folder: Path,
    runtime: Runtime | None,
    device: str,
    policy: Windows | None,
    digest: str | None = None,
) -> None:
    """Make this process a worker: one thread, and a detector of its own, heard in its own windows.

    With a ``digest``, what is not that detector any more is refused when it is to hear something.
    """
    keep_memory()
    detector = open_detector(folder, runtime, device=device, threads=1)
    use_one_thread(detector)
    _here[:] = [(detector, policy or detector.windows)]
    _changed[:] = [str(folder)] if digest not in (None, detector.digest) else []


def what_is_here() -> tuple[ScoresClips, Windows]:
    """The worker's own detector, and how it listens."""
    return _here[0]


def hear_here(
    recordings: Sequence[Recording], most_seconds: float = inf, untils: Sequence[float] = ()
) -> list[Outcome]:
    """`hear` with the worker's own detector.

    Raises:
        RunError: it is not the one that was asked for.
    """
    if _changed:
        raise RunError(f"{_changed[0]}: another detector is there now; nothing was mixed, start again.")
    return hear(*_here[0], recordings, most_seconds, untils)


def blame(recordings: Sequence[Recording]) -> list[Outcome]:
    """Outcomes of recordings of which a process died."""
    why = "the process that heard it died (out of memory, or of its decoder)"
    return [Outcome.of(one, failed=why) for one in recordings]


def hear(
    detector: ScoresClips,
    policy: Windows,
    recordings: Sequence[Recording],
    most_seconds: float = inf,
    untils: Sequence[float] = (),
) -> list[Outcome]:
    """Outcomes of the recordings, in their order; one that can't be used says why.

    So is one of more than ``most_seconds``, or not done at its time in ``untils`` (`time.time`).
    """
    together = _Together(detector, len(recordings))
    window, hop = (round(seconds * SAMPLE_RATE) for seconds in (policy.seconds, policy.hop))
    samples, failed = [0] * len(recordings), {}
    for place, recording in enumerate(recordings):
        heard = Heard()
        try:
            pieces = blocks(recording.path, most_seconds=most_seconds)
            for _, row in windows_of(pieces, window, hop, heard):
                if heard.seconds > most_seconds:
                    raise AudioError(recording.path, f"longer than {most_seconds:g} s")
                if untils and time() > untils[place]:
                    raise AudioError(recording.path, "it took longer than is allowed")
                together.add(place, row)
        except AudioError as error:
            failed[place] = error.reason
        except (OSError, ValueError) as error:  # no right to read it, or a name that nobody can open
            failed[place] = f"can't be read ({getattr(error, 'strerror', None) or error})"
        samples[place] = heard.samples
    scores = together.finish()
    for place, own in enumerate(scores):
        if not np.isfinite(own).all():
            failed.setdefault(place, "the detector's score of it is NaN or infinite")
    return [
        Outcome.of(one, failed=failed[place])
        if place in failed
        else Outcome.of(one, samples=samples[place], scores=tuple(scores[place]))
        for place, one in enumerate(recordings)
    ]


class _Together:
    """Windows that wait for enough others to be scored with, and the scores of those that did."""

    def __init__(self, detector: ScoresClips, count: int):
        self._detector = detector
        self._rows: list[NDArray[np.float32]] = []
        self._owners: list[int] = []
        self._scores: list[list[float]] = [[] for _ in range(count)]

    def add(self, owner: int, row: NDArray[np.float32]) -> None:
        self._rows.append(row)
        self._owners.append(owner)
        if len(self._rows) == _TOGETHER:
            self._score()

    def finish(self) -> list[list[float]]:
        """Each owner's scores, in the order of its windows."""
        if self._rows:
            self._score()
        return self._scores

    def _score(self) -> None:
        told = self._detector.score_windows(np.stack(self._rows)).tolist()
        for owner, score in zip(self._owners, told, strict=True):
            self._scores[owner].append(score)
        self._rows, self._owners = [], []
