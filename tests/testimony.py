"""A detector that can testify: with landmarks, as the page needs it."""

from pathlib import Path

from earwitness.corpora import synthetic
from earwitness.detector import Detector
from earwitness.landmarks import Landmarks
from earwitness.scoring import hear_manifest
from earwitness.windows import Windows


def save_detector(folder: Path) -> None:
    """Write it to ``folder/d``; the clips of its landmarks go to ``folder/c``."""
    clips = synthetic.make(folder / "c", domains=("upsampler",), clips=(12, 6, 3), seconds=(0.8, 1.2))
    detector = Detector.build("lfcc", {"name": "resnet", "width": 4}, seed=0, windows=Windows(1.0, 0.5))
    detector.card = {"dev": {"threshold": 0.0, "eer": 0.2, "bonafide": 6, "spoof": 6}, "stand_in": True}
    detector.save(folder / "d")
    parts = [hear_manifest(detector, clips.split()[one]) for one in ("train", "dev")]
    Landmarks.fit(*parts, detector=detector.digest).write(folder / "d")
