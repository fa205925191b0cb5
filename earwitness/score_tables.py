"""What the verbs about score files print and write: tables, lines and CSV of judged scores."""

import csv
import io
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from earwitness.errors import SettingsError, nearest
from earwitness.terminal import print_table

if TYPE_CHECKING:
    from earwitness.breakdown import Breakdown
    from earwitness.evaluation import Evaluation
    from earwitness.reviewing import Reviewed
    from earwitness.system_comparison import Pair

__all__ = ["as_csv", "print_breakdown", "print_pairs", "print_review"]


def print_breakdown(told: "Breakdown", metric: str) -> None:
    """A table: a line for each value of one column, or a grid of a metric for two."""
    _print_grid(told, metric) if len(told.columns) == 2 else _print_parts(told)


def _print_parts(told: "Breakdown") -> None:
    from earwitness.breakdown import shown

    rows = []
    for part in told.parts:
        judged = part.evaluation
        numbers = [_percent(judged), _plain(judged, "min_dcf"), _plain(judged, "auc")]
        rows.append([*map(shown, part.values), f"{part.n_bonafide:,}", f"{part.n_spoof:,}", *numbers])
    columns = (*told.columns, "bonafide", "spoof", "EER, %", "minDCF", "AUC")
    print_table(columns, rows)


def _percent(judged: "Evaluation | None") -> str:
    if judged is None:
        return "–"
    value = f"{100 * judged.values['eer']:.2f}"
    if "eer" not in judged.intervals:
        return value
    low, high = judged.intervals["eer"]
    return f"{value} ({100 * low:.2f} to {100 * high:.2f})"


def _plain(judged: "Evaluation | None", name: str) -> str:
    return "–" if judged is None else f"{judged.values[name]:.4f}"


def _print_grid(told: "Breakdown", metric: str) -> None:
    from earwitness.breakdown import shown

    known = next(part.evaluation for part in told.parts if part.evaluation).values
    if metric not in known:
        raise SettingsError(
            f"no {metric!r} here{nearest(metric, known)} There are: {', '.join(known)}."
        )
    rows, across, table = told.grid(metric)
    percent = metric in ("eer", "eer_challenge", "accuracy", "balanced_accuracy")
    scale, digits = (100, 2) if percent else (1, 3)
    lines = [
        [shown(name), *("–" if isnan(value) else f"{scale * value:.{digits}f}" for value in line)]
        for name, line in zip(rows, table.tolist(), strict=True)
    ]
    title = f"{metric}{', %' if percent else ''}: {told.columns[0]} down, {told.columns[1]} across"
    print_table(["", *map(shown, across)], lines, title=title)


def _short(path: str, among: Sequence[Path]) -> str:
    """The file's name, with its folder where another has the same."""
    names = [one.name for one in among]
    return path if names.count(Path(path).name) > 1 else Path(path).name


def _pair_row(pair: "Pair", name: str, paths: Sequence[Path]) -> list[str]:
    scale, digits = (100, 2) if name == "eer" else (1, 4)
    first, other = (f"{scale * value:.{digits}f}" for value in pair.values[name])
    one = pair.difference[name]
    told = f"{scale * one.value:+.{digits}f}"
    reach = f" ({scale * one.low:+.{digits}f} to {scale * one.high:+.{digits}f})"
    label = "EER, %" if name == "eer" else name
    p = f"{pair.corrected_p[name]:.3f}"
    return [_short(pair.other, paths), label, first, other, told + reach, p, pair.verdict(name)]


def as_csv(judged: "Evaluation", parts: Sequence["Breakdown"]) -> str:
    """All trials, then a line for each part of each breakdown."""
    rows: list[dict[str, Any]] = [{"by": "", "value": "", **judged.to_dict()}]
    for one in parts:
        for part in one.parts:
            told = part.to_dict()
            rows.append({"by": ",".join(one.columns), "value": ",".join(told.pop("values")), **told})
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def print_pairs(
    pairs: "Sequence[Pair]", first: str, paths: Sequence[Path], parts: Mapping[str, Any]
) -> None:
    """What every system differs by from the first, and EERs by column without a test."""
    rows = [_pair_row(pair, name, paths) for pair in pairs for name in pair.difference]
    print_table(("", "metric", "first", "this", "difference", "p", "this one is"), rows)
    typer.echo(
        f"first: {first}; 95 % intervals and p by {pairs[0].unit}, p after Holm over the systems "
        "(not over the metrics)"
    )
    names = [_short(str(path), paths) for path in paths]
    for one, lines in parts.items():
        cells = [
            [value, *(f"{100 * rate:.2f}" for rate in rates), f"{100 * (rates[-1] - rates[0]):+.2f}"]
            for value, rates in lines
        ]
        print_table((one, *names, "last - first"), cells, title="EER, %, without a test")


def print_review(heard: "Reviewed") -> None:
    """Fakes found at shares of the budget, beside chance and the oracle."""
    numbers = heard.to_dict()
    names = {"recall_at": "this system", "random_at": "in any order", "oracle_at": "fakes alone"}
    rows = [
        [name, *(f"{100 * share:.1f}" for share in numbers[key].values())]
        for key, name in names.items()
    ]
    heads = [f"{100 * float(share):g} % heard" for share in numbers["recall_at"]]
    digits = 2 if heard.unit == "hours" else 0
    title = f"of {heard.curve.total:,.{digits}f} {heard.unit}"
    print_table(("fakes found, %", *heads), rows, title=title)
    told = (
        f"{100 * float(r):g} %: {budget:,.{digits}f}" for r, budget in numbers["budget_for"].items()
    )
    typer.echo(f"{heard.unit} to find " + ", ".join(told))
