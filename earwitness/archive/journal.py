"""The journal beside a score file: what was heard of each recording, as soon as it was heard.

A folder: ``card.json`` says which detector listened and how, and every process that writes has a file
of its own with one line of JSON for each chunk of recordings. A line is whole or it doesn't count, so
a killed process loses the chunk that it was at and nothing else.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from earwitness.archive.recordings import Recording, spelled
from earwitness.errors import RunError, SettingsError
from earwitness.files import read_card, write_json

__all__ = ["Journal", "Outcome"]

_FORMAT = "earwitness-journal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording: the scores of its windows in order, or why there are none."""

    name: str
    path: str  # spelled out as names are
    bytes: int
    changed: int
    samples: int = 0  # at 16 kHz
    scores: tuple[float, ...] = ()
    failed: str | None = None

    @classmethod
    def of(cls, recording: Recording, **told: Any) -> "Outcome":
        """Of a recording as it was when it was listed."""
        path = spelled(recording.path)
        return cls(recording.name, path, recording.bytes, recording.changed, **told)

    @property
    def mean(self) -> float:
        """The recording's score."""
        return sum(self.scores) / len(self.scores)

    def is_of(self, recording: Recording) -> bool:
        """Whether it is the outcome of the file as it is now."""
        now = (spelled(recording.path), recording.bytes, recording.changed)
        return (self.path, self.bytes, self.changed) == now


class Journal:
    """Open with ``with``; ``writer`` is this process's number among those that write.

    Raises:
        SettingsError: the folder is the journal of another detector, or of other windows.
        RunError: another process is writing there, or a line cannot be read.
    """

    def __init__(self, folder: str | Path, told: Mapping[str, Any], writer: int = 0):
        self.folder = Path(folder)
        self._told = {"format": _FORMAT, "format_version": 1, **told}
        self._path = self.folder / f"{writer}.jsonl"
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._require_same()
        file = open(self._path, "ab")
        try:
            _lock(file, self.folder)
            _drop_torn_line(self._path)
        except BaseException:
            file.close()
            raise
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Write down what became of a chunk; when this returns it is on the disk."""
        assert self._file is not None
        line = json.dumps([list(asdict(one).values()) for one in outcomes], ensure_ascii=False)
        self._file.write(line.encode("utf-8", "surrogateescape") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def read(self) -> Iterator[Outcome]:
        """All outcomes of all writers, a writer after another."""
        for path in sorted(self.folder.glob("*.jsonl")):
            with open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if line.endswith(b"\n"):
                        yield from _outcomes(line, path, number)

    def done(self, recordings: Iterable[Recording]) -> set[str]:
        """Names of the recordings that have a score and have not changed since."""
        now = {recording.name: recording for recording in recordings}
        found = set()
        for one in self.read():
            there = now.get(one.name)
            if there is not None and one.failed is None and one.is_of(there):
                found.add(one.name)
        return found

    def _require_same(self) -> None:
        card = self.folder / "card.json"
        if not card.exists():
            strange = any(not p.name.startswith(".card.json") for p in self.folder.glob("*"))
            if strange and not card.exists():  # another process may have put it there just now
                raise SettingsError(f"{self.folder}: files are in it that are no journal of scores.")
            if not strange:
                write_json(card, self._told)
                return
        found = read_card(self.folder, _FORMAT, of="a journal", written_by="earwitness score")
        for key, value in self._told.items():
            if found.get(key) != value:
                raise SettingsError(
                    f"{self.folder}: its scores are of another {key} ({found.get(key)}, now {value}). "
                    "Name another --out, or remove that folder to score everything anew."
                )


def _outcomes(line: bytes, path: Path, number: int) -> Iterator[Outcome]:
    try:
        for name, where, size, changed, samples, scores, failed in json.loads(
            line.decode("utf-8", "surrogateescape")
        ):
            yield Outcome(name, where, size, changed, samples, tuple(scores), failed)
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path}: line {number} is damaged ({error}); remove the line, and its recordings are "
            "scored again."
        ) from None


def _lock(file: BinaryIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # where there are no such locks, nobody is kept out
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunError(f"{folder}: another process is writing there; wait for it, or end it.") from None


def _drop_torn_line(path: Path) -> None:
    """What a killed process left half written would spoil the line after it."""
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            step = min(end, 2**16)
            file.seek(end - step)
            last = file.read(step).rfind(b"\n")
            if last >= 0:
                end = end - step + last + 1
                break
            end -= step
        file.truncate(end)
