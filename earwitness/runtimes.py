"""Opening a saved detector for what it is to run on: torch, or ONNX Runtime, which needs no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from earwitness.errors import CheckpointError, SettingsError

if TYPE_CHECKING:
    from earwitness.windows import ScoresClips

__all__ = ["Runtime", "open_detector", "use_one_thread"]

Runtime = Literal["torch", "onnx"]


def open_detector(
    folder: str | Path, runtime: Runtime | None = None, *, device: str = "cpu", threads: int = 0
) -> "ScoresClips":
    """A saved detector, or one exported to ONNX.

    Args:
        folder: where `earwitness run` or `earwitness export` put it.
        runtime: what it is to run on; by default what the folder holds.
        device: where torch computes, such as "cuda"; ONNX Runtime computes on the CPU.
        threads: how many compute, of ONNX Runtime; 0 for as many as there are cores.

    Raises:
        CheckpointError: there is none for that runtime.
        SettingsError: there is no such device.
    """
    from earwitness.onnx_detector import MODEL, OnnxDetector

    folder = Path(folder)
    there = (folder / MODEL).is_file()
    if runtime == "onnx" and folder.is_dir() and not there:
        raise CheckpointError(
            f"{folder}: no {MODEL}; write one with: earwitness export {folder} --out NEW_FOLDER"
        )
    if runtime != "torch" and there:
        if device != "cpu":
            raise SettingsError(f"an exported detector runs on the CPU here, not on {device!r}.")
        return OnnxDetector.load(folder, threads=threads)
    from earwitness.detector import Detector

    detector = Detector.load(folder)
    try:
        return detector.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's ways to say that there is none
        reason = str(error).splitlines()[0]
        raise SettingsError(f"device {device!r} can't be used ({reason}).") from None


def use_one_thread(detector: "ScoresClips") -> None:
    """Have torch, if the detector runs on it, compute in the thread that asks and in no others."""
    if hasattr(detector, "device"):
        import torch

        torch.set_num_threads(1)
