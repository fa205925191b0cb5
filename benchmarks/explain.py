"""What an explanation costs: seconds of a 10 s clip, and memory of an hour of stereo.

    python benchmarks/explain.py [--hours 1]

Detectors have random weights; loading them is not in the time. Wall clock; OMP_NUM_THREADS=1 for one
thread. Memory is of a process of its own.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from earwitness import Detector, audio
from earwitness.explainers import EXPLAINERS
from earwitness.explanation import explain, page
from earwitness.landmarks import Embedded, Landmarks
from earwitness.trials import CLASSES

_DETECTORS = {
    "logmel, resnet": ("logmel", "resnet"),
    "lfcc, lcnn": ("lfcc", "lcnn"),
    "lfcc, mlp": ("lfcc", "mlp"),
}


def landmarks(detector: Detector) -> Landmarks:
    h = np.random.default_rng(0).normal(size=(2000, detector.back_end.dim))
    labels = [CLASSES[n % 2] for n in range(2000)]
    h[1::2, 0] += 3
    clips = Embedded(h, 1.5 - h[:, 0], labels, [str(n) for n in range(2000)], ["-"] * 2000)
    return Landmarks.fit(clips, clips)


def time_clips(folder: Path) -> None:
    path = folder / "ten.wav"
    audio.write(path, 0.1 * np.random.default_rng(0).normal(size=160_000).clip(-4, 4))
    for name, parts in _DETECTORS.items():
        detector = Detector.build(*parts).eval()
        marks = landmarks(detector)
        for method in ("none", *EXPLAINERS.names()):
            explainer = None if method == "none" else EXPLAINERS.build(method)
            took = []
            for _ in range(3):
                start = time.perf_counter()
                told = explain(detector, marks, path, explainer=explainer)
                middle = time.perf_counter()
                page.render(told)
                took.append((middle - start, time.perf_counter() - middle))
            found, drawn = np.median(took, axis=0)
            print(f"{name}, {method}: {found:.2f} s to find, {drawn:.2f} s to draw")


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def hear_hours(folder: Path, hours: float) -> None:
    path, rng = folder / "long.wav", np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44_100, 2, subtype="PCM_16") as file:
        for _ in range(round(60 * hours)):
            file.write((0.1 * rng.normal(size=(44_100 * 60, 2))).clip(-1, 1))
    detector = Detector.build(*_DETECTORS["logmel, resnet"]).eval()
    before, start = peak(), time.perf_counter()
    page.render(explain(detector, landmarks(detector), path, explainer=EXPLAINERS.build("occlusion")))
    print(
        f"{hours:g} h of stereo at 44.1 kHz, logmel, resnet: {time.perf_counter() - start:.0f} s; "
        f"{before:.0f} MiB before it, {peak():.0f} MiB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.0, help="instead, one long recording")
    asked = parser.parse_args()
    print(f"{torch.get_num_threads()} thread(s)")
    with tempfile.TemporaryDirectory() as name:
        if asked.hours:
            hear_hours(Path(name), asked.hours)
        else:
            time_clips(Path(name))


if __name__ == "__main__":
    main()
