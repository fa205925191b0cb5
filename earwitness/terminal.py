"""What commands print: tables, and how far they are."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

__all__ = ["count_bar", "pace", "print_table"]

_SECONDS = 30.0


def print_table(
    columns: Iterable[str], rows: Iterable[Iterable[str]], title: str | None = None
) -> None:
    """Print a table; where nobody watches, wide enough that no cell is cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


@contextmanager
def count_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told how many are done of how many; quiet when nobody watches."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        row = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(row, completed=done, total=total)


@contextmanager
def pace(what: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """Is told how many recordings were done just now, and their seconds of audio.

    Shows how far it is, how many times faster than real time, and the time left: as a bar, or where
    nobody watches as a line every half minute.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        row = bars.add_task(what, total=total, speed="")
        told = _Pace(what, total)

        def done(clips: int, seconds: float) -> None:
            told.add(clips, seconds)
            bars.update(row, completed=told.clips, speed=told.speed())
            if not console.is_terminal:
                told.say_now_and_then()

        yield done


class _Pace:
    """How far, and how fast; what was done before the first seconds of audio was done earlier."""

    def __init__(self, what: str, total: int):
        self.what, self.total = what, total
        self.clips, self.now, self.seconds = 0, 0, 0.0
        self._began = self._said = time.monotonic()

    def add(self, clips: int, seconds: float) -> None:
        self.clips += clips
        self.now += clips if seconds else 0
        self.seconds += seconds

    def speed(self) -> str:
        passed = time.monotonic() - self._began
        return f"{self.seconds / passed:,.0f} x real time" if passed > 1 and self.seconds else ""

    def say_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._said < _SECONDS or not self.now:
            return
        self._said = now
        left = (now - self._began) * (self.total - self.clips) / self.now / 60
        line = f"{self.what}: {self.clips:,} of {self.total:,}, {self.speed()}, {left:,.0f} min left"
        print(line, file=sys.stderr, flush=True)
