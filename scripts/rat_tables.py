"""The tables and figures of docs/results/rat.md, from the run folders of experiments/rat.toml.

    python scripts/rat_tables.py RUNS docs/results/rat

RUNS holds ``final-VARIANT-SEED``, a run folder each. Writes ``variants.csv`` (a line a variant and
seed), ``grid.csv`` (a line a seed and reference), ``diagnosis.csv`` and two figures, and prints the
tables. Intervals are Student's over seeds; differences are paired by seed.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from earwitness.detector import Detector
from earwitness.evaluation import evaluate, mean_interval, paired_difference
from earwitness.experiment import Experiment
from earwitness.figures.style import BONAFIDE, INK, styled, to_png
from earwitness.reference_grid import GRID, diagnose, reference_grid
from earwitness.references import find_references
from earwitness.runs import RunFolder

VARIANTS = ("rat", "selfattn", "zeroref", "baseline")
SEEDS = range(5)


def run_of(runs: Path, variant: str, seed: int):
    (one,) = RunFolder(runs / f"final-{variant}-{seed}").runs()
    return one


def trials_of(runs: Path, root: Path):
    """The task whose trials all have a reference among each other."""
    settings = runs / "final-rat-0" / "experiment.toml"
    return Experiment.read(settings, [f"stream.root={root}"]).stream()[0]


def judge_variants(runs: Path, root: Path) -> list[dict]:
    rows, task = [], trials_of(runs, root)
    for variant in VARIANTS:
        for seed in SEEDS:
            told = {"variant": variant, "seed": seed}
            for split in ("dev", "test"):
                kept = {trial.id for trial in getattr(task, split)}
                scores = run_of(runs, variant, seed).scores(0, 0, split)
                scores = scores.take(np.array([name in kept for name in scores.ids]))
                values = evaluate(scores, intervals=False).values
                told |= {f"{split}_{name}": values[name] for name in ("eer", "min_dcf", "auc")}
            rows.append(told)
    return rows


def judge_references(runs: Path, root: Path) -> tuple[list[dict], list[dict]]:
    """Every way to hear references, and the diagnostics, of the five RAT detectors on test."""
    grid, found, test = [], [], trials_of(runs, root).test
    for seed in SEEDS:
        one = run_of(runs, "rat", seed)
        detector, references = Detector.load(one.path / "detector"), find_references(test)
        for heard in reference_grid(detector, test, references, GRID, draws=1, unit="trial"):
            values = heard.judged.values
            grid.append(
                {"seed": seed, "way": heard.way, "eer": values["eer"], "min_dcf": values["min_dcf"]}
            )
        found.append({"seed": seed, **diagnose(detector, test, references).summary()})
        print(f"seed {seed}: done", flush=True)
    return grid, found


def write(path: Path, rows: Iterable[Mapping]) -> None:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    words = ("variant", "way")
    return [{k: v if k in words else float(v) for k, v in row.items()} for row in rows]


def columns(rows: Iterable[Mapping], by: str, value: str) -> dict[str, list[float]]:
    found = defaultdict(list)
    for row in rows:
        found[row[by]].append(row[value])
    return dict(found)


def told(values: list[float], scale: float = 100) -> str:
    mean, low, high = (scale * v for v in mean_interval(values))
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def against(values: list[float], first: list[float]) -> str:
    mean, low, high = (100 * v for v in paired_difference(values, first))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


@styled
def picture(groups: Mapping[str, list[float]], label: str) -> Figure:
    """A dot a seed and the mean of each."""
    figure = Figure(figsize=(6.4, 1.1 + 0.36 * len(groups)), layout="constrained")
    panel = figure.subplots()
    for place, values in enumerate(groups.values()):
        panel.scatter(
            100 * np.array(values), [place] * len(values), s=18, color=INK, alpha=0.45, linewidths=0
        )
        panel.scatter([100 * np.mean(values)], [place], s=42, color=BONAFIDE, zorder=3)
    panel.set_yticks(range(len(groups)), list(groups))
    panel.set_ylim(len(groups) - 0.5, -0.5)
    panel.set(xlabel=label)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--root", type=Path, default=Path(), help="where the corpus lies")
    parser.add_argument("--from-csv", action="store_true", help="only draw and print again")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.from_csv:
        rows, grid, found = (
            read(asked.out / f"{name}.csv") for name in ("variants", "grid", "diagnosis")
        )
    else:
        rows = judge_variants(asked.runs, asked.root.resolve())
        grid, found = judge_references(asked.runs, asked.root.resolve())
        for name, told_of in (("variants", rows), ("grid", grid), ("diagnosis", found)):
            write(asked.out / f"{name}.csv", told_of)
    test = columns(rows, "variant", "test_eer")
    print("| variant | dev EER, % | test EER, % | minus baseline | minus zeroref | test minDCF |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, values in test.items():
        dev = told(columns(rows, "variant", "dev_eer")[name])
        cost = told(columns(rows, "variant", "test_min_dcf")[name], 1)
        pairs = [
            against(values, test[other]) if name != other else "" for other in ("baseline", "zeroref")
        ]
        print(f"| {name} | {dev} | {told(values)} | {' | '.join(pairs)} | {cost} |")
    ways = columns(grid, "way", "eer")
    print("\n| reference | test EER, % | minus real |\n| --- | --- | --- |")
    for name, values in ways.items():
        print(
            f"| {name} | {told(values)} | {against(values, ways['real']) if name != 'real' else ''} |"
        )
    print("\n| diagnostic | mean over seeds |\n| --- | --- |")
    for name in found[0]:
        if name != "seed":
            print(f"| {name} | {told([one[name] for one in found], 1)} |")
    to_png(picture(test, "test EER, %; dots are seeds"), asked.out / "variants.png")
    to_png(picture(ways, "test EER of RAT, %; dots are seeds"), asked.out / "grid.png")


if __name__ == "__main__":
    main()
