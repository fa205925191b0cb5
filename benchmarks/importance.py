"""How long the importance of weights takes at the end of a task.

    python benchmarks/importance.py

4,000 clips, an MLP 1024-400-400-2, batches of 64, one thread, the least of five passes. The bar: the
empirical Fisher information in at most 0.3 s.
"""

import sys
import time
from collections.abc import Callable

import torch

from earwitness import Detector
from earwitness.batches import Batch
from earwitness.losses import plain_cross_entropy
from earwitness.strategies.base import Learning
from earwitness.strategies.importance import fisher, output_slopes

CLIPS, DIM, BAR = 4000, 1024, 0.3


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    back_end = {"name": "mlp", "hidden": (400, 400), "pooling": "mean"}
    detector = Detector.build({"name": "vectors", "dim": DIM}, back_end)
    wave, label = torch.randn(CLIPS, DIM), torch.randint(2, (CLIPS,))
    parts = torch.arange(CLIPS).split(64)

    def data():
        for rows in parts:
            length = torch.full((len(rows),), DIM)
            yield Batch(wave[rows], length, label[rows], ("",) * len(rows))

    generator = torch.Generator().manual_seed(0)
    learning = Learning(detector, plain_cross_entropy, generator, 1.0, 0, data, len(parts))
    taken = {
        **{
            kind: least(lambda k=kind: fisher(learning, k))
            for kind in ("empirical", "sampled", "exact")
        },
        "output slopes (MAS)": least(lambda: output_slopes(learning)),
    }
    for kind, seconds in taken.items():
        print(f"{kind:20} {seconds:.2f} s")
    if taken["empirical"] > BAR:
        sys.exit(f"the bar of {BAR} s is missed")


def least(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
