"""From the score files of one or several run folders to the values of a report."""

from collections.abc import Sequence
from typing import Any

from earwitness.errors import RunError
from earwitness.evaluation import (
    evaluate,
    matrix,
    mean_interval,
    paired_difference,
    pooled,
    summary,
    untrained_row,
)
from earwitness.report.result import Interval, Report, StrategyResult
from earwitness.report.words import headline, verdict
from earwitness.runs import Run, RunFolder

__all__ = ["build", "runs_of"]

_MEANS = ("gradient_ratio", "old_input_ratio", "beta", "rank_energy", "cosine", "length")


def build(folders: RunFolder | Sequence[RunFolder]) -> Report:
    """Compute everything a report shows.

    With several folders every strategy is called ``<run's name>/<label>`` and compared with the
    naive strategy of its own run. The final models of the first seed are judged in detail.

    Raises:
        RunError: no finished run, or folders whose tasks or splits differ.
    """
    folders = [folders] if isinstance(folders, RunFolder) else list(folders)
    provenance = [folder.provenance for folder in folders]
    _require_alike(folders, provenance)
    split = provenance[0].get("split", "test")
    strategies = [
        one for folder in folders for one in _strategies(folder, split, _prefix(folder, folders))
    ]
    tasks = list(provenance[0]["tasks"])
    return Report(
        name=" and ".join(folder.name for folder in folders),
        tasks=tasks,
        split=split,
        stand_in=any(one.get("stand_in", False) for one in provenance),
        headline=headline(strategies, len(tasks)),
        strategies=strategies,
        provenance=provenance,
    )


def runs_of(folders: Sequence[RunFolder]) -> dict[str, list[Run]]:
    """The finished runs of each strategy, under the name that the report gives it."""
    return {
        _prefix(folder, folders) + label: runs
        for folder in folders
        for label, runs in _groups(folder).items()
    }


def _prefix(folder: RunFolder, folders: Sequence[RunFolder]) -> str:
    return f"{folder.name}/" if len(folders) > 1 else ""


def _groups(folder: RunFolder) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in folder.finished():
        groups.setdefault(run.label, []).append(run)
    return groups


def _require_alike(folders: Sequence[RunFolder], provenance: Sequence[dict[str, Any]]) -> None:
    if not folders:
        raise RunError("a report needs at least one run folder; none was given.")
    for folder, one in zip(folders, provenance, strict=True):
        orders = len(one.get("orders", [()]))
        if one["metric"] != "eer" or orders > 1:
            raise RunError(
                f"{folder.path}: a report shows one order of the tasks, judged by EER; this run has "
                f"{orders} order(s), judged by {one['metric']}. "
                f"Use: earwitness compare {folder.path}"
            )
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise RunError(
            f"runs side by side need names of their own; found {', '.join(names)}. "
            "The name is in the experiment file."
        )
    for folder, one in zip(folders, provenance, strict=True):
        for what in ("tasks", "split"):
            if one.get(what) != provenance[0].get(what):
                raise RunError(
                    f"{folder.path}: {what} {one.get(what)} differ from those of "
                    f"{folders[0].path}, {provenance[0].get(what)}; only like runs go side by side."
                )


def _strategies(folder: RunFolder, split: str, prefix: str) -> list[StrategyResult]:
    groups = _groups(folder)
    per_seed = {label: [_summary(run, split) for run in runs] for label, runs in groups.items()}
    naive = _naive(groups)
    return [
        _strategy(
            prefix + label,
            runs,
            split,
            per_seed[label],
            role="naive" if label == naive else _role(runs),
            against=None
            if naive in (None, label)
            else _paired(_by_seed(runs, per_seed[label]), _by_seed(groups[naive], per_seed[naive])),
        )
        for label, runs in groups.items()
    ]


