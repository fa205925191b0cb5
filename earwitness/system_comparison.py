"""Two systems or more on the same trials: which differences hold.

The first system is compared with each other one, by paired tests: DeLong's for the AUC where trials
are taken as independent, a paired bootstrap for everything else. p-values are corrected for the number
of systems (Holm), and "better" is only said where the corrected p is below 5 %.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.breakdown import POOLED, break_down
from earwitness.errors import ProtocolError
from earwitness.evaluation import require_labels
from earwitness.files import read_text
from earwitness.metrics import METRICS, lower_is_better
from earwitness.metrics.paired import Difference, delong, differences
from earwitness.metrics.units import sampling
from earwitness.protocols import Protocol
from earwitness.scores import Scores

__all__ = ["Pair", "compare_systems", "deltas", "require_one_scope"]

_COMPARED = ("eer", "min_dcf", "auc", "cllr")
_LEVEL = 0.05
_FEW = 10  # with five speakers a bootstrap calls one in six equal systems different


@dataclass(frozen=True)
class Pair:
    """The first system against another one: by metric the difference ``other - first``, in words.

    ``verdict`` is ``"better"`` or ``"worse"``, of the other system, ``"cannot be told apart"``, or
    ``"too few to tell"`` where a class has fewer than ten units (speakers, or trials).
    """

    other: str
    values: dict[str, tuple[float, float]]
    difference: dict[str, Difference]
    corrected_p: dict[str, float]
    unit: str
    units: int
    doubts: tuple[str, ...] = ()

    def verdict(self, metric: str) -> str:
        """Whether the other system is better by a metric; nothing is said of fewer than ten units."""
        if self.units < _FEW:
            return "too few to tell"
        if self.corrected_p[metric] >= _LEVEL:
            return "cannot be told apart"
        is_lower = self.difference[metric].value < 0
        return "better" if is_lower == lower_is_better(metric) else "worse"

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        told = {
            name: {
                "first": self.values[name][0],
                "other": self.values[name][1],
                **one._asdict(),
                "corrected_p": self.corrected_p[name],
                "verdict": self.verdict(name),
            }
            for name, one in self.difference.items()
        }
        drawn = {"sampling_unit": self.unit, "units": self.units, "doubts": list(self.doubts)}
        return {"other": self.other, **drawn, "metrics": told}


def compare_systems(
    systems: Sequence[Scores],
    protocol: Protocol | None = None,
    *,
    unit: str = "auto",
    draws: int = 1000,
    seed: int = 0,
) -> list[Pair]:
    """Compare the first system with each of the others.

    Args:
        systems: labelled scores of the same trials in one order (`Scores.join`).
        protocol: of these trials; says what to draw, see `metrics.units.sampling`.
        unit, draws, seed: of the bootstrap.

    Raises:
        ProtocolError: systems scored different trials.

    >>> labels = ["bonafide"] * 3 + ["spoof"] * 3
    >>> one, two = (Scores("abcdef", v, labels) for v in ([3, 2, 1, 0, -1, 0.5], [3, 0, 1, 0, 2, 1]))
    >>> compare_systems([one, two], draws=99)[0].verdict("auc")
    'too few to tell'
    """
    first, *others = [require_labels(one) for one in systems]
    for one in others:
        if len(one) != len(first) or not (one.id_column == first.id_column).all():
            raise ProtocolError(
                f"{first.source} and {one.source} are not of the same trials in one order; join both "
                "with the protocol."
            )
    drawn = sampling(protocol, unit) if protocol is not None else None
    chosen = (drawn.clusters, drawn.attacks) if drawn else (None, None)
    metrics = {name: METRICS.get(name) for name in _COMPARED}
    own = first.bonafide, first.spoof
    found = []
    for one in others:
        theirs = one.bonafide, one.spoof
        told = differences(
            metrics, theirs, own, draws=draws, seed=seed, clusters=chosen[0], attacks=chosen[1]
        )
        if chosen[0] is None and chosen[1] is None:
            told["auc"] = delong(theirs, own)
        values = {name: (metric(*own), metric(*theirs)) for name, metric in metrics.items()}
        found.append((one.source, values, told))
    corrected = {name: _holm([told[name].p for _, _, told in found]) for name in metrics}
    classes = own if chosen[0] is None else chosen[0]
    doubts = list(drawn.doubts) if drawn else []
    if 2 / (draws + 1) * len(others) >= _LEVEL:
        doubts.append(
            f"with {draws} draws no p is below {2 / (draws + 1):.2g}, and that for {len(others)} "
            "comparison(s): too few to call anything different. Take more draws."
        )
    for one in systems:
        if METRICS.get("auc")(one.bonafide, one.spoof) < 0.5:
            doubts.append(f"the AUC of {one.source} is below one half: are its scores inverted?")
    units = min(len(set(one)) if chosen[0] else len(one) for one in classes)
    return [
        Pair(
            source,
            values,
            told,
            {name: corrected[name][n] for name in metrics},
            drawn.unit if drawn else "trial",
            units,
            tuple(doubts),
        )
        for n, (source, values, told) in enumerate(found)
    ]


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm, "A simple sequentially rejective multiple test procedure", SJS 1979."""
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def deltas(
    systems: Sequence[Scores], protocol: Protocol, by: str, metric: str = "eer"
) -> list[tuple[str, list[float]]]:
    """A metric of every system for each value of a column, all trials last; no test is made.

    Raises:
        SettingsError: no such column.
    """
    told = [break_down(one, protocol, by) for one in systems]
    rows = []
    for part in told[0].parts:
        cells = [one[part.values].evaluation for one in told]
        if all(cells):
            rows.append((", ".join(part.values), [cell.values[metric] for cell in cells if cell]))
    return sorted(rows, key=lambda row: row[0].startswith(POOLED))


def require_one_scope(paths: Sequence[Path]) -> None:
    """Raise where score files say beside them that they are of different things.

    A whole recording's score and one window's are not compared, though their ids are the same.

    Raises:
        ProtocolError: names both scopes.
    """
    scopes = {}
    for path in paths:
        side = path.with_name(path.name + ".json")
        if side.is_file():
            try:
                told = json.loads(read_text(side))
            except json.JSONDecodeError as error:
                raise ProtocolError(f"{side}: not JSON ({error}); it tells of {path.name}.") from None
            if isinstance(told, dict) and told.get("trial_scope"):
                scopes[str(path)] = str(told["trial_scope"])
    if len(set(scopes.values())) > 1:
        listed = "; ".join(f"{path}: {scope}" for path, scope in scopes.items())
        raise ProtocolError(f"these scores are not of the same thing ({listed}).")
