"""What commands print: tables."""

from collections.abc import Iterable

__all__ = ["print_table"]


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
