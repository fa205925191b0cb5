"""Score files of speaker verification beside a countermeasure, judged: target, nontarget, spoof."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.delimited import Dialect, sniff
from earwitness.errors import ProtocolError
from earwitness.metrics.sasv import SASV_METRICS
from earwitness.metrics.t_eer import TandemScores, t_eer
from earwitness.protocols import Protocol
from earwitness.scores import Scores

__all__ = ["KINDS", "TandemFile", "judge_tandem", "read_tandem"]

KINDS = ("target", "nontarget", "spoof")
_SYSTEMS = {
    "cm": ("cm-score", "cm_score"),
    "asv": ("asv-score", "asv_score"),
    "sasv": ("sasv-score", "sasv_score", "score"),
}


class TandemFile(NamedTuple):
    """Scores of the three kinds of trial by system: ``cm``, ``asv``, ``sasv``; those that are there."""

    source: str
    scores: dict[str, TandemScores]


def read_tandem(
    path: str | Path, protocol: Protocol | None = None, whole: Protocol | None = None
) -> TandemFile:
    """Read scores of trials that are target, nontarget or spoof.

    A file without a header has the kind in some column and the score in the last one, as in
    ``bonafide target 7.98`` (ASVspoof 2019; its scores are then the verifier's). With a header the
    columns are ``cm-score``, ``asv-score`` and ``sasv-score``; kinds come from a column ``key`` or
    ``asv-label``, or from a protocol by speaker and file (ASVspoof 5, track 2), of which ``whole`` is
    all and ``protocol`` what was chosen.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "asv.txt"
    >>> _ = path.write_text("bonafide target 7.9\\nbonafide nontarget -1\\nA07 spoof 2.5\\n")
    >>> read_tandem(path).scores["asv"]
    TandemScores(target=array([7.9]), nontarget=array([-1.]), spoof=array([2.5]))

    Raises:
        ProtocolError: a kind is not known or absent, or scores are no numbers; with the line.
    """
    known = {name for spellings in _SYSTEMS.values() for name in spellings}
    dialect = sniff(path, lambda cells: any(cell.lower() in known for cell in cells))
    if dialect.header is None:
        kinds, scores = _kinds_by_value(dialect), _numbers(dialect, dialect.width - 1)
        return TandemFile(str(path), {"asv": _split(scores, kinds, str(path))})
    names = [cell.lower() for cell in dialect.header]
    kinds, chosen = _kinds_by_header(dialect, names, protocol, whole)
    if names.count("score") and not any(n in names for n in (*_SYSTEMS["cm"], *_SYSTEMS["asv"])):
        scores = _numbers(dialect, names.index("score"))  # of whatever system; the caller knows
        one = _split(scores[chosen], kinds, str(path))
        return TandemFile(str(path), {"asv": one, "sasv": one})
    found = {}
    for system, spellings in _SYSTEMS.items():
        place = next((names.index(name) for name in spellings if name in names), None)
        if place is not None and _is_filled(dialect, place):
            found[system] = _split(_numbers(dialect, place)[chosen], kinds, str(path))
    return TandemFile(str(path), found)


def judge_tandem(read: TandemFile) -> dict[str, float]:
    """``min_adcf``, ``sv_eer``, ``spf_eer`` and ``sasv_eer`` of the one score, and ``t_eer`` of two.

    Raises:
        ProtocolError: there is neither a ``sasv`` score nor both others.
    """
    values: dict[str, float] = {}
    if "sasv" in read.scores:
        values |= {name: metric(*read.scores["sasv"]) for name, metric in SASV_METRICS.items()}
    if {"cm", "asv"} <= set(read.scores):
        values["t_eer"] = t_eer(read.scores["cm"], read.scores["asv"])
    if not values:
        raise ProtocolError(
            f"{read.source}: scores of {', '.join(read.scores) or 'no system'}; expected sasv-score, "
            "or cm-score and asv-score."
        )
    return values


def _kinds_by_value(dialect: Dialect) -> NDArray[np.str_]:
    for place in range(dialect.width - 1):
        if {row[place] for row in dialect.rows if len(row) > place} <= set(KINDS):
            return dialect.read([place]).column(place).to_numpy()
    raise ProtocolError(
        f"{dialect.where()}: no column holds {', '.join(KINDS)} alone; found {dialect.rows[0]}."
    )


def _kinds_by_header(
    dialect: Dialect, names: list[str], protocol: Protocol | None, whole: Protocol | None
) -> tuple[NDArray[np.str_], Any]:
    """The kinds of the chosen rows, and which these are."""
    for name in ("kind", "asv-label", "asv_label", "key"):
        if name in names and protocol is None:
            kinds = dialect.read([names.index(name)]).column(names.index(name)).to_numpy()
            return kinds, slice(None)
    if protocol is None or "kind" not in protocol.columns or "spk" not in names:
        raise ProtocolError(
            f"{dialect.where()}: no column says which trials are {', '.join(KINDS)}; found "
            f"{', '.join(names)}. Give a protocol of pairs (ASVspoof 5 track 2), or a column key."
        )
    file = next((name for name in ("filename", "file_name", "file", "utt") if name in names), names[1])
    table = dialect.read([names.index("spk"), names.index(file)])
    ids = table.column(names.index("spk")) + " " + table.column(names.index(file))
    rows = Scores(ids, np.arange(len(ids), dtype=float), source=str(dialect.path))
    places = rows.join(protocol, whole=whole).values.astype(int)  # the protocol's order
    return protocol.columns["kind"].to_numpy(), places


def _is_filled(dialect: Dialect, place: int) -> bool:
    return any(len(row) > place and row[place] != "-" for row in dialect.rows)


def _numbers(dialect: Dialect, place: int) -> NDArray[np.float64]:
    import polars as pl

    table = dialect.read([place])
    cells = table.column(place)
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count():
        row = int(numbers.is_null().arg_max() or 0)
        raise ProtocolError(f"{table.where(row)}: expected a score, found {cells[row]!r}.")
    return numbers.to_numpy()


def _split(scores: NDArray[np.float64], kinds: NDArray[np.str_], where: str) -> TandemScores:
    foreign = sorted({str(kind) for kind in np.unique(kinds)} - set(KINDS))
    absent = [kind for kind in KINDS if not np.any(kinds == kind)]
    if foreign or absent:
        raise ProtocolError(
            f"{where}: expected trials that are {', '.join(KINDS)}; "
            + (f"found {foreign[0]!r} too." if foreign else f"none is {absent[0]}.")
        )
    return TandemScores(*(scores[kinds == kind] for kind in KINDS))
