"""An archive of recordings to a score file: all cores, bounded memory, nothing lost and nothing twice.

What was heard goes into a journal beside the score file, chunk by chunk. The same command goes on after
a kill, does nothing where all is done, and scores what was added or changed since. Started by
``torchrun`` on one machine or several, the processes share the work.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earwitness.archive.journal import Journal, Outcome
from earwitness.archive.listening import blame, hear, hear_here, open_here
from earwitness.archive.recordings import Recording, chunks, gather
from earwitness.archive.shares import Share
from earwitness.archive.tables import FORMATS, Row, rows_of, window_starts, write_scores, write_segments
from earwitness.audio import SAMPLE_RATE
from earwitness.errors import RunError, SettingsError
from earwitness.processes import as_they_come, cores
from earwitness.runtimes import Runtime, open_detector
from earwitness.windows import ScoresClips, Windows

__all__ = [
    "FORMATS", "Heard", "Journal", "Listener", "Outcome", "Recording", "Row", "Share", "gather",
    "hear_all", "score_archive", "window_starts", "write_scores", "write_segments",
]  # fmt: skip


@dataclass(frozen=True)
class Listener:
    """What hears: the folder of a detector, how it is opened, and in how many processes.

    ``workers`` None is as many as there are cores; of one chunk of recordings (64), one. One worker is
    this process, and computes with all the threads that it has; several have one each.
    """

    folder: Path
    detector: ScoresClips
    windows: Windows
    runtime: Runtime | None = None
    device: str = "cpu"
    workers: int | None = None

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        windows: Windows | None = None,
        runtime: Runtime | None = None,
        device: str = "cpu",
        workers: int | None = None,
    ) -> "Listener":
        """Load the detector; its own ``windows`` by default."""
        if workers is not None and workers < 1:
            raise SettingsError(f"workers is {workers}; expected 1 or more.")
        detector = open_detector(folder, runtime, device=device)
        return cls(Path(folder), detector, windows or detector.windows, runtime, device, workers)

    def hear(
        self, parts: Sequence[Sequence[Recording]], numbers: Iterator[int]
    ) -> Iterator[tuple[int, list[Outcome]]]:
        """Outcomes of the parts with these numbers, as they come."""
        jobs = ((number, parts[number]) for number in numbers)
        workers = self.workers or max(1, min(cores(), len(parts)))
        if workers == 1:
            for number, part in jobs:
                yield number, hear(self.detector, self.windows, part)
            return
        given = (self.folder, self.runtime, self.device, self.windows, self.detector.digest)

        def one_by_one(part: Sequence[Recording]) -> list[Outcome]:
            """A process died of one of them: which?"""
            singles = enumerate([one] for one in part)
            found = dict(as_they_come(hear_here, singles, 1, open_here, given, blame))
            return [found[n][0] for n in range(len(part))]

        yield from as_they_come(hear_here, jobs, workers, open_here, given, one_by_one)


@dataclass
class Heard:
    """What came of an archive: a row for each recording, and how long it took."""

    rows: dict[str, Row]
    already: int  # how many were in the journal
    took: float  # seconds
    seconds: float = 0.0  # of audio that was heard now
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Seconds of audio a second."""
        return self.seconds / max(self.took, 1e-9)


def hear_all(listener: Listener, recordings: Sequence[Recording]) -> Iterator[Outcome]:
    """Outcomes of all recordings, in their order, without a journal."""
    waiting, following = dict[int, list[Outcome]](), 0
    parts = chunks(recordings)
    for number, outcomes in listener.hear(parts, iter(range(len(parts)))):
        waiting[number] = outcomes
        while following in waiting:
            yield from waiting.pop(following)
            following += 1
    if following != len(parts):
        raise RunError(f"{len(parts) - following} of {len(parts)} parts of the archive were not heard.")


def score_archive(
    listener: Listener,
    recordings: Sequence[Recording],
    out: str | Path,
    *,
    on_chunk: Callable[[int, float], None] = lambda clips, seconds: None,
) -> Heard | None:
    """Hear what the journal beside ``out`` (``out`` and ``.journal``) doesn't have yet.

    ``on_chunk`` gets how many recordings were done now, and how many seconds of audio they had. Of
    several processes, started by ``torchrun``, the first gets the result when all are done, the others
    None.

    Raises:
        SettingsError: the journal is of another detector, or of other windows.
        RunError: another process is at it; workers died again and again.
    """
    share, began, seconds = Share.own(), time.monotonic(), 0.0
    if listener.workers is None and share.size > 1:
        listener = replace(listener, workers=1)  # the others are processes of torchrun
    with open_journal(listener, out, share.number) as journal:
        share.begin(journal.folder)
        done = journal.done(recordings)
        on_chunk(len(done), 0.0)
        for outcomes in _new(listener, share.of(recordings), done):
            journal.append(outcomes)
            audio = sum(one.samples for one in outcomes) / SAMPLE_RATE
            seconds += audio
            on_chunk(len(outcomes), audio)
        share.finish(journal.folder)
        if share.number:
            return None
        rows = rows_of(journal, recordings)
    failed = {name: row.failed for name, row in rows.items() if row.failed is not None}
    return Heard(rows, len(done), time.monotonic() - began, seconds, failed)


def open_journal(listener: Listener, out: str | Path, writer: int = 0) -> Journal:
    """The journal beside a score file."""
    policy = listener.windows
    told: dict[str, Any] = {
        "detector": listener.detector.digest,
        "windows": {"seconds": policy.seconds, "hop": policy.hop},
    }
    return Journal(f"{out}.journal", told, writer)


def _new(
    listener: Listener, recordings: Sequence[Recording], done: set[str]
) -> Iterator[list[Outcome]]:
    """Outcomes of chunks, without what is done; chunks are the same whatever is done already."""
    parts = [[one for one in part if one.name not in done] for part in chunks(recordings)]
    numbers = (number for number, part in enumerate(parts) if part)
    for _, outcomes in listener.hear(parts, numbers):
        yield outcomes
