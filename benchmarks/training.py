"""What a strategy costs: seconds an epoch of the small ResNet, beside naive, in one run.

    python benchmarks/training.py [--strategies rwm owm rawm] [--json FILE]

Random clips of 2 s stand for audio (the arithmetic doesn't care), batch 32, one thread. Two tasks
are learned; only the second counts, because strategies act from there on: its epochs and what the
strategy does after it. Rounds alternate between the strategies so that a machine that slows down
slows all of them; the median is printed. Exits with 1 when rwm costs more than 1.25 x naive.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from earwitness import audio
from earwitness.detector import Detector
from earwitness.strategies import STRATEGIES
from earwitness.streams import Stream, Task
from earwitness.training import Training, learn
from earwitness.trials import Manifest, Trial

CLIPS = 160


def make_stream(root: Path) -> Stream:
    rng = np.random.default_rng(0)
    tasks = []
    for task in ("one", "two"):
        parts = []
        for split, count in (("train", CLIPS), ("dev", 2), ("test", 2)):
            trials = []
            for n in range(count):
                label = ("bonafide", "spoof")[n % 2]
                path = f"{task}-{split}-{n}.wav"
                audio.write(root / path, 0.1 * rng.normal(size=32_000).clip(-5, 5).astype(np.float32))
                trials.append(Trial(path, path, label))
            parts.append(Manifest(split, trials, root=root))
        tasks.append(Task(task, *parts))
    return Stream(tasks)


def epoch_seconds(strategy: str, stream: Stream, epochs: int) -> float:
    """Seconds an epoch of the second task, the strategy's work at the task's end included."""
    begun: list[float] = []

    def note(record: dict) -> None:
        if record["task"] == "two":
            begun.append(time.perf_counter())

    detector = Detector.build({"name": "lfcc", "normalise": "mean"}, {"name": "resnet", "width": 8})
    training = Training(epochs=epochs, seconds=2.0, learning_rate=0.01, checkpoint_every=10**6)
    list(learn(detector, STRATEGIES.build(strategy), stream, training=training, on_step=note))
    return (time.perf_counter() - begun[0]) / (epochs - 1 / (len(begun) / epochs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strategies", nargs="+", default=["owm", "rawm", "rwm"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = ["naive", *arguments.strategies]
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as root:
        stream = make_stream(Path(root))
        for _ in range(arguments.rounds):
            for name in names:
                times[name].append(epoch_seconds(name, stream, arguments.epochs))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(
            f"{name:8} {value:.3f} s an epoch of {CLIPS} clips, {value / medians['naive']:.2f} x naive"
        )
    if medians.get("rwm", 0.0) > 1.25 * medians["naive"]:
        raise SystemExit("rwm costs more than 1.25 x naive")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
