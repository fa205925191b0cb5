"""Milliseconds of CPU time a window, of saved and exported detectors: batch 1 and 16, one thread.

    OMP_NUM_THREADS=1 python benchmarks/runtimes.py FOLDER [FOLDER ...]

FOLDERs are detectors, or what ``earwitness export`` made of them; the least of ten, on noise.
"""

import sys
import time

import numpy as np

from earwitness.audio import SAMPLE_RATE
from earwitness.runtimes import open_detector, use_one_thread


def main() -> None:
    print("| detector | ms, batch 1 | ms, batch 16 |")
    print("| --- | --- | --- |")
    rng = np.random.default_rng(0)
    for folder in sys.argv[1:]:
        detector, found = open_detector(folder, threads=1), []
        use_one_thread(detector)
        for batch in (1, 16):
            samples = round(detector.windows.seconds * SAMPLE_RATE)
            rows = (0.1 * rng.normal(size=(batch, samples))).astype(np.float32)
            found.append(min(once(detector, rows) for _ in range(11)) / batch)
        print(f"| {folder} | {found[0]:.2f} | {found[1]:.2f} |", flush=True)


def once(detector, rows) -> float:
    began = time.process_time()
    detector.score_windows(rows)
    return 1000 * (time.process_time() - began)


if __name__ == "__main__":
    main()
