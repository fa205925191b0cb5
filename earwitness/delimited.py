"""Delimited text of any dialect as columns of strings: what score files and protocols are made of.

Tabs, commas, semicolons, pipes or spaces; a header or none; gzip or not; CRLF, blank lines, a byte
order mark. Tens of millions of lines are read in seconds. What a cell means is not decided here.
"""

import csv
import gzip
import mmap
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError

if TYPE_CHECKING:  # polars is imported where it is used: it takes a quarter of a second
    import polars as pl

__all__ = ["Delimited", "Dialect", "sniff"]

_SNIFFED = 1 << 16
_DELIMITERS = ("\t", ",", ";", "|")
_UNEVEN = (b"  ", b"\t", b"\n ", b" \n", b" \r")  # where single spaces should part cells


class Delimited(NamedTuple):
    """The lines of a file that are not blank, as columns ``"0"``, ``"1"``, ... of strings.

    Only the columns that were asked for are there. A cell is null where the line is too short or
    the cell is empty.
    """

    dialect: "Dialect"
    cells: "pl.DataFrame"
    numbers: NDArray[np.int64]  # of the lines, from 1

    def column(self, place: int, default: str | None = None) -> "pl.Series":
        """A column; unless there is a default, none of its cells may be empty.

        Raises:
            ProtocolError: counts the empty ones and names the first line.
        """
        cells = self.cells.get_column(str(place))
        if cells.null_count() and default is None:
            row = int(cells.is_null().arg_max() or 0)
            header = self.dialect.header
            named = f" ({header[place]})" if header else ""
            raise ProtocolError(
                f"{self.where(row)}: column {place + 1}{named} is empty, here and on "
                f"{cells.null_count() - 1} other line(s); expected {self.dialect.width} columns."
            )
        return cells if default is None else cells.fill_null(default)

    def where(self, row: int) -> str:
        """File and line of a row, for a message."""
        return f"{self.dialect.path}, line {self.numbers[row]}"


class Dialect(NamedTuple):
    """How the cells of a file are parted, as its first lines show.

    ``skipped`` is the number of blank lines before the first, ``rows`` the cells of the first lines
    of data, ``header`` the names of the columns or None. With ``from_right`` a number, lines are cut
    at their last so many spaces alone, so that the first column may hold spaces.
    """

    path: Path
    delimiter: str
    skipped: int
    header: list[str] | None
    rows: list[list[str]]
    from_right: int = 0

    @property
    def width(self) -> int:
        """How many columns the first line has."""
        return len(self.header or self.rows[0])

    def where(self) -> str:
        """File and first line, for a message."""
        return f"{self.path}, line {self.skipped + 1}"

    def read(self, places: Iterable[int] | None = None) -> Delimited:
        """Read the columns at these places, or all.

        Raises:
            ProtocolError: a line has more cells than the first, or there is no line of data.
        """
        import polars as pl

        wanted = sorted(set(range(self.width) if places is None else places))
        frame = self._cut_from_right() if self.from_right else self._parse(wanted)
        numbers = np.arange(1, len(frame) + 1) + self.skipped
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
        if blank.any():
            frame, numbers = frame.filter(~blank), numbers[~blank]
        if self.header is not None:
            frame, numbers = frame[1:], numbers[1:]
        if not len(frame):
            raise ProtocolError(f"{self.path}: no line of data; one for each trial was expected.")
        return Delimited(self, frame, numbers)

    def _parse(self, places: list[int]) -> "pl.DataFrame":
        spaced = self.delimiter == " "
        text = (_even(self.path) if spaced else None) or self.path
        frame = self._parsed(text, places)
        return frame if spaced else _stripped(frame)

    def _parsed(self, text: Path | bytes, places: list[int]) -> "pl.DataFrame":
        import polars as pl

        plain = self.delimiter in " |\x1f"
        reason = ""
        for quote in (None,) if plain else ('"', None):  # a stray quote is part of a name
            try:
                frame = pl.read_csv(
                    text,
                    separator=self.delimiter,
                    has_header=False,
                    skip_rows=self.skipped,
                    infer_schema=False,
                    columns=places,
                    quote_char=quote,
                )
            except (pl.exceptions.PolarsError, OSError) as error:
                reason = reason or str(error).splitlines()[0]
                continue
            frame.columns = [str(place) for place in places]
            return frame
        raise ProtocolError(
            f"{self.path}: lines with more columns than the first, or no text ({reason})"
        )

    def _cut_from_right(self) -> "pl.DataFrame":
        import polars as pl

        lines = self._replace(delimiter="\x1f")._parsed(self.path, [0]).to_series(0)
        pattern = r"^(.*\S)" + r"\s+(\S+)" * self.from_right + r"\s*$"
        parts = range(self.from_right + 1)
        cut = pl.DataFrame({str(n): lines.str.extract(pattern, n + 1) for n in parts})
        wrong = cut["0"].is_null() & lines.is_not_null() & (lines.str.strip_chars() != "")
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise ProtocolError(
                f"{self.path}, line {row + 1 + self.skipped}: {lines[row]!r}; expected an id and "
                f"{self.from_right} more cells, as in the other lines."
            )
        return cut


