"""Released AASIST-L weights in our network on a corpus that they have never heard: EER by domain.

    python benchmarks/aasist_anchor.py --official DIR --root CORPUS [--name AASIST-L]

DIR is a checkout of clovaai/aasist (a04c986) with its weights, trained on ASVspoof 2019 LA; CORPUS a
folder with manifest.csv. Its test clips are brought to a peak of 0.7 and repeated to 64,600 samples.
Two scores: the difference of the logits, as here, and the bonafide logit alone, as the released script
has it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from earwitness import audio
from earwitness.backends.aasist import AASIST, load_official
from earwitness.frontends.base import Frames
from earwitness.metrics.eer import eer
from earwitness.trials import Manifest

SAMPLES = 64_600
SIZES = {"AASIST": "full", "AASIST-L": "light"}


@torch.inference_mode()
def score(network: AASIST, wave: np.ndarray) -> tuple[float, float]:
    row = audio.crop_or_repeat(wave * (0.7 / np.abs(wave).max()), SAMPLES)
    values = torch.from_numpy(row.astype(np.float32))[None, None]
    output = network(Frames(values, torch.tensor([SAMPLES])))
    return float(output.score), float(output.logits[0, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--name", choices=SIZES, default="AASIST-L")
    asked = parser.parse_args()
    network = AASIST(size=SIZES[asked.name]).eval()
    load_official(network, asked.official / f"models/weights/{asked.name}.pth")
    trials = Manifest.read(asked.root / "manifest.csv").where(lambda trial: trial.split == "test")
    values = np.array([score(network, audio.read(trials.path(one)).wave) for one in trials])
    bonafide = np.array([one.label == "bonafide" for one in trials])
    domain = np.array([one.domain for one in trials])
    groups = {"pooled": np.full(len(values), True)}
    groups |= {name: domain == name for name in sorted(set(domain))}
    print(
        "| trials | | EER by the difference, % | by the bonafide logit, % |\n| --- | --- | --- | --- |"
    )
    for name, own in groups.items():
        both = [eer(column[own & bonafide], column[own & ~bonafide]) for column in values.T]
        print("| {} | {} | {:.1f} | {:.1f} |".format(name, own.sum(), *(100 * one for one in both)))


if __name__ == "__main__":
    main()
