"""What commands print: tables, and how far they are."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

__all__ = ["count_bar", "print_table"]


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
