"""What a cache of frames saves: the first epoch hears, the second reads.

    python benchmarks/frame_cache.py [--shape wav2vec2-base] [--clips 24] [--precision float16]

A frozen encoder with random weights hears noise, all its layers are kept, and the same clips are read
again by a new cache on the same folder. Wall-clock milliseconds a clip, and megabytes. The third row is
the bare disk: the same bytes read by numpy.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from earwitness.frame_cache import FrameCache
from earwitness.frontends import FRONTENDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="wav2vec2-base")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--precision", default="float16")
    asked = parser.parse_args()
    front_end = FRONTENDS.build("ssl", config={"shape": asked.shape}, layers="all").eval()
    waves = torch.randn(asked.clips, round(asked.seconds * 16_000))
    length = torch.full((asked.clips,), waves.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        took = {}
        for epoch in ("first", "second"):
            cache = FrameCache(folder, front_end, precision=asked.precision)
            cache._kept(waves.device)  # the digest of the weights is taken once a run
            start = time.perf_counter()
            for place in range(0, asked.clips, 8):
                cache.hear(waves[place : place + 8], length[place : place + 8])
            took[f"{epoch} epoch"] = time.perf_counter() - start
        start = time.perf_counter()
        for path in Path(folder).glob("*/*.frames"):
            np.fromfile(path, dtype=np.uint8).sum()
        took["bare reading and a sum"] = time.perf_counter() - start
        size = cache.size() / asked.clips / 1e6
    print(f"{asked.shape}, {asked.seconds:g} s, {asked.precision}: {size:.1f} MB a clip")
    for name, seconds in took.items():
        print(f"{name}: {1000 * seconds / asked.clips:.1f} ms a clip")
    print(f"second over first: {took['second epoch'] / took['first epoch']:.4f}")


if __name__ == "__main__":
    main()
