"""What each strategy costs: time of a step over naive, time of a task's end, bytes kept, 100 tasks.

    python benchmarks/strategies.py [--tasks 100] [--markdown]

An MLP 64-400-400-10 on vectors, batches of 64, one thread. Each figure is CPU time: of a step, the
median over the steps of the last of three tasks; of a task, the mean over tasks 11 to 20 and over the
last ten, whose ratio tells whether tasks get dearer. A task's cost may grow with the number of tasks
only where a method's definition says so (joint, cumulative, GEM, RegO), or while its memory fills (BiC
here, whose budget must hold something of a thousand groups).
"""

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from earwitness import Detector, Stream, Training
from earwitness.strategies import STRATEGIES
from earwitness.streams import Task
from earwitness.training import learn
from earwitness.trials import Manifest, Trial

CLASSES = tuple("0123456789")
GROWS = ("joint", "cumulative", "gem", "rego")
SETTINGS = {
    "rwm": {"compact": ("0", "1")},
    "rawm": {"compact": ("0", "1")},
    "rego": {"real": "0"},
    "dfwf": {"positive": "0"},
    "chain": {"parts": ({"name": "replay", "balance": "none"}, {"name": "owm_s"})},
    "replay": {"balance": "none"},
    "gdumb": {"balance": "class"},
    "gdumb_finetune": {"balance": "class"},
    "icarl": {"budget": 2000},
    "bic": {"budget": 20_000},
    "gem": {"per_task": 20},
    "agem": {"per_task": 20},
    "elma": {"experts": 4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(STRATEGIES.table))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        short = make_stream(Path(folder) / "short", tasks=3, clips=640)
        long = make_stream(Path(folder) / "long", tasks=given.tasks, clips=192)
        print("| strategy | ms a step | over naive | s at a task's end | bytes after 3 tasks "
              f"| s a task, tasks 11-20 | last ten of {given.tasks} | ratio |")  # fmt: skip
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        naive = None
        for name in given.only:
            step, end, kept = measure(name, short)
            naive = naive or step
            early, late = many(name, long)
            ratio = late / early
            verdict = "" if ratio < 1.5 else " (by definition)" if name in GROWS else " GROWS"
            print(f"| {name} | {1000 * step:.2f} | {step / naive:.2f} | {end:.2f} | {kept:,} "
                  f"| {early:.3f} | {late:.3f} | {ratio:.2f}{verdict} |", flush=True)  # fmt: skip


def make_stream(folder: Path, *, tasks: int, clips: int) -> Stream:
    rng = np.random.default_rng(0)
    folder.mkdir()

    def part(task: int, split: str, count: int) -> Manifest:
        name = f"{task}-{split}"
        labels = rng.integers(0, 10, count)
        centres = np.random.default_rng(task).normal(size=(10, 64))
        rows = centres[labels] + rng.normal(size=(count, 64))
        np.save(folder / f"{name}.npy", rows.astype(np.float32))
        trials = (
            Trial(f"{name}-{i}", f"{name}.npy", str(label), tags={"row": str(i)})
            for i, label in enumerate(labels)
        )
        return Manifest(name, trials, root=folder, classes=CLASSES)

    sizes = (("train", clips), ("dev", 10), ("test", 10))
    return Stream(Task(f"t{t}", *(part(t, s, n) for s, n in sizes)) for t in range(tasks))


def begin(name: str, stream: Stream, epochs: int, on_step=lambda record: None):
    back_end = {"name": "mlp", "hidden": (400, 400), "pooling": "mean"}
    detector = Detector.build({"name": "vectors", "dim": 64}, back_end, classes=CLASSES)
    training = Training(epochs=epochs, batch_size=64, learning_rate=0.01, log_every=10**9)
    strategy = STRATEGIES.build(name, **SETTINGS.get(name, {}))
    return strategy, learn(detector, strategy, stream, training=training, on_step=on_step)


def measure(name: str, stream: Stream) -> tuple[float, float, int]:
    """Seconds of a step, of what follows the last step of the task, and bytes kept."""
    stamps: list[float] = []
    strategy, learning = begin(name, stream, 4, lambda record: stamps.append(time.process_time()))
    for done in learning:
        ended = time.process_time()
        steps = [b - a for a, b in zip(stamps, stamps[1:], strict=False)]
        last = ended - stamps[-1] if stamps else 0.0
        if done.position == 2:
            break
        if done.position < 2:
            stamps.clear()
    return statistics.median(steps) if steps else 0.0, last, strategy.storage().bytes


def many(name: str, stream: Stream) -> tuple[float, float]:
    """Seconds a task, early and late."""
    seconds, start = [], time.process_time()
    for _ in begin(name, stream, 1)[1]:
        seconds.append(time.process_time() - start)
        start = time.process_time()
    return statistics.mean(seconds[10:20]), statistics.mean(seconds[-10:])


if __name__ == "__main__":
    main()
