"""One RWM step, ours beside the released arithmetic written anew, on the same tensors in one run.

    python benchmarks/projection.py [--dims 1024 2048] [--json FILE]

A step: P learns the batch's mean input, the angle is computed from the batch's logits, the gradient
is turned. One thread, float32, 11 outputs, batch 512, as in the published setting. The released
arithmetic follows its description: outer-product denominator, new arrays at each statement,
Q from a d x d solve, an angle loop that reads one sample at a time. Exits with 1 above the bars.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from earwitness.strategies.projection import Projector, rwm_beta

BARS = {1024: 2.5, 2048: 20.0}  # ms a step


class Released:
    """P as in the released plugins; beta by a loop over samples."""

    def __init__(self, dim: int):
        self.p = torch.eye(dim)

    def step(self, x: Tensor, gradient: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        r = x.mean(0, keepdim=True)
        k = self.p @ r.T
        self.p = self.p - (k @ k.T) / (1.0 + k @ r)
        self.p = self.p / self.p.norm()
        q = torch.eye(len(self.p)) - self.p @ torch.linalg.solve(self.p.T @ self.p, self.p.T)
        q = q / q.norm()
        return gradient @ (self.p + self.beta(logits, labels) * q).T

    @staticmethod
    def beta(logits: Tensor, labels: Tensor) -> float:
        own = [logits[i][labels[i]] for i in range(len(labels))]
        angle = 0.0
        for i, z in enumerate(own):
            sine = math.exp(float(z)) / float(torch.exp(torch.stack(own)).sum())
            angle += (1 if int(labels[i]) % 2 else -1) * math.asin(min(sine, 1.0))
        return math.tan(math.pi / 4 + angle / 2)


class Ours:
    """The fused step."""

    def __init__(self, dim: int):
        self.projector = Projector(dim, dtype=torch.float32)

    def step(self, x: Tensor, gradient: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        product = self.projector.step(x.mean(0), gradient)
        own = logits.gather(1, labels[:, None])[:, 0]
        beta = rwm_beta(own, labels % 2 == 1)
        return self.projector.direct(gradient, product, beta, "frobenius")


def median_ms(step: Callable[..., Tensor], inputs: tuple[Tensor, ...], repeats: int) -> float:
    step(*inputs)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step(*inputs)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = []
    for dim in arguments.dims:
        inputs = (
            torch.rand(512, dim), torch.randn(11, dim), torch.randn(512, 11),
            torch.randint(11, (512,)),
        )  # fmt: skip
        ours = median_ms(Ours(dim).step, inputs, 30)
        released = median_ms(Released(dim).step, inputs, 3)
        results.append({"dim": dim, "ours_ms": ours, "released_ms": released})
        print(f"d = {dim}: ours {ours:.2f} ms, released arithmetic {released:.0f} ms, "
              f"{released / ours:.0f} times")  # fmt: skip
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=2)
    slow = [r for r in results if r["ours_ms"] > BARS.get(r["dim"], float("inf"))]
    if slow:
        raise SystemExit(f"slower than the bars {BARS} ms: {slow}")


if __name__ == "__main__":
    main()
