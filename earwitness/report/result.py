"""The report as plain values: everything the page shows, and nothing that it has to work out.

The values are numbers, words, lists and dictionaries with words as keys, so JSON holds them as
they are and reading gives them back equal.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Interval", "Matrix", "Report", "StrategyResult"]

Interval = dict[str, float | None]
"""``mean``, ``low`` and ``high``; the last two None for one seed."""

Matrix = list[list[float]]
"""Row = after learning a task, column = judged on a task; fractions."""


@dataclass(frozen=True)
class StrategyResult:
    """One strategy over its seeds; lists with one item a seed follow the order of ``seeds``."""

    label: str
    seeds: list[int]
    matrices: list[Matrix]  # EER, one a seed
    untrained: list[list[float] | None]  # EER on each task before any learning; None: not scored
    per_seed: list[dict[str, float | None]]  # summaries of each matrix
    summaries: dict[str, Interval]  # over seeds; only those every seed has
    role: str  # "naive" (the lower reference), "joint" (the upper one), or "strategy"
    against_naive: dict[str, Interval] | None  # paired by seed: this minus naive
    verdict: str
    judged: list[dict[str, Any]]  # final model of the first seed, one a task, bootstrap intervals
    action: list[dict[str, Any]]  # proof of action, one a protected layer; often empty
    stores: dict[str, Any]
    seconds: float | None  # learning time of the whole stream, mean over seeds
    settings: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """One or several runs of the same tasks.

    >>> report = Report("toy", ["clean"], "test", True, "Nothing yet.", [], [])
    >>> Report.from_json(report.to_json()) == report
    True
    """

    name: str
    tasks: list[str]
    split: str
    stand_in: bool  # synthetic data: the numbers say nothing about real speech
    headline: str
    strategies: list[StrategyResult]
    provenance: list[dict[str, Any]]  # one a run folder

    def to_json(self) -> str:
        """All values as indented JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that ``to_json`` wrote."""
        values = json.loads(text)
        values["strategies"] = [StrategyResult(**one) for one in values["strategies"]]
        return cls(**values)

    def to_csv(self) -> str:
        """Long form, a line a number: ``strategy,seed,after,on,metric,value``.

        Lines of a task matrix name the task learned last (or ``untrained``) and the task judged;
        lines of a summary leave both empty. Values have all their digits.

        >>> Report("toy", [], "test", True, "", [], []).to_csv()
        'strategy,seed,after,on,metric,value\\n'
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["strategy", "seed", "after", "on", "metric", "value"])
        for one in self.strategies:
            for position, seed in enumerate(one.seeds):
                writer.writerows(
                    [one.label, seed, after, on, metric, repr(value)]
                    for after, on, metric, value in self._numbers(one, position)
                )
        return out.getvalue()

    def _numbers(self, one: StrategyResult, position: int) -> Iterator[tuple[str, str, str, float]]:
        untrained = one.untrained[position]
        rows = [] if untrained is None else [("untrained", untrained)]
        rows += zip(self.tasks, one.matrices[position], strict=True)
        for after, rates in rows:
            for on, rate in zip(self.tasks, rates, strict=True):
                yield after, on, "eer", rate
        for metric, value in one.per_seed[position].items():
            if value is not None:
                yield "", "", metric, value
