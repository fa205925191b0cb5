"""Shared small things: tones that stand for speech, a two-domain stream, a tiny detector."""

from pathlib import Path

import numpy as np
import pytest

from earwitness import audio
from earwitness.streams import Stream
from earwitness.trials import Manifest, Trial

SPEECHFAKE = Path(__file__).resolve().parents[2] / "shared" / "data" / "speechfake_cl"


@pytest.fixture(scope="session")
def speechfake() -> Manifest:
    """The real corpus beside the project, where there is one."""
    if not SPEECHFAKE.is_dir():
        pytest.skip("the speechfake_cl corpus is not beside this checkout")
    return Manifest.read(SPEECHFAKE / "manifest.csv", columns={"attack": "generator"})


def toy_clip(rng: np.random.Generator, label: str, pitch: float) -> np.ndarray:
    """Half a second: harmonics in noise; spoof clips lack the noise."""
    t = np.arange(8000) / 16_000
    wave = sum(np.sin(2 * np.pi * pitch * k * t + rng.uniform(0, 6)) / k for k in range(1, 6))
    noise = 0.5 if label == "bonafide" else 0.02
    return 0.1 * (wave + noise * rng.normal(size=len(t))).astype(np.float32)


@pytest.fixture(scope="session")
def toy_manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Two domains (low and high voices), 16 clips a class in train, 8 in dev and in test."""
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(5)
    trials = []
    for domain, pitch in (("low", 110.0), ("high", 230.0)):
        for split, count in (("train", 16), ("dev", 8), ("test", 8)):
            for label in ("bonafide", "spoof"):
                for number in range(count):
                    id_ = f"{domain}-{split}-{label}-{number}"
                    audio.write(root / f"{id_}.wav", toy_clip(rng, label, pitch))
                    attack = "-" if label == "bonafide" else "buzz"
                    speaker = f"{domain}-{split}-{label}-s{number % 4}"
                    trials.append(Trial(id_, f"{id_}.wav", label, attack, speaker, domain, split))
    manifest = Manifest("toy", trials, root=root)
    manifest.write(root / "manifest.tsv")
    return manifest


@pytest.fixture(scope="session")
def toy_stream(toy_manifest: Manifest) -> Stream:
    return Stream.by(toy_manifest)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    return Path(__file__).parent / "golden"
