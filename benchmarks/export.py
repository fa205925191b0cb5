"""What every back end is worth outside: whether it exports, how equal it is, and how fast it scores.

    OMP_NUM_THREADS=1 python benchmarks/export.py [BACK_END ...]

Detectors have random weights; one window of 4 s, batch 1, one thread. Milliseconds are CPU time, the
least of 20.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from earwitness import Detector
from earwitness.corpora import synthetic
from earwitness.detector import Windows
from earwitness.errors import EarwitnessError
from earwitness.export import export
from earwitness.onnx_detector import OnnxDetector
from earwitness.trials import Manifest

PAIRS = {
    "linear": "lfcc", "mlp": "lfcc", "resnet": "lfcc", "convnext": "logmel", "lcnn": "lfcc",
    "rat": "lfcc", "nes2net": "logmel", "rawnet2": "wave", "aasist": "wave",
}  # fmt: skip


def least(call, times: int = 20) -> float:
    took = []
    for _ in range(times):
        start = time.process_time()
        call()
        took.append(time.process_time() - start)
    return 1000 * min(took)


def main() -> None:
    torch.set_num_threads(1)
    print("| back end | weights | difference | export, s | torch, ms | ONNX Runtime, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = synthetic.make(
            folder / "c", domains=("upsampler",), clips=(1, 1, 2), seconds=(1.0, 6.0)
        )
        clips = Manifest("stand-ins", clips.trials, root=clips.root)
        for back_end in sys.argv[1:] or PAIRS:
            one(folder, back_end, clips)


def one(folder: Path, back_end: str, clips: Manifest) -> None:
    detector = Detector.build(PAIRS[back_end], back_end, seed=0, windows=Windows(4.0, 2.0)).eval()
    weights = sum(p.numel() for p in detector.parameters())
    start = time.perf_counter()
    try:
        found = export(detector, folder / back_end, clips).parity
    except EarwitnessError as error:
        print(f"| `{back_end}` | {weights:,} | {error} | | | |", flush=True)
        return
    took = time.perf_counter() - start
    wave = np.random.default_rng(0).normal(size=(1, 64000)).astype(np.float32)
    exported = OnnxDetector.load(folder / back_end, threads=1)
    with torch.no_grad():
        times = least(lambda: detector(torch.from_numpy(wave))), least(lambda: exported.run(wave))
    told = f"{found.logits:.0e} | {took:.0f} | {times[0]:.1f} | {times[1]:.1f}"
    print(f"| `{back_end}` | {weights:,} | {told} |", flush=True)


if __name__ == "__main__":
    main()