def _strategy(
    label: str,
    runs: list[Run],
    split: str,
    per_seed: list[dict[str, float | None]],
    *,
    role: str,
    against: dict[str, Interval] | None,
) -> StrategyResult:
    untrained = [untrained_row(run, "eer", split) for run in runs]
    difference = None if against is None else against["final_average"]
    return StrategyResult(
        label=label,
        seeds=[run.seed for run in runs],
        matrices=[matrix(run, "eer", split).tolist() for run in runs],
        untrained=[None if row is None else row.tolist() for row in untrained],
        per_seed=per_seed,
        summaries=_over_seeds(per_seed),
        role=role,
        against_naive=against,
        verdict="the reference" if role == "naive" else verdict(difference),
        judged=_judged(runs[0], split),
        action=_action(runs),
        stores=next(reversed(runs[0].storage()), {}),
        seconds=_mean_seconds(runs),
        settings=runs[0].settings,
    )


def _summary(run: Run, split: str) -> dict[str, float | None]:
    last = len(run.tasks) - 1
    return {**summary(run, "eer", split), "pooled": float(pooled(run, last, "eer", split))}


def _naive(groups: dict[str, list[Run]]) -> str | None:
    """The label that others are compared with: ``naive`` itself, else the first naive strategy."""
    named = [label for label, runs in groups.items() if _name(runs) == "naive"]
    return "naive" if "naive" in groups else next(iter(named), None)


def _role(runs: list[Run]) -> str:
    """Joint training has all data at once: a bound to compare with, not a way to keep learning."""
    return "joint" if _name(runs) == "joint" else "strategy"


def _name(runs: list[Run]) -> str:
    return str(runs[0].settings.get("strategy", {}).get("name", runs[0].label))


def _by_seed(
    runs: list[Run], values: list[dict[str, float | None]]
) -> dict[int, dict[str, float | None]]:
    return {run.seed: one for run, one in zip(runs, values, strict=True)}


def _paired(
    own: dict[int, dict[str, float | None]], naive: dict[int, dict[str, float | None]]
) -> dict[str, Interval] | None:
    """This minus naive for every summary, over the seeds that both have."""
    shared = [seed for seed in own if seed in naive]
    if not shared:
        return None
    ours = _columns([own[seed] for seed in shared])
    theirs = _columns([naive[seed] for seed in shared])
    return {key: _interval(paired_difference(ours[key], theirs[key])) for key in ours if key in theirs}


def _over_seeds(per_seed: list[dict[str, float | None]]) -> dict[str, Interval]:
    return {key: _interval(mean_interval(values)) for key, values in _columns(per_seed).items()}


def _columns(per_seed: list[dict[str, float | None]]) -> dict[str, list[float]]:
    """The values of each summary over seeds; one that is undefined for a seed is left out."""
    found = {}
    for key in per_seed[0]:
        values = [one[key] for one in per_seed]
        defined = [value for value in values if value is not None]
        if len(defined) == len(values):
            found[key] = defined
    return found


def _interval(ends: Sequence[float | None]) -> Interval:
    return {
        name: None if end is None else float(end)
        for name, end in zip(("mean", "low", "high"), ends, strict=True)
    }


def _judged(run: Run, split: str) -> list[dict[str, Any]]:
    """The final model on each task: every metric with its bootstrap interval over trials."""
    found = []
    for on, task in enumerate(run.tasks):
        one = evaluate(run.scores(len(run.tasks) - 1, on, split))
        metrics = {
            name: _interval((value, *one.intervals.get(name, (None, None))))
            for name, value in one.values.items()
        }
        found.append(
            {
                "task": task,
                "bonafide": int(one.n_bonafide),
                "spoof": int(one.n_spoof),
                "metrics": metrics,
                "warnings": [str(warning) for warning in one.warnings],
            }
        )
    return found


def _action(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each protected layer, over all seeds: how many records, and the mean of each quantity."""
    layers: dict[str, list[dict[str, Any]]] = {}
    for record in (record for run in runs for record in run.action()):
        layers.setdefault(record["layer"], []).append(record)
    return [
        {"layer": layer, "records": len(records), **{key: _mean(records, key) for key in _MEANS}}
        for layer, records in layers.items()
    ]


def _mean(records: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [record[key] for record in records if record.get(key) is not None]
    return sum(values) / len(values) if values else None


def _mean_seconds(runs: Sequence[Run]) -> float | None:
    """Wall-clock time of the whole stream; None where no run has it for every task."""
    times = [run.seconds() for run in runs]
    totals = [sum(one.values()) for one in times if len(one) == len(runs[0].tasks)]
    return sum(totals) / len(totals) if totals else None
