"""What the page keeps on disk: a folder for each case, with the recording, what was found, and a note.

Nothing else is kept, and a deleted case is gone.
"""

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from earwitness.errors import ProtocolError
from earwitness.files import write_json, write_text

__all__ = ["Case", "Cases"]

_ID = re.compile(r"[0-9]{10}-[0-9a-f]{12}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_MOST_NOTE = 20_000  # letters


class Case:
    """One recording and what is known of it.

    ``case.json`` has its name, when it came, and its ``status``: waiting, hearing, done or failed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.id = folder.name

    @property
    def recording(self) -> Path:
        """The file as it was given."""
        return self._file("recording")

    @property
    def reference(self) -> Path | None:
        """Of the same speaker, where one was given."""
        try:
            return self._file("reference")
        except ProtocolError:
            return None

    @property
    def sound(self) -> Path:
        """What a browser plays."""
        return self.folder / "sound.flac"

    @property
    def picture(self) -> Path:
        """The spectrogram."""
        return self.folder / "spectrogram.png"

    def read(self) -> dict[str, Any]:
        """What is known, and the note.

        Raises:
            ProtocolError: it was deleted, or is damaged.
        """
        try:
            told: dict[str, Any] = json.loads((self.folder / "case.json").read_text("utf-8"))
        except FileNotFoundError:
            raise ProtocolError("there is no such case; it may have been deleted.") from None
        except ValueError as error:
            raise ProtocolError(f"{self.folder / 'case.json'}: not JSON ({error}).") from None
        note = self.folder / "note.txt"
        return told | {"id": self.id, "note": note.read_text("utf-8") if note.exists() else ""}

    def update(self, **told: Any) -> None:
        """Put more into ``case.json``; nothing where the case was deleted meanwhile."""
        try:
            known = {k: v for k, v in self.read().items() if k not in ("id", "note")}
        except ProtocolError:
            return
        if (self.folder / "case.json").is_file():
            write_json(self.folder / "case.json", known | told)

    def tidy(self) -> None:
        """Remove what was written for a case after it had been deleted, or before it was whole."""
        if not (self.folder / "case.json").is_file():
            shutil.rmtree(self.folder, ignore_errors=True)

    def write_note(self, note: str) -> None:
        """Keep what a person says of it.

        Raises:
            ProtocolError: it is too long.
        """
        if len(note) > _MOST_NOTE:
            raise ProtocolError(f"a note may have {_MOST_NOTE:,} letters; this one has {len(note):,}.")
        write_text(self.folder / "note.txt", note)

    def _file(self, stem: str) -> Path:
        for path in self.folder.glob(f"{stem}.*"):
            return path
        raise ProtocolError(f"case {self.id}: its {stem} is gone.")


class Cases:
    """The folder of all cases."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if _ID.fullmatch(path.name):
                Case(path).tidy()

    def __iter__(self) -> Iterator[Case]:
        """The latest first."""
        found = [p for p in self.folder.iterdir() if _ID.fullmatch(p.name)]
        for path in sorted(found, reverse=True):
            if (path / "case.json").is_file():
                yield Case(path)

    def get(self, id_: str) -> Case:
        """One of them.

        Raises:
            ProtocolError: there is none of that name.
        """
        if not _ID.fullmatch(id_) or not (self.folder / id_ / "case.json").is_file():
            raise ProtocolError("there is no such case; it may have been deleted.")
        return Case(self.folder / id_)

    def add(
        self, name: str, recording: BinaryIO, reference: tuple[str, BinaryIO] | None = None
    ) -> Case:
        """A new case, which waits to be heard."""
        case = Case(self.folder / f"{int(time.time()):010}-{secrets.token_hex(6)}")
        case.folder.mkdir()
        try:
            _keep(recording, case.folder / f"recording{_suffix(name)}")
            told = {"name": name, "came": time.time(), "status": "waiting", "reference": None}
            if reference is not None:
                _keep(reference[1], case.folder / f"reference{_suffix(reference[0])}")
                told["reference"] = reference[0]
            write_json(case.folder / "case.json", told)  # last: without it there is no case
        except BaseException:
            shutil.rmtree(case.folder, ignore_errors=True)
            raise
        return case

    def delete(self, case: Case) -> None:
        """Remove it and all that belongs to it."""
        (case.folder / "case.json").unlink(missing_ok=True)  # gone at once, whatever comes after
        shutil.rmtree(case.folder, ignore_errors=True)


def _keep(file: BinaryIO, path: Path) -> None:
    with open(path, "wb") as out:
        shutil.copyfileobj(file, out)


def _suffix(name: str) -> str:
    found = Path(name).suffix
    return found if _SUFFIX.fullmatch(found) else ".bin"
