"""What a strategy costs: seconds an epoch of the small ResNet, beside naive, in one run.

    python benchmarks/training.py [--strategies rwm owm rawm] [--json FILE]

Random clips of 2 s stand for audio (the arithmetic doesn't care), batch 32, one thread. Two tasks
are learned; only epochs of the second count, because strategies act from there on. Rounds alternate
between the strategies so that a machine that slows down slows all of them; the median is printed.
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


def epoch_seconds(strategy: str, stream: Stream, epochs: int) -> list[float]:
    """Seconds of each epoch of the second task but the first, from the times of its steps."""
    stamps: dict[int, list[float]] = {}

    def note(record: dict) -> None:
        if record["task"] == "two":
            stamps.setdefault(record["epoch"], []).append(time.perf_counter())

    detector = Detector.build({"name": "lfcc", "normalise": "mean"}, {"name": "resnet", "width": 8})
    training = Training(epochs=epochs, seconds=2.0, learning_rate=0.01, checkpoint_every=10**6)
    list(learn(detector, STRATEGIES.build(strategy), stream, training=training, on_step=note))
    ends = [times[-1] for _, times in sorted(stamps.items())]
    return [b - a for a, b in zip(ends, ends[1:], strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strategies", nargs="+", default=["owm", "rawm", "rwm"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = ["naive", *arguments.strategies]
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as root:
        stream = make_stream(Path(root))
        for _ in range(arguments.rounds):
            for name in names:
                times[name] += epoch_seconds(name, stream, 4)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(
            f"{name:8} {value:.3f} s an epoch of {CLIPS} clips, {value / medians['naive']:.2f} x naive"
        )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