def sniff(path: str | Path, is_header: Callable[[list[str]], bool]) -> Dialect:
    """Look at the first lines of a file, text or gzip (``.gz``).

    ``is_header`` is called with the stripped cells of the first line that is not blank, and says
    whether they are names of columns.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "key.txt"
    >>> _ = path.write_bytes(b"LA_1 A07 spoof\\r\\n\\r\\nLA_2 - bonafide\\r\\n")
    >>> read = sniff(path, lambda cells: "label" in cells).read()
    >>> read.column(2).to_list(), read.numbers.tolist()
    (['spoof', 'bonafide'], [1, 3])

    Raises:
        ProtocolError: no such file, not text, or empty.
    """
    path = Path(path)
    lines = _first_lines(path)
    skipped = next((n for n, line in enumerate(lines) if line.strip()), len(lines))
    if skipped == len(lines):
        raise ProtocolError(f"{path}: the file is empty; one line for each trial was expected.")
    delimiter = next((mark for mark in _DELIMITERS if mark in lines[skipped]), " ")
    if delimiter == "," and ";" in lines[skipped]:  # commas may be decimal ones
        counts = {line.count(";") for line in lines[skipped:] if line.strip()}
        delimiter = ";" if len(counts) == 1 else ","
    rows = [_cut(line, delimiter) for line in lines[skipped:] if line.strip()]
    header = rows[0] if is_header(rows[0]) else None
    rows = rows[1:] if header else rows
    if not rows:
        raise ProtocolError(f"{path}: no line of data; one for each trial was expected.")
    return Dialect(path, delimiter, skipped, header, rows)


def _cut(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    cells = line.split("|") if delimiter == "|" else next(csv.reader([line], delimiter=delimiter))
    return [cell.strip() for cell in cells]


def _first_lines(path: Path) -> list[str]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(_SNIFFED)
    except FileNotFoundError:
        raise ProtocolError(f"{path}: no such file.") from None
    except (OSError, EOFError) as error:
        raise ProtocolError(f"{path}: cannot be read ({error}).") from None
    try:
        whole = len(start) < _SNIFFED
        text = start.decode("utf-8-sig", errors="strict" if whole else "ignore")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{path}: not a text file ({error}).") from None
    lines = text.splitlines()
    return lines if whole else lines[:-1]  # the last one may be cut off


def _even(path: Path) -> bytes | None:
    """The text with one space between cells and none around lines; None where it is so already."""
    if path.suffix == ".gz":
        text = gzip.decompress(path.read_bytes())
        uneven = any(mark in text for mark in _UNEVEN)
    else:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            uneven = any(mapped.find(mark) >= 0 for mark in _UNEVEN) or mapped[:1] == b" "
            text = mapped[:] if uneven else b""
    if not uneven:
        return None
    return re.sub(rb"(?m)^ | ?\r?$", b"", re.sub(rb"[ \t]+", b" ", text))


def _stripped(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Without the spaces around cells; a cell of spaces alone is empty."""
    import polars as pl

    padded = frame.select(
        pl.any_horizontal(pl.all().str.starts_with(" ") | pl.all().str.ends_with(" ")).any()
    ).item()
    if not padded:
        return frame
    return frame.select(pl.all().str.strip_chars().replace("", None))
