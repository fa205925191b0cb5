"""AASIST and AASIST-L beside their released code: equal scores, and milliseconds for a clip of 4 s.

    python benchmarks/aasist.py --official DIR [--seconds 60] [--json FILE]

DIR is a checkout of clovaai/aasist (a04c986), with its weights. Both sides score the same waves (noise
at three levels, a buzz that comes and goes with and without noise, silence), 64,600 samples each. Then
they take turns at one clip, one thread, eager mode; figures are CPU time, least and median, and beside
each turn a product of matrices tells how fast the machine is just then. Exits with 1 when scores
differ by more than 1e-4 or AASIST takes more than 250 / 720 of the released code's least time.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from earwitness.backends.aasist import AASIST, load_official
from earwitness.frontends.base import Frames

SAMPLES = 64_600
SIDES = {"AASIST": "full", "AASIST-L": "light"}


def waves() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, SAMPLES, generator=generator) * torch.tensor([[0.1], [0.01], [0.001]])
    t = torch.arange(SAMPLES, dtype=torch.float64) / 16_000
    phase = (2 * torch.pi * (120 + 10 * torch.sin(6 * torch.pi * t)) / 16_000).cumsum(0)
    buzz = torch.stack([torch.sin(k * phase) / k for k in range(1, 30)]).sum(0)
    buzz = (0.1 * buzz * (0.5 + 0.5 * torch.sin(5 * torch.pi * t))).float()
    return torch.cat([noise, buzz[None], buzz[None] + noise[1:2], torch.zeros(1, SAMPLES)])


def released(folder: Path, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Waves to scores by the released code and weights; its index 1 is bonafide."""
    sys.path.insert(0, str(folder))
    from models.AASIST import Model

    model = Model(json.loads((folder / f"config/{name}.conf").read_text())["model_config"]).eval()
    path = folder / f"models/weights/{name}.pth"
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def score(wave: torch.Tensor) -> torch.Tensor:
        logits = model(wave)[1]
        return logits[:, 1] - logits[:, 0]

    return score


def ours(folder: Path, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    network = AASIST(size=SIDES[name]).eval()
    load_official(network, folder / f"models/weights/{name}.pth")
    return lambda wave: network(Frames(wave[:, None], torch.full((len(wave),), SAMPLES))).score


def cpu_ms(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return 1000 * (time.process_time() - begun)


def compare(folder: Path, name: str, seconds: float) -> dict[str, float]:
    peer, own, clips = released(folder, name), ours(folder, name), waves()
    difference = (peer(clips) - own(clips)).abs().max().item()
    one, square = clips[4:5], torch.randn(1024, 1024)
    turns: list[list[float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(turns) < 3:
        calls = [lambda: square @ square, lambda: peer(one), lambda: own(one)]
        turns.append([cpu_ms(call) for call in calls])
    machine, theirs, mine = zip(*turns, strict=True)
    return {
        "difference": difference,
        "released_ms": min(theirs),
        "ours_ms": min(mine),
        "released_median_ms": statistics.median(theirs),
        "ours_median_ms": statistics.median(mine),
        "share": min(mine) / min(theirs),
        "gflops": 2 * 1.024**3 / statistics.median(machine) * 1000,
        "turns": len(turns),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        figures = {name: compare(given.official, name, given.seconds) for name in SIDES}
    print(
        "network   largest difference  released ms: least median  ours: least median  ours / released"
    )
    for name, f in figures.items():
        print(
            f"{name:9} {f['difference']:18.1e} {f['released_ms']:19.0f} {f['released_median_ms']:6.0f} "
            f"{f['ours_ms']:12.0f} {f['ours_median_ms']:6.0f} {f['share']:16.2f}"
            f"  ({f['turns']} turns, matrix product {f['gflops']:.0f} GFLOP/s)"
        )
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=2) + "\n")
    alike = max(f["difference"] for f in figures.values()) <= 1e-4
    sys.exit(0 if alike and figures["AASIST"]["share"] <= 250 / 720 else 1)


if __name__ == "__main__":
    main()
