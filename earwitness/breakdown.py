"""One set of scores by attack, codec, speaker or whatever the protocol knows, and the grid of two.

Some columns say something of spoofs alone: a bonafide trial has no attack. There, each value's spoofs
are judged against all bonafide trials. Other columns (codec, speaker) part both classes: spoofs of a
codec are judged against bonafide trials of that codec, as the ASVspoof 5 tables do.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import SettingsError
from earwitness.evaluation import Evaluation, evaluate
from earwitness.protocols import Protocol
from earwitness.scores import Scores

if TYPE_CHECKING:
    import polars as pl

__all__ = ["POOLED", "Breakdown", "Part", "binned", "break_down", "shown"]

POOLED = "(all)"
_NO_VALUE = ("-", "", "bonafide")
_MOST_PARTS = 2000
_MOST_VALUES = 12  # of a column of numbers, before they are put into four bins


@dataclass(frozen=True)
class Part:
    """The trials with certain values: ``evaluation`` is None where a class has none of them."""

    values: tuple[str, ...]
    n_bonafide: int
    n_spoof: int
    evaluation: Evaluation | None

    def to_dict(self) -> dict[str, Any]:
        """Values, counts and numbers, flat."""
        numbers = self.evaluation.to_dict() if self.evaluation else {}
        counts = {"n_bonafide": self.n_bonafide, "n_spoof": self.n_spoof}
        return {"values": list(self.values), **counts, **numbers}


@dataclass(frozen=True)
class Breakdown:
    """Parts in order of their values, ``(all)`` last; with two columns every pair and both margins.

    ``of_spoofs`` are the columns that say something of spoofs alone.
    """

    columns: tuple[str, ...]
    parts: tuple[Part, ...]
    of_spoofs: tuple[str, ...]

    def __getitem__(self, values: str | tuple[str, ...]) -> Part:
        wanted = (values,) if isinstance(values, str) else tuple(values)
        return next(part for part in self.parts if part.values == wanted)

    def grid(self, metric: str) -> tuple[list[str], list[str], NDArray[np.float64]]:
        """Row names, column names and values of a breakdown by two columns; NaN where there are none.

        Raises:
            SettingsError: there is one column.
        """
        if len(self.columns) != 2:
            raise SettingsError(f"a grid has two columns; this breakdown is by {self.columns}.")
        rows = list(dict.fromkeys(part.values[0] for part in self.parts))
        across = list(dict.fromkeys(part.values[1] for part in self.parts))
        table = np.full((len(rows), len(across)), np.nan)
        for part in self.parts:
            if part.evaluation:
                place = rows.index(part.values[0]), across.index(part.values[1])
                table[place] = part.evaluation.values[metric]
        return rows, across, table


def shown(value: str) -> str:
    """A value as people read it: protocols write ``-`` where there is none, such as no codec.

    >>> shown("-"), shown("C01")
    ('none', 'C01')
    """
    return "none" if value in ("-", "") else value


def break_down(scores: Scores, protocol: Protocol, by: str, **settings: Any) -> Breakdown:
    """Judge the trials of each value of a column, or of each pair of values of two.

    Args:
        scores: of every trial of the protocol.
        protocol: labels and columns.
        by: a column, or two: ``"attack,codec"``. Fractional numbers of more than twelve values are
            put into four bins with equally many trials.
        settings: of `evaluate`, such as ``threshold``, ``intervals``, ``draws``; no intervals unless
            asked for.

    >>> protocol = Protocol("toy", "abcd", ["bonafide", "bonafide", "spoof", "spoof"],
    ...                     {"attack": ["-", "-", "A1", "A2"]})
    >>> told = break_down(Scores("abcd", [2, 1, 0, 1.5]), protocol, "attack")
    >>> [(part.values, part.evaluation.values["eer"]) for part in told.parts]
    [(('A1',), 0.0), (('A2',), 0.5), (('(all)',), 0.5)]

    Raises:
        ProtocolError: as `evaluate`.
        SettingsError: no such column, or more than two.
    """
    names = tuple(name.strip() for name in by.split(","))
    if len(names) > 2 or len(set(names)) < len(names):
        raise SettingsError(f"by is {by!r}; expected one column, or two parted by a comma.")
    settings = {"intervals": False, **settings}
    joined = scores.join(protocol)
    columns = [binned(protocol.column(name)) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.n_unique() > _MOST_PARTS:
            raise SettingsError(
                f"{name} has {column.n_unique():,} values; a breakdown has at most {_MOST_PARTS:,}."
            )
    of_spoofs = tuple(
        name
        for name, column in zip(names, columns, strict=True)
        if column.filter(joined.codes == 0).is_in(_NO_VALUE).all()
    )
    parts = []
    for values, rows in _groups(names, columns, of_spoofs, joined.codes):
        taken = joined.take(rows)
        whole = set(taken.codes.tolist()) >= {0, 1}
        judged = evaluate(taken, protocol.take(rows), **settings) if whole else None
        counts = np.bincount(taken.codes, minlength=2)
        parts.append(Part(values, int(counts[0]), int(counts[1]), judged))
    return Breakdown(names, tuple(parts), of_spoofs)


def _groups(
    names: tuple[str, ...],
    columns: "list[pl.Series]",
    of_spoofs: tuple[str, ...],
    codes: NDArray[np.int8],
) -> Iterator[tuple[tuple[str, ...], NDArray[np.bool_]]]:
    """Values and rows of each part that has a trial of its own, margins included."""
    bonafide = codes == 0
    options: list[list[tuple[str, NDArray[np.bool_]]]] = []
    for name, column in zip(names, columns, strict=True):
        values = column.unique().to_list()
        if name in of_spoofs:  # a spoof without an attack is a part too, a bonafide trial is not
            values = column.filter(~bonafide).unique().to_list()
        masks = [(value, (column == value).to_numpy()) for value in _natural(values)]
        if name in of_spoofs:
            masks = [(value, mask | bonafide) for value, mask in masks]
        options.append([*masks, (POOLED, np.ones(len(codes), dtype=bool))])
    for chosen in itertools.product(*options):
        rows = np.logical_and.reduce([mask for _, mask in chosen])
        if rows.any():
            yield tuple(value for value, _ in chosen), rows


def _natural(values: Iterable[str]) -> list[str]:
    """A2 before A10."""
    return sorted(values, key=lambda value: [_piece(part) for part in re.split(r"(\d+)", value)])


def _piece(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def binned(column: "pl.Series") -> "pl.Series":
    """Numbers of many values as four bins with equally many trials; other columns as they are."""
    import polars as pl

    if column.n_unique() <= _MOST_VALUES:
        return column
    numbers = column.cast(pl.Float64, strict=False)
    whole = column.str.contains(r"^-?\d+$").all()  # names of speakers may be numbers: no bins
    if numbers.null_count() or not numbers.is_finite().all() or whole:
        return column
    edges = np.unique(np.quantile(numbers.to_numpy(), [0, 0.25, 0.5, 0.75, 1]))
    bins = np.clip(np.searchsorted(edges, numbers.to_numpy(), side="right") - 1, 0, len(edges) - 2)
    ends = itertools.pairwise(edges)
    told = [f"{low:.4g} to {high:.4g}" for low, high in ends]
    if len(set(told)) < len(told):
        told = [f"{low!r} to {high!r}" for low, high in itertools.pairwise(edges.tolist())]
    return pl.Series(column.name, np.array(told)[bins])
