"""Choose, merge, learn, judge on the domain that was left out: each rule, rate and seed of a TOML file.

    python scripts/selection_runs.py PIPELINE.toml RUNS.csv --root CORPUS --work FOLDER

One row a run is added to ``runs.csv``; rows that are there are not run again, so the same command goes
on where it was stopped. ``--work`` keeps the choosers' embeddings and the frames. Equal steps: as many
as all clips take in the file's epochs; equal epochs: as many epochs as all clips get.
"""

import argparse
import csv
import itertools
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from earwitness import Detector
from earwitness.corpora import CORPORA
from earwitness.detector import Windows
from earwitness.frame_cache import FrameCache
from earwitness.metrics.average_precision import average_precision
from earwitness.metrics.eer import eer
from earwitness.scoring import hear_manifest, score
from earwitness.selection import select
from earwitness.settings import read_assignments
from earwitness.strategies.naive import Naive
from earwitness.streams import Stream, Task
from earwitness.training import Training, learn, one_thread
from earwitness.trials import Manifest

KEYS = ("chooser", "seed", "target", "rule", "rate", "equal")
COLUMNS = (
    *KEYS,
    "clips",
    "generators",
    "of_generators",
    "steps",
    "eer",
    "average_precision",
    "seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    settings = tomllib.loads(asked.settings.read_text(encoding="utf-8"))
    settings |= read_assignments(asked.overrides, "chooser=resnet-medium")
    parts = CORPORA.get("manifest")(asked.root, **settings["corpus"])
    with one_thread():
        for row in rows(settings, parts, asked.work, done(asked.out)):
            append(asked.out, row)
            print(*row.values(), file=sys.stderr)


def done(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with open(path, encoding="utf-8", newline="") as file:
        return {tuple(row[key] for key in KEYS) for row in csv.DictReader(file)}


def append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def rows(
    settings: dict[str, Any], parts: dict[str, Manifest], work: Path, known: set[tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    ways = [("all", "1"), *((rule, str(r)) for r in settings["rates"] for rule in settings["rules"])]
    for seed, (rule, rate), equal in itertools.product(settings["seeds"], ways, ("steps", "epochs")):
        if rule == "all" and equal == "epochs":  # the same run
            continue
        for target in settings["domains"]:
            key = (settings["chooser"], str(seed), target, rule, rate, equal)
            if key in known:
                continue
            start = time.monotonic()
            chosen, of = merged(settings, parts, work, seed, target, rule, float(rate))
            found = judged(
                settings, parts, work, seed, target, chosen, of if equal == "steps" else None
            )
            own = {t.attack for t in chosen if t.label == "spoof"}
            there = {t.attack for t in parts["train"] if t.label == "spoof" and t.domain != target}
            yield {
                **dict(zip(KEYS, key, strict=True)), "clips": len(chosen), "generators": len(own),
                "of_generators": len(there), **found, "seconds": round(time.monotonic() - start, 1),
            }  # fmt: skip


def merged(
    settings: dict[str, Any], parts: dict[str, Manifest], work: Path, seed: int, target: str, rule: str,
    rate: float,
) -> tuple[Manifest, int]:  # fmt: skip
    """What the other domains' choosers chose, as one list, and how many clips there were in all."""
    chosen, total = [], 0
    for domain in settings["domains"]:
        if domain == target:
            continue
        train = parts["train"].where(lambda t, d=domain: t.domain == d)
        total += len(train)
        if rule == "all":
            chosen += list(train)
            continue
        embeddings, scores = heard(settings, parts, work, seed, domain)
        signs = np.array([1.0 if t.label == "bonafide" else -1.0 for t in train])
        selection = select(
            embeddings, [t.label for t in train], [t.id for t in train],
            generators=[t.attack for t in train], margins=signs * scores, rule=rule, rate=rate,
            gate=rule != "random", seed=seed,
        )  # fmt: skip
        chosen += [train.trials[place] for place in selection.places]
    return Manifest("chosen", chosen, root=parts["train"].root), total


def heard(
    settings: dict[str, Any], parts: dict[str, Manifest], work: Path, seed: int, domain: str
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and scores of a domain's training clips by its own detector; kept in ``work``."""
    path = work / f"{settings['chooser']}-{domain}-{seed}.npz"
    train = parts["train"].where(lambda t: t.domain == domain)
    if not path.exists():
        detector = Detector.build(
            {"name": "lfcc"}, settings["choosers"][settings["chooser"]], seed=seed,
            windows=Windows(**settings["windows"]),
        )  # fmt: skip
        trained(settings, detector, work, train, parts, domain, seed, settings["chooser_training"])
        found = hear_manifest(detector, train)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, embeddings=found.embeddings, scores=found.scores)
    kept = np.load(path)
    return kept["embeddings"], kept["scores"]


def judged(
    settings: dict[str, Any], parts: dict[str, Manifest], work: Path, seed: int, target: str,
    chosen: Manifest, of: int | None,
) -> dict[str, Any]:  # fmt: skip
    """Learn from the chosen clips, and be judged on the domain that was left out."""
    detector = Detector.build(
        settings["learner"]["front_end"], settings["learner"]["back_end"], seed=seed,
        windows=Windows(**settings["windows"]),
    )  # fmt: skip
    training = dict(settings["learner_training"])
    batch = training["batch_size"]
    if of is not None:
        steps = training["epochs"] * -(-of // batch)
        training["epochs"] = max(1, round(steps / -(-len(chosen) // batch)))
    steps = trained(settings, detector, work, chosen, parts, target, seed, training)
    test = parts["test"].where(lambda t: t.domain == target)
    scores = score(detector, test)
    return {
        "steps": steps,
        "eer": repr(float(eer(scores.bonafide, scores.spoof))),
        "average_precision": repr(float(average_precision(scores.bonafide, scores.spoof))),
    }


def trained(
    settings: dict[str, Any], detector: Detector, work: Path, train: Manifest,
    parts: dict[str, Manifest],
    domain: str, seed: int, training: dict[str, Any],
) -> int:  # fmt: skip
    """Train in place; the last epoch stands, so dev and test play no part. Gives the steps."""
    detector.cache = FrameCache(work / "frames", detector.front_end)
    dev, test = (parts[p].where(lambda t: t.domain == domain) for p in ("dev", "test"))
    task = Task("chosen", train, dev, test)
    how = Training(**training, seconds=settings["windows"]["seconds"], crops="windows")
    last = {"step": -1}

    def note(record: dict[str, Any]) -> None:
        last.update(step=record["step"])

    for _ in learn(detector, Naive(), Stream([task]), training=how, seed=seed, on_step=note):
        pass
    return int(last["step"]) + 1


if __name__ == "__main__":
    main()
