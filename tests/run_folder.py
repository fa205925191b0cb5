"""Writes a believable run folder without training anything: Gaussian scores and made-up logs."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from earwitness.files import append_line, write_json
from earwitness.runs import Run, RunFolder, plan_runs
from earwitness.scores import Scores

TASKS = ("classical_tts", "dsp_vocoder", "neural_tts", "voice_conversion")
STRATEGIES = ("naive", "replay", "rwm")
SEEDS = (1, 2)
# How much of the separation of a learned task is left after each further task.
_KEPT = {"naive": 0.45, "replay": 0.9, "rwm": 0.75}


def write_run_folder(
    path: Path,
    *,
    tasks: Sequence[str] = TASKS,
    strategies: Sequence[str] = STRATEGIES,
    seeds: Sequence[int] = SEEDS,
    trials: int = 97,
    with_logs: bool = True,
    stand_in: bool = True,
    name: str = "toy run",
) -> RunFolder:
    """Write the folder and return it; ``trials`` of each class in every score file."""
    runs = [
        Run(path / label / f"seed-{seed}", label, seed, tuple(tasks))
        for label in strategies
        for seed in seeds
    ]
    for position, run in enumerate(runs):
        _write_scores(run, np.random.default_rng([run.seed, position]), trials)
        _write_settings(run)
        if with_logs:
            _write_logs(run, np.random.default_rng(run.seed))
        write_json(run.path / "done.json", {"tasks": len(tasks)})
    write_json(
        path / "provenance.json",
        _provenance(name, tasks, strategies=strategies, seeds=seeds, trials=trials, stand_in=stand_in),
    )
    return RunFolder(path)


def separation(label: str, after: int, on: int) -> float:
    """Distance of the two classes' means, in standard deviations."""
    if on > after:
        return 0.4
    return 0.4 + 2.6 * _KEPT.get(label, 0.6) ** (after - on)


def _write_scores(run: Run, rng: np.random.Generator, trials: int) -> None:
    for split in ("dev", "test"):
        for after in range(-1, len(run.tasks)):
            for on in range(len(run.tasks)):
                shift = separation(run.label, after, on)
                values = np.concatenate([rng.normal(shift, 1, trials), rng.normal(0, 1, trials)])
                ids = [f"{run.tasks[on]}-{i:04d}" for i in range(2 * trials)]
                labels = ["bonafide"] * trials + ["spoof"] * trials
                file = run.score_file(after, on, split)
                Scores(ids, values, labels).write(file)


def _write_settings(run: Run) -> None:
    settings = {
        "strategy": {"name": run.label.split("-")[0], "strength": 1.0},
        "detector": {"front_end": {"name": "lfcc"}, "back_end": {"name": "pooled_mlp"}},
        "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.001},
        "seed": run.seed,
    }
    write_json(run.path / "settings.json", settings)


def _write_logs(run: Run, rng: np.random.Generator) -> None:
    keeps = run.label == "replay"
    for position, task in enumerate(run.tasks, start=1):
        kept = {
            "bytes": 36_864 * (run.label == "rwm"),
            "clips": 40 * position * keeps,
            "keeps_audio": keeps,
        }
        write_json(run.path / "storage" / f"{position}.json", kept)
        append_line(run.path / "seconds.jsonl", {"task": task, "seconds": 2.5})
    for count, (task, epoch) in enumerate(_passes(run.tasks, epochs=2, batches=8)):
        step = count % 16
        loss = 0.7 * float(np.exp(-0.15 * step)) + 0.05 * float(rng.random())
        record = {"task": task, "epoch": epoch, "step": step, "loss": loss, "learning_rate": 1e-3}
        append_line(run.path / "steps.jsonl", record)
        if run.label == "rwm" and step % 4 == 0 and task != run.tasks[0]:
            for depth, layer in enumerate(("back_end.hidden", "back_end.head")):
                fading = float(np.exp(-count / 40)) / (1 + depth)
                proof = {
                    "gradient_ratio": 0.3 + 0.6 * fading,
                    "old_input_ratio": 0.2 * fading,
                    "beta": 0.4 + 0.1 * depth,
                    "rank_energy": 0.5 * (1 - fading),
                }
                place = {"task": task, "step": step, "layer": layer}
                append_line(run.path / "action.jsonl", place | proof)


