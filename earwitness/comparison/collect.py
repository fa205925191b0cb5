"""From the score files of one or several run folders to the values of a comparison."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from earwitness.comparison.judge import against, fronts, headline, marks, notes, pairs
from earwitness.comparison.reading import Plan, Reading, View, orders_of, plans, read, require_alike
from earwitness.comparison.result import Comparison, Interval, Method
from earwitness.comparison.statistics import UNITS, Unit, gather, shares
from earwitness.comparison.words import require_metric
from earwitness.errors import SettingsError, nearest
from earwitness.evaluation import mean_interval
from earwitness.metrics import lower_is_better
from earwitness.runs import RunFolder

__all__ = ["compare"]

_ROLES = {"joint": "upper bound", "cumulative": "upper bound", "frozen": "frozen", "naive": "naive"}


def compare(
    folders: RunFolder | Sequence[RunFolder],
    *,
    reference: str | None = None,
    metric: str | None = None,
    units: str = "runs",
) -> Comparison:
    """Compute everything a comparison shows.

    With several folders a label that two of them have is called ``<run's name>/<label>``.

    Args:
        folders: with the same tasks, in any order, and judged on the same clips.
        reference: the label that all are compared with; ``naive`` unless given.
        metric: eer, accuracy or auc; the runs' own unless given.
        units: what counts as one observation: runs, seeds or orders (`statistics`).

    Raises:
        RunError: no finished run, or folders that can't go side by side.
        SettingsError: no such reference, metric or units.
        ProtocolError: a finished run lacks a score file, or one is wrong.
    """
    folders = [folders] if isinstance(folders, RunFolder) else list(folders)
    require_alike(folders)
    view = _view(folders, metric, units)
    lower = lower_is_better(view.metric)
    planned, told = plans(folders), [folder.provenance for folder in folders]
    methods = _timed([_method(plan, view) for plan in planned if plan.done])
    reference, missing = _reference(methods, reference), _missing(planned, view)
    methods = sorted(against(methods, reference, view), key=lambda one: _rank(one, lower))
    marked = marks(methods, view.metric, units)
    return Comparison(
        name=" and ".join(folder.name for folder in folders),
        metric=view.metric,
        lower_is_better=lower,
        split=view.split,
        stand_in=any(one.get("stand_in", False) for one in told),
        tasks=list(view.orders[0]),
        orders=[list(order) for order in view.orders],
        units=units,
        reference=reference,
        methods=methods,
        pairs=pairs(methods, units),
        marks=marked,
        fronts=fronts(methods, lower),
        missing=missing,
        headline=headline(methods, marked, reference, lower),
        notes=notes(methods, missing),
        provenance=told,
    )


def _view(folders: Sequence[RunFolder], metric: str | None, units: str) -> View:
    told = folders[0].provenance
    require_metric(metric or told["metric"])
    if units not in UNITS:
        raise SettingsError(
            f"units are {units!r}{nearest(units, UNITS)}; choose from {', '.join(UNITS)}."
        )
    return View(
        metric=metric or told["metric"],
        split=told.get("split", "test"),
        units=units,
        orders=orders_of(folders),
        can_pool=told["metric"] == "eer",
    )


def _method(plan: Plan, view: View) -> Method:
    readings = sorted((read(run, view) for run in plan.done), key=lambda one: one.unit[::-1])
    values = {key: [one.values[key] for one in readings] for key in readings[0].values}
    strategy = readings[0].strategy
    name = str(strategy.get("name", plan.runs[0].label))
    over = _Over(readings, view.units)
    return Method(
        label=plan.label,
        folder=plan.folder,
        strategy=name,
        role=_ROLES.get(name, "method"),
        runs=[list(one.unit) for one in readings],
        planned=len(plan.runs),
        matrices=[one.matrix for one in readings],
        untrained=[one.untrained for one in readings],
        values=values,
        means={key: over(column) for key, column in values.items() if None not in column},
        curve=over.curve(),
        by_task={task: over(one.matrix[-1][one.tasks.index(task)] for one in readings)
                 for task in view.orders[0]},
        by_order=[over.of_order(order, values["final_average"])
                  for order in range(1, len(view.orders) + 1)],
        shares=shares({one.unit: one.values["final_average"] or 0.0 for one in readings}),
        against=None,
        by_units={},
        stores=_stores(readings),
        seconds=_mean(values["seconds_a_task"]),
        times_naive=None,
        settings=strategy,
    )  # fmt: skip


class _Over:
    """Means and intervals over the runs of one method."""

    def __init__(self, readings: Sequence[Reading], units: str):
        self.runs: list[Unit] = [one.unit for one in readings]
        self.matrices = [np.array(one.matrix) for one in readings]
        self.units = units

    def __call__(self, values: Iterable[float | None]) -> Interval:
        """Of one value a run."""
        by_run = {run: float(v) for run, v in zip(self.runs, values, strict=True) if v is not None}
        return _interval(gather(by_run, self.units))

    def curve(self) -> list[Interval]:
        """Of the mean over the tasks seen so far, after each task."""
        times = range(len(self.matrices[0]))
        return [self(float(m[t, : t + 1].mean()) for m in self.matrices) for t in times]

    def of_order(self, order: int, values: Sequence[float | None]) -> Interval | None:
        """Of the runs of one order, which differ by their seeds."""
        own = [v for (_, o), v in zip(self.runs, values, strict=True) if o == order and v is not None]
        return _interval(own) if own else None


def _interval(values: Sequence[float]) -> Interval:
    ends = mean_interval(values)
    return dict(zip(("mean", "low", "high"), (_plain(end) for end in ends), strict=True))


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)


def _stores(readings: Sequence[Reading]) -> dict[str, Any]:
    """After the last task, means over runs; empty where it was not noted."""
    if any(one.keeps_audio is None for one in readings):
        return {}
    means = {key: _mean([one.values[key] for one in readings]) for key in ("bytes", "clips")}
    return {**means, "keeps_audio": any(one.keeps_audio for one in readings)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _timed(methods: Sequence[Method]) -> list[Method]:
    """Learning time as a multiple of naive's; only runs of one folder had the same machine."""
    naive: dict[str, dict[Unit, float]] = {}
    for one in sorted(methods, key=lambda one: one.label.rsplit("/", 1)[-1] != "naive"):
        if one.role == "naive":
            naive.setdefault(one.folder, one.by_run("seconds_a_task"))
    return [replace(one, times_naive=_times(one, naive.get(one.folder, {}))) for one in methods]


