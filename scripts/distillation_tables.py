"""What students of a teacher came to: a row for each run, and docs/results/distillation.md's tables.

    python scripts/distillation_tables.py RUNS TEACHER docs/results/distillation.md --root CORPUS

RUNS holds a run folder for each size, TEACHER is a run folder. Rows go into ``distillation/runs.csv``
beside the page; those that are there are not measured again. A cell is a mean over seeds with its
interval (Student, 95 %); differences are paired by seed. Collapse is of training clips (their first
window).
"""

import argparse
import csv
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t

from earwitness import Detector, RunFolder
from earwitness.batches import Clips
from earwitness.corpora import CORPORA
from earwitness.metrics.eer import eer
from earwitness.runs import Run
from earwitness.scoring import score
from earwitness.tracking import measure_collapse
from earwitness.training import one_thread
from earwitness.trials import Manifest

LEFT_OUT = "neural_tts"
BEGIN, END = "<!-- students -->", "<!-- /students -->"
COLUMNS = ("size", "method", "seed", "weights", "milliseconds", "own", "other", "nc1", "nc3", "nc4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("runs", "teacher", "page"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--root", type=Path, required=True)
    asked = parser.parse_args()
    parts = CORPORA.get("manifest")(asked.root, columns={"attack": "generator"})
    table = asked.page.with_suffix("") / "runs.csv"
    with one_thread():
        measure(asked.runs, asked.teacher, parts, table)
    with open(table, encoding="utf-8", newline="") as file:
        lines = tables(list(csv.DictReader(file)))
    text = asked.page.read_text(encoding="utf-8")
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    asked.page.write_text(text[:before] + "\n\n" + "\n".join(lines) + text[after:], encoding="utf-8")


def measure(runs: Path, teacher: Path, parts: dict[str, Manifest], table: Path) -> None:
    known = set()
    if table.exists():
        with open(table, encoding="utf-8", newline="") as file:
            known = {(row["size"], row["method"], row["seed"]) for row in csv.DictReader(file)}
    table.parent.mkdir(parents=True, exist_ok=True)
    with open(table, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not known:
            writer.writeheader()
        for size, folder in [("teacher", teacher), *((p.name, p) for p in sorted(runs.iterdir()))]:
            for run in RunFolder(folder).finished():
                if (size, run.label, str(run.seed)) not in known:
                    writer.writerow({"size": size, **measured(run, parts)})
                    file.flush()
                    print(size, run.label, run.seed, file=sys.stderr)


def measured(run: Run, parts: dict[str, Manifest]) -> dict[str, Any]:
    detector = Detector.load(run.path / "detector")
    own = run.scores(after=0, on=0, split="test")
    other = score(detector, parts["test"].where(lambda trial: trial.domain == LEFT_OUT))
    learned = parts["train"].where(lambda trial: trial.domain != LEFT_OUT)
    collapse = measure_collapse(detector, Clips(learned, seconds=detector.windows.seconds))
    return {
        "method": run.label,
        "seed": run.seed,
        "weights": sum(p.numel() for p in detector.parameters()),
        "milliseconds": round(latency(detector), 1),
        "own": error(own),
        "other": error(other),
        **{name: collapse[name] for name in ("nc1", "nc3", "nc4")},
    }


def error(scores: Any) -> float:
    labels, values = np.array(scores.labels), np.asarray(scores.values)
    return eer(values[labels == "bonafide"], values[labels == "spoof"])


@torch.no_grad()
def latency(detector: Detector) -> float:
    """CPU milliseconds of one window, the least of 20."""
    wave, took = torch.randn(1, round(16000 * detector.windows.seconds)), []
    for _ in range(20):
        start = time.process_time()
        detector.eval()(wave)
        took.append(time.process_time() - start)
    return 1000 * min(took)


def tables(rows: list[dict[str, str]]) -> list[str]:
    teacher = next(row for row in rows if row["size"] == "teacher")
    weights, milliseconds = int(teacher["weights"]), float(teacher["milliseconds"])
    own, other = 100 * float(teacher["own"]), 100 * float(teacher["other"])
    lines = [
        f"The teacher ({weights:,} weights, {milliseconds:.0f} ms a window): EER {own:.1f} % on its "
        f"own domains, {other:.1f} % on {LEFT_OUT}; NC1 {float(teacher['nc1']):.3f}.",
        "",
    ]
    sizes = sorted({row["size"] for row in rows if row["size"] != "teacher"}, key=int, reverse=True)
    for size in sizes:
        lines += [*of_size(size, [row for row in rows if row["size"] == size]), ""]
    return lines


def of_size(size: str, rows: list[dict[str, str]]) -> list[str]:
    by_method: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for row in rows:
        by_method[row["method"]][row["seed"]] = row
    seeds = sorted(set.intersection(*(set(one) for one in by_method.values())))
    least = min(float(row["milliseconds"]) for row in rows)
    lines = [
        f"### Width {size}: {int(rows[0]['weights']):,} weights, {least:.0f} ms a window",
        "",
        f"{len(seeds)} seeds.",
        "",
        "| method | own domains, EER % | minus ce | neural_tts, EER % | minus ce | NC1 | NC4 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, own in by_method.items():
        cells = [method]
        for name in ("own", "other"):
            values, plain = (column(one, seeds, name) for one in (own, by_method["ce"]))
            cells += [told(values), told(values - plain, "+") if method != "ce" else ""]
        cells += [f"{column(own, seeds, name).mean() / 100:.3f}" for name in ("nc1", "nc4")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def column(own: dict[str, dict[str, str]], seeds: list[str], name: str) -> np.ndarray:
    return 100 * np.array([float(own[seed][name]) for seed in seeds])


def told(numbers: np.ndarray, sign: str = "") -> str:
    if len(numbers) < 2:
        return f"{numbers.mean():{sign}.1f}"
    half = t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers))
    low, mean, high = (f"{numbers.mean() + by:{sign}.1f}" for by in (-half, 0.0, half))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
