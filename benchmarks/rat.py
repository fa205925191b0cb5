"""RAT's head: beside the released arithmetic, and with and without a reference.

    python benchmarks/rat.py [--seconds 20] [--batch 2]

The released code calls torch's MultiheadAttention with the matrix of attention weights, folds layers
into the batch, and pools by a plain mean; that arithmetic is written anew here. Both sides get the same
states of a made-up encoder of 24 layers, 1024 wide. CPU seconds of forward and backward, the peak of
memory, and then a whole detector with a tiny encoder: a reference of the recording's length against
none. Exits with an error where logits differ by more than 1e-4, or where none takes more than 0.6 of
the time with one.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from earwitness.backends.rat import RAT, from_released
from earwitness.detector import Detector
from earwitness.frontends.base import Frames

WIDTH, LAYERS = 1024, 24


class Released(nn.Module):
    """The released head's arithmetic, with its names."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, 4)
        self.preattn_ln, self.final_ln = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn_mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        half, quarter = WIDTH // 2, WIDTH // 4
        self.classifier = nn.Sequential(
            nn.Linear(WIDTH, half), nn.BatchNorm1d(half), nn.ReLU(),
            nn.Linear(half, quarter), nn.BatchNorm1d(quarter), nn.ReLU(), nn.Linear(quarter, 2),
        )  # fmt: skip

    def forward(self, test: Tensor, reference: Tensor) -> Tensor:
        """(layer, batch, frame, width) both."""
        x, r = (one.flatten(0, 1).transpose(0, 1) for one in (test, reference))
        normed, other = self.preattn_ln(x), self.preattn_ln(r)
        attended, _ = self.attn(normed, other, other)
        told = self.final_ln(x + attended + self.attn_mlp(normed))
        return self.classifier(told.transpose(0, 1).unflatten(0, test.shape[:2]).mean((0, 2)))


def states(frames: int, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (LAYERS, batch, frames, WIDTH)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def measure(side: str, frames: int, batch: int, queue) -> None:
    """In a process of its own, so that the peak of memory is this side's."""
    torch.manual_seed(0)
    released = Released().eval()
    test, reference = states(frames, batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if side == "released":
        call: Callable[[], Tensor] = lambda: released(test, reference)  # noqa: E731
    else:
        head = RAT(features=WIDTH, layers=LAYERS).eval()
        head.load_state_dict(from_released(released.state_dict()))
        length = torch.full((batch,), frames)
        own, other = (Frames(one.permute(1, 0, 3, 2), length) for one in (test, reference))
        call = lambda: head(own, other).logits  # noqa: E731
    start = time.process_time()
    logits = call()
    forward = time.process_time() - start
    logits.sum().backward()
    whole = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    queue.put((logits.detach().tolist(), forward, whole, peak / 1e6))


def beside_the_released(seconds: float, batch: int) -> bool:
    frames = int(seconds * 50) - 1
    found = {}
    context = multiprocessing.get_context("spawn")
    print("| head | forward, s | with backward, s | memory, GB |\n| --- | --- | --- | --- |")
    for side in ("released", "ours"):
        queue = context.Queue()
        process = context.Process(target=measure, args=(side, frames, batch, queue))
        process.start()
        found[side] = queue.get()
        process.join()
        print("| {} | {:.2f} | {:.2f} | {:.2f} |".format(side, *found[side][1:]))
    both = (torch.tensor(one[0]) for one in found.values())
    apart = float((next(both) - next(both)).abs().max())
    print(f"batch {batch}, {frames} frames, {LAYERS} layers; logits differ by at most {apart:.1e}")
    return apart < 1e-4


@torch.no_grad()
def with_and_without(seconds: float) -> bool:
    front_end = {"name": "ssl", "config": {"shape": "tiny", "hidden_size": 128}, "layers": "all"}
    detector = Detector.build(front_end, "rat").eval()
    wave, other = torch.randn(2, round(seconds * 16_000)), torch.randn(2, round(seconds * 16_000))
    best = {}
    for name, call in {
        "with a reference": lambda: detector(wave, None, other),
        "without": lambda: detector(wave),
    }.items():
        call()
        times = []
        for _ in range(5):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        best[name] = min(times)
        print(f"{name}: {best[name]:.3f} s")
    ratio = best["without"] / best["with a reference"]
    print(f"without over with: {ratio:.2f} (bar 0.6)")
    return ratio <= 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of a clip")
    parser.add_argument("--batch", type=int, default=2)
    asked = parser.parse_args()
    met = beside_the_released(asked.seconds, asked.batch)
    met &= with_and_without(asked.seconds)
    sys.exit(0 if met else "a bar is missed")


if __name__ == "__main__":
    main()