def _passes(tasks: Iterable[str], *, epochs: int, batches: int) -> Iterable[tuple[str, int]]:
    return ((t, epoch) for t in tasks for epoch in range(epochs) for _ in range(batches))


def _provenance(
    name: str,
    tasks: Sequence[str],
    *,
    strategies: Sequence[str],
    seeds: Sequence[int],
    trials: int,
    stand_in: bool,
) -> dict[str, object]:
    return {
        "name": name,
        "tasks": list(tasks),
        "strategies": list(strategies),
        "seeds": list(seeds),
        "metric": "eer",
        "split": "test",
        "stand_in": stand_in,
        "versions": {"earwitness": "0.1.0", "python": "3.11.9", "numpy": np.__version__},
        "commit": "0123456789abcdef",
        "machine": {"system": "Linux", "processor": "x86_64", "cores": 2},
        "command": "earwitness run toy.toml --out runs/toy",
        "created": "2025-01-01T00:00:00+00:00",
        "manifests": {task: _splits(task, trials) for task in tasks},
        "selection": "No setting was chosen by looking at test scores.",
    }


def _splits(task: str, trials: int) -> dict[str, object]:
    return {
        split: {
            "fingerprint": hashlib.sha256(f"{task}/{split}".encode()).hexdigest(),
            "bonafide": trials,
            "spoof": trials,
        }
        for split in ("train", "dev", "test")
    }


def write_levels(
    path: Path,
    levels: Mapping[tuple[str, int, int], ArrayLike | None],
    *,
    orders: Sequence[Sequence[str]],
    metric: str = "eer",
    trials: int = 20,
    names: Mapping[str, str] | None = None,
    stores: Mapping[str, tuple[int, int, bool]] | None = None,
    seconds: Mapping[str, float] | None = None,
    name: str = "levels",
) -> RunFolder:
    """A run folder whose task matrices are the given ones.

    ``levels[label, seed, order]`` (orders from 1) is ``(1 + tasks, tasks)``, the untrained row first,
    in the order of learning; multiples of 1 / ``trials``. None: planned and not finished. ``names`` are
    the strategies behind labels, ``stores`` (bytes, clips, keeps audio), ``seconds`` those of a task.
    """
    labels, seeds = (list(dict.fromkeys(key[i] for key in levels)) for i in (0, 1))
    runs = {
        (run.label, run.seed, run.order + 1): run
        for run in plan_runs(path, labels, seeds, orders, metric=metric)
    }
    write_json(path / "provenance.json", {
        **_provenance(name, orders[0], strategies=labels, seeds=seeds, trials=trials, stand_in=True),
        "orders": [list(order) for order in orders], "metric": metric,
    })  # fmt: skip
    for key, matrix in levels.items():
        if matrix is None:
            continue
        run = runs[key]
        for after, row in enumerate(np.asarray(matrix, dtype=float), start=-1):
            for on, level in enumerate(row):
                _write_level(run.score_file(after, on), round(level * trials), trials, metric)
        label = run.label
        strategy = {"name": (names or {}).get(label, label), "strength": 1.0}
        write_json(run.path / "settings.json", {"strategy": strategy, "seed": run.seed})
        if label in (stores or {}):
            kept = dict(zip(("bytes", "clips", "keeps_audio"), stores[label], strict=True))
            write_json(run.path / "storage" / f"{len(run.tasks)}.json", kept)
        for task in run.tasks if label in (seconds or {}) else ():
            append_line(run.path / "seconds.jsonl", {"task": task, "seconds": seconds[label]})
        (run.path / "done.json").write_text("{}")
    return RunFolder(path)


def _write_level(file: Path, count: int, trials: int, metric: str) -> None:
    """``count`` of ``trials``: errors of either class for an EER, right decisions for an accuracy."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if metric == "eer":
        # The threshold 1 rejects the bonafide at 0 and accepts the spoofs at 1: as many of both.
        bonafide = [0.0] * count + [2.0] * (trials - count)
        spoof = [1.0] * count + [-1.0] * (trials - count)
        rows = [f"b{i},{v},bonafide" for i, v in enumerate(bonafide)]
        rows += [f"s{i},{v},spoof" for i, v in enumerate(spoof)]
        file.write_text("\n".join(["file_name,score,label", *rows]) + "\n")
    else:
        rows = [f"c{i},x,{int(i < count)},0.5,0.25" for i in range(trials)]
        file.write_text("\n".join(["file_name,label,x,y,z", *rows]) + "\n")
