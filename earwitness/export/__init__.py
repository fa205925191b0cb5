"""Export: a detector as a file that runs without this package's training half.

``onnx`` for ONNX Runtime, which `earwitness.onnx_detector` uses without torch, and ``torch``, a program
of `torch.export`. Front end, normalisation and calibration are inside; the number of samples is free.
Nothing is written before what was exported has scored recordings as the detector itself does.
"""

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import earwitness
from earwitness import audio
from earwitness.calibration import Calibration
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.export import to_onnx, to_torch
from earwitness.export.graph import OUTPUTS, Graph
from earwitness.export.parity import Parity, compare
from earwitness.files import digest, write_json
from earwitness.onnx_detector import FORMAT, MODEL
from earwitness.trials import Manifest

__all__ = ["OUTPUTS", "Exported", "Format", "Graph", "Parity", "export"]

Format = Literal["onnx", "torch"]

_PROGRAM = "model.pt2"
_FROM_DETECTOR = (
    "front_end",
    "back_end",
    "classes",
    "known",
    "trained_on",
    "dev",
    "stand_in",
    "strategy",
)


@dataclass(frozen=True)
class Exported:
    """What was written: ``folder``, and how ``parity`` was found."""

    folder: Path
    parity: Parity


def export(
    detector: Detector,
    folder: str | Path,
    clips: Manifest,
    *,
    format: Format = "onnx",
    calibration: Calibration | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Exported:
    """Write ``folder`` with the model and ``card.json``, after the model has scored ``clips``.

    Args:
        clips: recordings to check on, of any length.
        calibration: affine; the graph then gives ``llr`` beside ``score``.
        say: told what is being done.

    Raises:
        SettingsError: the folder exists, or this detector can't be exported; the message says why.
        RunError: the exported model scores a clip differently by more than 1e-4.
        MissingExtra: what the format needs is not installed.
        AudioError: a clip can't be used.
    """
    folder = Path(folder)
    if folder.exists():
        raise SettingsError(f"{folder}: is there already; name a new folder, or delete it first.")
    detector = copy.deepcopy(detector).cpu()  # the caller's own keeps its mode and its device
    graph = Graph(detector, calibration)
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        say(f"exporting to {format}; this takes from seconds to a minute or two")
        model = half / (MODEL if format == "onnx" else _PROGRAM)
        about = (to_onnx if format == "onnx" else to_torch).write(graph, model, detector.windows)
        card = _card(detector, graph, model, calibration) | about
        write_json(half / "card.json", card)
        say(f"scoring {len(clips)} clip(s) with both")
        opened = to_onnx.open_(half) if format == "onnx" else to_torch.open_(model, detector)
        parity = compare(detector, opened, clips, calibration)
        write_json(half / "card.json", card | {"checked": parity.told()})
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return Exported(folder, parity)


def _card(
    detector: Detector, graph: Graph, model: Path, calibration: Calibration | None
) -> dict[str, Any]:
    own = detector.settings | detector.card
    told = {name: own[name] for name in _FROM_DETECTOR if name in own}
    if calibration is not None:  # of the model, as whoever reads it there has nothing else
        told["calibration"] = {**calibration.to_dict(), "of_weights": digest(model)}
    return {
        "format": FORMAT if model.name == MODEL else "earwitness-torch-program",
        "format_version": 1,
        "version": earwitness.__version__,
        **told,
        "detector": detector.digest,
        "windows": {"seconds": detector.windows.seconds, "hop": detector.windows.hop},
        "sample_rate": audio.SAMPLE_RATE,
        "min_samples": graph.min_samples,
        "inputs": {"wave": "float32 (batch, samples), mono, 16 kHz, -1 to 1"},
        "outputs": list(graph.outputs),
        "orientation": "score = bonafide logit - spoof logit; higher = more bonafide",
        "precision": "float32",
        "model_sha256": digest(model),
    }