def _times(one: Method, naive: dict[Unit, float]) -> Interval | None:
    own = one.by_run("seconds_a_task")
    ratios = [own[unit] / naive[unit] for unit in own if naive.get(unit)]
    return _interval(ratios) if ratios else None


def _reference(methods: Sequence[Method], asked: str | None) -> str | None:
    """The label asked for, else ``naive``, else the first that is naive under another label."""
    labels = [one.label for one in methods]
    if asked is not None and asked not in labels:
        raise SettingsError(
            f"no method {asked!r} to compare with{nearest(asked, labels)}; "
            f"finished runs have {', '.join(labels)}."
        )
    naive = [one.label for one in methods if one.role == "naive"]
    return asked or ("naive" if "naive" in naive else next(iter(naive), None))


def _rank(one: Method, lower: bool) -> tuple[bool, float]:
    """Best first, bounds behind."""
    final = one.means["final_average"]["mean"] or 0.0
    return not one.is_ranked, final if lower else -final


def _missing(planned: Sequence[Plan], view: View) -> list[dict[str, Any]]:
    return [
        {
            "folder": plan.folder,
            "label": plan.label,
            "seed": run.seed,
            "order": view.orders.index(run.tasks) + 1,
        }
        for plan in planned
        for run in plan.runs
        if not run.is_done
    ]
