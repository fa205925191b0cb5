"""Collapse metrics: seconds for a million clips, and memory beside the embeddings.

    python benchmarks/collapse.py [--dims 1024 4096] [--clips 8192] [--classes 7]

One batch of float32 noise is taken in again and again. CPU seconds, and wall-clock seconds in brackets,
with whatever number of threads the linear algebra has (OMP_NUM_THREADS=1 for one). "peak" is what
Python allocated beside the embeddings; that of merge holds both accumulators while the second takes
clips in. "RSS" is by how much the process grew, with what the linear algebra keeps for itself. Exits
with an error where a peak is over 200 MB.
"""

import argparse
import multiprocessing
import resource
import sys
import time
import tracemalloc

import numpy as np

from earwitness.collapse import CollapseAccumulator, nc1_by_projection, nc4_mismatch

BAR = 200e6
BATCH = 1024


def _rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1e3


def measure(dim: int, clips: int, classes: int) -> bool:
    rng = np.random.default_rng(0)
    h, y = rng.normal(3, 1, (BATCH, dim)).astype(np.float32), rng.integers(0, classes, BATCH)
    h += y[:, None]
    head = rng.normal(size=(classes, dim)), np.zeros(classes)
    batches = max(1, clips // BATCH)
    before = _rss()
    tracemalloc.start()
    took: dict[str, tuple[float, float]] = {}

    def timed(name, call):
        start = time.process_time(), time.perf_counter()
        value = call()
        took[name] = time.process_time() - start[0], time.perf_counter() - start[1]
        return value

    acc, means_only = (
        CollapseAccumulator(classes, dim),
        CollapseAccumulator(classes, dim, scatter=False),
    )
    timed("update", lambda: [acc.update(h, y) for _ in range(batches)])
    found = timed("metrics", lambda: acc.metrics(*head))
    peaks = {"update, metrics": tracemalloc.get_traced_memory()[1]}
    tracemalloc.reset_peak()
    timed("update without scatter", lambda: [means_only.update(h, y) for _ in range(batches)])
    again = ((h, y) for _ in range(batches))
    projected = timed("nc1_by_projection", lambda: nc1_by_projection(again, means_only))
    assert abs(projected["nc1"] / found["nc1"] - 1) < 1e-9
    timed("nc4_mismatch", lambda: [nc4_mismatch(h, acc.means, *head) for _ in range(batches)])
    tracemalloc.reset_peak()
    timed("merge", lambda: acc.merge(CollapseAccumulator(classes, dim).update(h, y)))
    peaks["merge"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    timed("state", acc.state)
    peaks["state"] = tracemalloc.get_traced_memory()[1]
    seen = batches * BATCH
    print(f"D = {dim}, K = {classes}, {seen:,} clips")
    for name, (cpu, wall) in took.items():
        if name in ("metrics", "merge", "state"):
            print(f"  {name:24}{cpu:.2f} s ({wall:.2f} s)")
        else:
            print(f"  {name:24}{1e6 * cpu / seen:.0f} s ({1e6 * wall / seen:.0f} s) a million clips")
    for name, peak in peaks.items():
        print(f"  peak of {name:16}{peak / 1e6:.0f} MB")
    print(f"  RSS                     {(_rss() - before) / 1e6:.0f} MB")
    return max(peaks.values()) < BAR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--clips", type=int, default=8192)
    parser.add_argument("--classes", type=int, default=7)
    asked = parser.parse_args()
    rows = [(dim, asked.clips, asked.classes) for dim in asked.dims]
    # A process for each, since the peak of a process never falls.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        met = pool.starmap(measure, rows, chunksize=1)
    sys.exit(0 if all(met) else "a bar is missed")


if __name__ == "__main__":
    main()
