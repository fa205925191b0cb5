"""Score files of the field, as they are: which column is what, and which way scores point.

::

    file_name,score,label                     ours and RAT's, with or without a header
    UTT ATTACK KEY SCORE                      ASVspoof 2019
    UTT SCORE                                 ASVspoof 2021, leaderboards
    utt - key score                           spoof_SUPERB
    filename<TAB>cm-score                     ASVspoof 5, track 1
    spk filename cm-score asv-score sasv-score    ASVspoof 5, track 2
    ID_audio,label,score_spoof,score_bonafide     two scores: their difference is taken
    file_name, score, ...                     Parquet, by the names of its columns

A header says which way scores point where it names a class; otherwise higher is bonafide unless the
user says that it is not. Nothing is flipped because of what the scores look like.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.delimited import Delimited, Dialect, sniff
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.protocols import ID_NAMES, LABEL_NAMES, encode_labels

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ONE_A_CLASS", "ScoreFile", "read_score_file"]

ONE_A_CLASS = (
    "these are scores of other classes than bonafide and spoof, one number a class; "
    "they are judged by accuracy, with `earwitness compare`."
)

_PLAIN = ("score", "cm-score", "cm_score", "scores")
_SPEAKING = {
    "bonafide": ("score_bonafide", "bonafide_score", "p_bonafide", "prob_bonafide", "score_real"),
    "spoof": ("score_spoof", "spoof_score", "p_spoof", "prob_spoof", "score_fake", "p_fake"),
}
_INTEGERS = ("0", "1", "0.0", "1.0", "nan")
_NEAREST_TO_ONE = 1 - 2.0**-53
_Class = Literal["bonafide", "spoof"]


class ScoreFile(NamedTuple):
    """What was read: ids, scores that are higher for bonafide, places of labels in ``LABELS``.

    ``note`` says why there are no labels, where there could have been some.
    """

    ids: "pl.Series"
    values: NDArray[np.float64]
    codes: NDArray[np.int8] | None
    note: str


class _Places(NamedTuple):
    """Columns: of the id (two for pairs), of scores by sign, of the label."""

    ids: tuple[int, ...]
    plus: int | None
    minus: int | None
    label: int | None


def read_score_file(
    path: str | Path,
    *,
    column: str | None = None,
    higher_is: _Class | None = None,
    one_is: _Class | None = None,
    probabilities: bool = False,
) -> ScoreFile:
    """Read a score file; `earwitness.Scores.read` has the arguments.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> _ = path.write_text("LA_E_1 A07 spoof -2.5\\nLA_E_2 - bonafide 1.5\\n")
    >>> read = read_score_file(path)
    >>> read.ids.to_list(), read.values, read.codes
    (['LA_E_1', 'LA_E_2'], array([-2.5,  1.5]), array([1, 0], dtype=int8))

    Raises:
        ProtocolError: with the line and what was expected there.
        SettingsError: an option against what the header says, or no such column.
    """
    stored = _stored(path) if Path(path).suffix.lower() == ".parquet" else None
    dialect = stored.dialect if stored else _sniffed(path)
    places = _by_header(dialect, column) if dialect.header else _by_order(dialect, column)
    if higher_is and (places.plus is None or places.minus is not None):
        said = "spoof" if places.plus is None else "both classes, each in a column"
        if higher_is != said:
            raise SettingsError(
                f"{path}: the header says that scores speak of {said}; higher_is={higher_is!r} is "
                "against it. Name another column, or leave higher_is out."
            )
    numbered = (*places.ids, places.plus, places.minus, places.label)
    table = stored or dialect.read(place for place in numbered if place is not None)
    values = _values(table, places, probabilities)
    if higher_is == "spoof" and places.plus is not None and places.minus is None:
        values = -values
    ids = table.column(places.ids[0])
    for place in places.ids[1:]:
        ids = ids + " " + table.column(place)
    codes, note = _labels(table, places.label, one_is)
    return ScoreFile(ids, values, codes, note)


def _stored(path: str | Path) -> Delimited:
    """A Parquet file, as if it had been read from text with a header."""
    import polars as pl

    path = Path(path)
    if not path.is_file():
        raise ProtocolError(f"{path}: no such file.")
    try:
        frame = pl.read_parquet(path).select(pl.all().cast(pl.String))
    except pl.exceptions.PolarsError as error:
        raise ProtocolError(f"{path}: not a Parquet file of simple columns ({error}).") from None
    dialect = Dialect(path, ",", 0, frame.columns, [])
    cells = frame.rename({name: str(place) for place, name in enumerate(frame.columns)})
    return Delimited(dialect, cells, np.arange(len(frame), dtype=np.int64) + 1)


def _sniffed(path: str | Path) -> Dialect:
    """The dialect; lines ``id - key score`` whose ids hold spaces are cut from the right."""
    dialect = sniff(path, _is_header)
    if dialect.header or dialect.delimiter != " ":
        return dialect
    widths = {len(row) for row in dialect.rows}
    if max(widths) > 4 and all(len(row) >= 4 and _is_number(row[-1]) for row in dialect.rows):
        rows = [[" ".join(row[:-3]), *row[-3:]] for row in dialect.rows]
        return dialect._replace(rows=rows, from_right=3)
    return dialect


def _is_header(cells: list[str]) -> bool:
    lowered = [cell.lower() for cell in cells]
    known = (*_PLAIN, *_SPEAKING["bonafide"], *_SPEAKING["spoof"], *ID_NAMES, "sasv-score")
    return any(cell in known for cell in lowered) and not any(map(_is_number, cells))


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _by_header(dialect: Dialect, column: str | None) -> _Places:
    names = [cell.lower() for cell in dialect.header or []]
    where = dialect.where()
    ids = [names.index(name) for name in ID_NAMES if name in names]
    if not ids:
        raise ProtocolError(
            f"{where}: the header has no id column; expected file_name, found {', '.join(names)}."
        )
    pair = (names.index("spk"), ids[0]) if "spk" in names else (ids[0],)
    label = next((names.index(name) for name in LABEL_NAMES if name in names), None)
    if column is not None:
        if column.lower() not in names:
            raise SettingsError(
                f"{where}: no column {column!r}{nearest(column, names)} Found: {', '.join(names)}."
            )
        chosen = [column.lower()]
    else:
        chosen = [
            name for name in names if name in (*_PLAIN, *_SPEAKING["bonafide"], *_SPEAKING["spoof"])
        ]
    plus = [names.index(name) for name in chosen if name not in _SPEAKING["spoof"]]
    minus = [names.index(name) for name in chosen if name in _SPEAKING["spoof"]]
    if not chosen and names[:2] == ["file_name", "label"] and len(names) > 3:
        raise ProtocolError(f"{dialect.path}: expected file_name,score,label; {ONE_A_CLASS}")
    if not chosen or len(plus) > 1 or len(minus) > 1:
        raise ProtocolError(
            f"{where}: {len(chosen)} columns could be the score in {', '.join(names)}; name one "
            "(--score-column)."
        )
    return _Places(pair, plus[0] if plus else None, minus[0] if minus else None, label)


def _by_order(dialect: Dialect, column: str | None) -> _Places:
    if column is not None:
        raise SettingsError(f"{dialect.path} has no header, so no column is called {column!r}.")
    numeric = [place for place, cell in enumerate(dialect.rows[0]) if place and _is_number(cell)]
    if dialect.width == 2:
        return _Places((0,), 1, None, None)
    if dialect.width == 3:  # file,score,label; the label may be a number too
        score = 2 if numeric == [2] else 1
        return _Places((0,), score, None, 3 - score)
    if dialect.width == 4:
        return _Places((0,), 3, None, 2)
    raise ProtocolError(
        f"{dialect.where()}: {dialect.width} columns and no header; known without one: id score; "
        "file,score,label; id attack key score. Add a header with file_name and score."
    )


def _values(table: Delimited, places: _Places, probabilities: bool) -> NDArray[np.float64]:
    parts = [
        sign * (_log_odds(table, place) if probabilities else _numbers(table, place))
        for place, sign in ((places.plus, 1.0), (places.minus, -1.0))
        if place is not None
    ]
    if len(parts) == 2 and probabilities:
        return parts[0]  # of two probabilities one says it all
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _numbers(table: Delimited, place: int) -> NDArray[np.float64]:
    import polars as pl

    cells = table.column(place)
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count():
        row = int(numbers.is_null().arg_max() or 0)
        raise ProtocolError(
            f"{table.where(row)}: expected a score in column {place + 1}, found {cells[row]!r} "
            f"({numbers.null_count()} such line(s))."
        )
    return numbers.to_numpy().copy()


def _log_odds(table: Delimited, place: int) -> NDArray[np.float64]:
    shares = _numbers(table, place)
    outside = np.flatnonzero(~((shares >= 0) & (shares <= 1)))
    if len(outside):
        raise ProtocolError(
            f"{table.where(int(outside[0]))}: {len(outside)} of {len(shares)} scores are no "
            f"probabilities, first {shares[outside[0]]}; leave out the option that says they are."
        )
    shares = np.clip(shares, 1 - _NEAREST_TO_ONE, _NEAREST_TO_ONE)
    return np.log(shares) - np.log1p(-shares)


def _labels(
    table: Delimited, place: int | None, one_is: _Class | None
) -> tuple[NDArray[np.int8] | None, str]:
    if place is None:
        return None, ""
    cells = table.cells.get_column(str(place))
    if not cells.drop_nulls().str.to_lowercase().is_in(_INTEGERS).all() or cells.null_count() == len(
        cells
    ):
        return encode_labels(cells, f"{table.dialect.path}, column {place + 1}"), ""
    if one_is is None:
        return None, (
            "its labels are 0 and 1, which mean opposite things in different files; say which class "
            "1 is (--one-is bonafide or --one-is spoof), or give a protocol"
        )
    one, zero = (0, 1) if one_is == "bonafide" else (1, 0)
    of = {"0": zero, "0.0": zero, "1": one, "1.0": one, "nan": 2}
    return encode_codes(cells, of), ""


def encode_codes(cells: "pl.Series", of: dict[str, int]) -> NDArray[np.int8]:
    """Cells by a table of codes; empty cells are unknown."""
    import polars as pl

    lowered = cells.fill_null("nan").str.to_lowercase()
    return lowered.replace_strict(of, return_dtype=pl.Int8).to_numpy().astype(np.int8)
