"""Which recordings are whose when several processes score one archive: each has its own, by name.

``torchrun`` starts the processes, watches them and starts all of them again when one dies. Nothing is
agreed on between them, so a restart finds nothing stale: a share depends on the names and on how many
processes there are, and that one is finished is a file in the journal's folder.
"""

import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.archive.recordings import Recording
from earwitness.files import write_text

__all__ = ["Share"]

_POLL = 0.5  # seconds


@dataclass(frozen=True)
class Share:
    """Process ``number`` of ``size``; ``run`` is the name of the run that torchrun started."""

    number: int = 0
    size: int = 1
    run: str = ""

    @classmethod
    def own(cls) -> "Share":
        """This process's, as torchrun says.

        >>> Share.own().size
        1
        """
        told = os.environ
        run = told.get("TORCHELASTIC_RUN_ID", "")
        return cls(int(told.get("RANK", "0")), int(told.get("WORLD_SIZE", "1")), run)

    def of(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Its recordings; each is one process's and no other's."""
        if self.size == 1:
            return list(recordings)
        return [r for r in recordings if zlib.crc32(r.name.encode()) % self.size == self.number]

    def begin(self, folder: Path) -> None:
        """Its work is not finished."""
        self._mark(folder, self.number).unlink(missing_ok=True)

    def finish(self, folder: Path) -> None:
        """Say that its work is done; the first process waits until all have said so."""
        if self.size == 1:
            return
        write_text(self._mark(folder, self.number), f"{self.run}\n")
        while self.number == 0 and not all(map(self._is_done, [folder] * self.size, range(self.size))):
            time.sleep(_POLL)

    def _mark(self, folder: Path, number: int) -> Path:
        return folder / f"{number}-of-{self.size}.done"

    def _is_done(self, folder: Path, number: int) -> bool:
        mark = self._mark(folder, number)
        return mark.is_file() and mark.read_text(encoding="utf-8").strip() == self.run
