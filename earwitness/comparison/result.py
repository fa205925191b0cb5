"""The comparison as plain values: everything the page shows, and nothing that it has to work out."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from earwitness.comparison.statistics import Difference, Unit

__all__ = ["Comparison", "Interval", "Mark", "Matrix", "Method"]

Interval = dict[str, float | None]
"""``mean``, ``low`` and ``high``; the last two None where one observation gives no interval."""

Matrix = list[list[float]]
"""Row = after learning a task, column = judged on a task, both in the order of learning; fractions."""


@dataclass(frozen=True)
class Method:
    """One strategy under its label; lists with one item a run follow the order of ``runs``."""

    label: str
    folder: str  # the name of its run folder
    strategy: str  # its name on the shelf
    role: str  # "method", "naive", or one of the bounds: "upper bound", "frozen"
    runs: list[list[int]]  # [seed, order] of each finished run
    planned: int
    matrices: list[Matrix]
    untrained: list[list[float] | None]  # before any learning; None: not scored
    values: dict[str, list[float | None]]  # each measure, one a run
    means: dict[str, Interval]  # of the measures that every run has
    curve: list[Interval]  # mean over the tasks seen so far, after each task
    by_task: dict[str, Interval]  # at the end
    by_order: list[Interval | None]  # final average of each order; None: no run of it
    shares: dict[str, float] | None  # of the final average's variance: order, seed, rest
    against: dict[str, Difference] | None  # this minus the reference; None for the reference itself
    by_units: dict[str, Difference]  # the final average's difference, for each kind of unit
    stores: dict[str, Any]  # after the last task, mean over runs: bytes, clips, keeps_audio
    seconds: float | None  # a task, mean over runs
    times_naive: Interval | None  # the same, as a multiple of naive's with the same seed and order
    settings: dict[str, Any]  # of the strategy, in its first run

    @property
    def is_ranked(self) -> bool:
        """Whether it can be marked; bounds can't."""
        return self.role in ("method", "naive")

    def by_run(self, measure: str) -> dict[Unit, float]:
        """A measure's value of each run; runs for which it is undefined are left out."""
        values = zip(self.runs, self.values.get(measure, []), strict=False)
        return {(seed, order): value for (seed, order), value in values if value is not None}


@dataclass(frozen=True)
class Mark:
    """What a column lets be said of its best method."""

    group: list[str]  # the best by its mean, then all that can't be told apart from it
    is_alone: bool  # the best is better than every other
    told: str

    def sign(self, label: str) -> str:
        """How ``label`` is marked in the column, if it is.

        >>> Mark(["rwm"], True, "").sign("rwm"), Mark(["rwm", "ewc"], False, "").sign("ewc")
        ('●', '○')
        """
        if label not in self.group:
            return ""
        return "●" if self.is_alone else "○"


@dataclass(frozen=True)
class Comparison:
    """Strategies x seeds x orders of one or several run folders.

    ``methods`` are ranked by their mean final average, best first, the bounds behind.

    >>> toy = ("toy", "eer", True, "test", True, ["a"], [["a"]], "runs", None)
    >>> empty = Comparison(*toy, [], [], {}, {}, [], [], [], [])
    >>> Comparison.from_json(empty.to_json()) == empty
    True
    """

    name: str
    metric: str
    lower_is_better: bool
    split: str
    stand_in: bool  # synthetic data: the numbers say nothing about real speech
    tasks: list[str]  # as in the first order
    orders: list[list[str]]
    units: str
    reference: str | None
    methods: list[Method]
    pairs: list[dict[str, Any]]  # one, other, and the difference of their final averages
    marks: dict[str, Mark]  # of each measure
    fronts: dict[str, list[str]]  # "storage", "time": which no other beats in both
    missing: list[dict[str, Any]]  # planned and not finished: folder, label, seed, order
    headline: list[str]
    notes: list[str]
    provenance: list[dict[str, Any]]  # one a run folder

    def __getitem__(self, label: str) -> Method:
        return next(one for one in self.methods if one.label == label)

    @property
    def ranked(self) -> list[Method]:
        """The methods that are ranked."""
        return [one for one in self.methods if one.is_ranked]

    @property
    def bounds(self) -> list[Method]:
        """Those that are shown and not ranked."""
        return [one for one in self.methods if not one.is_ranked]

    def to_json(self) -> str:
        """All values as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Comparison":
        """The comparison that ``to_json`` wrote."""
        values = json.loads(text)
        values["methods"] = [Method(**one) for one in values["methods"]]
        values["marks"] = {key: Mark(**one) for key, one in values["marks"].items()}
        return cls(**values)

    def to_csv(self) -> str:
        """Long form, a line a number: ``folder,label,seed,order,after,on,metric,value``.

        Lines of a task matrix name the task learned last (or ``untrained``) and the task judged; lines
        of a measure leave both empty. Values have all their digits.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["folder", "label", "seed", "order", "after", "on", "metric", "value"])
        for one in self.methods:
            for place, unit in enumerate(one.runs):
                writer.writerows(
                    [one.folder, one.label, *unit, after, on, metric, repr(value)]
                    for after, on, metric, value in self._numbers(one, place)
                )
        return out.getvalue()

    def _numbers(self, one: Method, place: int) -> Iterator[tuple[str, str, str, float]]:
        tasks = self.orders[one.runs[place][1] - 1]
        untrained = one.untrained[place]
        rows = [] if untrained is None else [("untrained", untrained)]
        rows += zip(tasks, one.matrices[place], strict=True)
        for after, levels in rows:
            for on, level in zip(tasks, levels, strict=True):
                yield after, on, self.metric, level
        for measure, values in one.values.items():
            value = values[place]
            if value is not None:
                yield "", "", measure, value
