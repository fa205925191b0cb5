"""An archive of real clips to a score file, beside the field's usual script with the same network.

    python benchmarks/archive.py DETECTOR CLIPS [--many 1000 10000 100000]

``CLIPS`` is a folder of recordings, linked as often as the numbers of ``--many`` ask for. The usual
script reads one file at a time and scores its windows one by one (batch 1), with as many threads as
torch takes; loading and imports are left out of its time and are in ours. Times are wall time; memory
is the peak of the first process and of the largest worker.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from earwitness.archive import gather

BAR_REAL_TIME, BAR_SCRIPT = 500.0, 3.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("detector", type=Path)
    arguments.add_argument("clips", type=Path)
    arguments.add_argument("--many", type=int, nargs="+", default=[1000, 10_000])
    arguments.add_argument("--options", nargs="*", default=[])
    given = arguments.parse_args()
    paths = [one.path for one in gather([given.clips])]
    script, seconds = usual_script(given.detector, paths[:1000])
    print(f"usual script, {min(1000, len(paths))} clips: {seconds / script:.0f} x real time")
    print("| clips | hours | s | x real time | times the script | first process, MB | worker, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    met = True
    for count in given.many:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            link(paths, folder / "clips", count)
            took, heard, first, worker = ours(given.detector, folder, given.options)
        speed, ratio = heard / took, (heard / took) / (seconds / script)
        print(
            f"| {count:,} | {heard / 3600:.1f} | {took:.1f} | {speed:.0f} | {ratio:.2f} | {first} | "
            f"{worker} |",
            flush=True,
        )
        met = met and (count < 10_000 or (speed >= BAR_REAL_TIME and ratio >= BAR_SCRIPT))
    sys.exit(0 if met else 1)


def usual_script(detector: Path, paths: list[str]) -> tuple[float, float]:
    """Seconds that it takes, and seconds of audio."""
    import numpy as np
    import soundfile
    import torch

    from earwitness import audio
    from earwitness.detector import Detector

    network = Detector.load(detector).eval()
    policy = network.windows
    window, hop = (round(s * audio.SAMPLE_RATE) for s in (policy.seconds, policy.hop))
    began, samples = time.perf_counter(), 0
    with torch.no_grad(), tempfile.TemporaryFile("w") as out:
        for path in paths:
            wave, _ = soundfile.read(path, dtype="float32")
            samples += len(wave)
            rows = [
                audio.crop_or_repeat(wave, window, start=start)
                for start in audio.windows(len(wave), window, hop)
            ]
            scores = [network(torch.from_numpy(row)[None]).score.item() for row in rows]
            out.write(f"{path} {np.mean(scores)}\n")
    return time.perf_counter() - began, samples / audio.SAMPLE_RATE


def link(paths: list[str], folder: Path, count: int) -> None:
    for n in range(count):
        where = folder / f"{n // 1000:04}"
        where.mkdir(parents=True, exist_ok=True)
        os.symlink(paths[n % len(paths)], where / f"{n:07}{Path(paths[n % len(paths)]).suffix}")


def ours(detector: Path, folder: Path, options: list[str]) -> tuple[float, float, int, int]:
    """Seconds, seconds of audio, and the peaks of memory of the first process and of a worker."""
    import polars as pl

    words = ["score", folder / "clips", "-d", detector, "-o", folder / "s.csv", *options]
    command = [sys.executable, "-m", "earwitness", *map(str, words)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        first = worker = 0
        while process.poll() is None:
            first = max(first, peak(process.pid))
            worker = max([worker, *map(peak, children(process.pid))])
            time.sleep(0.1)
    took = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"scoring failed ({process.returncode})")
    return took, pl.read_csv(folder / "s.csv")["seconds"].sum(), first, worker


def peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) // 1024 for x in lines if x.startswith("VmHWM")), 0)


def children(pid: int) -> list[int]:
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


if __name__ == "__main__":
    main()
