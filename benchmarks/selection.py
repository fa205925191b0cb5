"""How long each selection rule takes, and in how much memory.

    python benchmarks/selection.py [--clips 1000000] [--precision float16] [--rate 0.01]

Made-up embeddings, one clip in ten bonafide and the others of ten generators, lie in a file in a
temporary folder. Every rule runs in a process of its own, so that the peak of resident memory is its:
interpreter, libraries, ids and labels are in it. The file is in the page cache where there is room.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from earwitness.selection import SELECTORS, select

_CHUNK = 10_000
_GENERATORS = 10
_BY_SILHOUETTE = ", silhouette"
_SETTINGS: dict[str, dict] = {
    "herding": {"candidates": 5_000},  # of all clips it would read the whole file once a clip
    "kmeans-nearest" + _BY_SILHOUETTE: {"clusters": "silhouette"},
}


def make(path: Path, clips: int, dimensions: int, precision: str) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 0.3, (_GENERATORS + 1, dimensions)).astype(np.float32)
    header = {"descr": np.dtype(precision).str, "fortran_order": False, "shape": (clips, dimensions)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, clips, _CHUNK):
            here = np.arange(start, min(start + _CHUNK, clips))
            noise = rng.standard_normal((len(here), dimensions), dtype=np.float32)
            file.write((centres[generator_of(here)] + noise).astype(precision).tobytes())


def generator_of(clips: np.ndarray) -> np.ndarray:
    """0 for bonafide; the others by turns, the last ones rarer."""
    return np.where(clips % 10 == 0, 0, 1 + (clips // 10 * 9 + clips % 10) ** 2 % 97 % _GENERATORS)


def run(path: Path, rule: str, rate: float) -> None:
    embeddings = np.load(path, mmap_mode="r")
    of = generator_of(np.arange(len(embeddings)))
    names = ["-", *(f"A{n:02}" for n in range(1, _GENERATORS + 1))]
    generators = [names[n] for n in of.tolist()]
    labels = ["bonafide" if name == "-" else "spoof" for name in generators]
    ids = [f"clip-{n:07}" for n in range(len(embeddings))]
    margins = np.random.default_rng(1).normal(1, 1, len(ids)) if rule == "margin" else None
    start, cpu = time.perf_counter(), time.process_time()
    chosen = select(
        embeddings,
        labels,
        ids,
        generators=generators,
        margins=margins,
        rule=rule.removesuffix(_BY_SILHOUETTE),
        rate=rate,
        **_SETTINGS.get(rule, {}),
    )
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    print(json.dumps({"rule": rule, "clips": len(chosen), "seconds": took, "cpu": cpu, "mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=1024)
    parser.add_argument("--precision", choices=("float16", "float32"), default="float32")
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--rules", nargs="+", default=sorted({*SELECTORS.table, *_SETTINGS}))
    parser.add_argument("--one", nargs=2, metavar=("FILE", "RULE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        run(Path(asked.one[0]), asked.one[1], asked.rate)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        make(path, asked.clips, asked.dimensions, asked.precision)
        size = f"{asked.clips:,} x {asked.dimensions} {asked.precision}"
        print(f"{size}, rate {asked.rate:g}\n\n| rule | selected | s | CPU s | peak, MiB |")
        print("| --- | --- | --- | --- | --- |")
        for rule in asked.rules:
            command = [sys.executable, __file__, "--rate", str(asked.rate), "--one", str(path), rule]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            told = json.loads(done.stdout)
            cells = f"{told['clips']:,} | {told['seconds']:.1f} | {told['cpu']:.1f} | {told['mib']:.0f}"
            print(f"| {rule} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
