"""Export: a detector as a file that runs without this package's training half.

``onnx`` for ONNX Runtime, which `earwitness.onnx_detector` uses without torch, and ``torch``, a program
of `torch.export`. Front end, normalisation and calibration are inside; the number of samples is free.
Nothing is written before what was exported has scored recordings as the detector itself does.
"""

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import earwitness
from earwitness import audio
from earwitness.calibration import Calibration
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.export import int8, to_onnx, to_torch
from earwitness.export.graph import OUTPUTS, Graph
from earwitness.export.parity import Parity, compare
from earwitness.files import digest, write_json
from earwitness.onnx_detector import FORMAT, MODEL
from earwitness.trials import Manifest, Trial
from earwitness.windows import Windows

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
    """What was written: ``folder``, how ``parity`` was found, and what int8 did to the EER."""

    folder: Path
    parity: Parity
    change: int8.Change | None = None


def export(
    detector: Detector,
    folder: str | Path,
    clips: Manifest,
    *,
    format: Format = "onnx",
    calibration: Calibration | None = None,
    bits: int8.Kind | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Exported:
    """Write ``folder`` with the model and ``card.json``, after the model has scored ``clips``.

    Args:
        clips: recordings to check on, of any length.
        calibration: affine; the graph then gives ``llr`` beside ``score``.
        bits: of an ONNX model, in 8-bit integers: ``static``, or ``dynamic``, without convolutions.
            The clips are then labelled, and the EER must stay within its interval.
        say: told what is being done.

    Raises:
        SettingsError: the folder exists, or this detector can't be exported; the message says why.
        RunError: the exported model scores a clip differently by more than 1e-4 from the detector in
            float64, or int8 moves the EER out of its interval.
        MissingExtra: what the format needs is not installed.
        AudioError: a clip can't be used.
    """
    folder = Path(folder)
    if folder.exists():
        raise SettingsError(f"{folder}: is there already; name a new folder, or delete it first.")
    if bits is not None and format != "onnx":
        raise SettingsError("int8 is of ONNX models; leave it out, or take --format onnx.")
    parted = int8.parts(clips) if bits is not None else ([], clips)
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
        card |= {"checked": parity.told()}
        change = None
        if bits is not None:
            say(f"quantising ({bits}) and scoring with both")
            change, fresh = _in_int8(half, card, bits, parted, detector.windows)
            card |= fresh
        write_json(half / "card.json", card)
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return Exported(folder, parity, change)


def _in_int8(
    half: Path,
    card: dict[str, Any],
    kind: int8.Kind,
    parted: tuple[list[Trial], Manifest],
    windows: Windows,
) -> tuple[int8.Change, dict[str, Any]]:
    """Quantise what lies in ``half``; what changed in the EER, and in the card."""
    ranges, checked = parted
    model, before = half / MODEL, to_onnx.open_(half)
    before.session  # noqa: B018  (opened before the file is another)
    paths = [checked.path(trial) for trial in ranges]
    int8.quantise(model, kind, list(islice(_windows_of(paths, windows), int8.MOST_WINDOWS)))
    fresh: dict[str, Any] = {"precision": f"int8 ({kind})", "model_sha256": digest(model)}
    if "calibration" in card:
        fresh["calibration"] = card["calibration"] | {"of_weights": digest(model)}
    write_json(half / "card.json", card | fresh)
    change = int8.change_of_eer(before, to_onnx.open_(half), checked)
    return change, fresh | {"int8": change.told()}


def _windows_of(paths: list[Path], policy: Windows) -> Iterator[NDArray[np.float32]]:
    window, hop = (round(seconds * audio.SAMPLE_RATE) for seconds in (policy.seconds, policy.hop))
    for path in paths:
        wave = audio.read(path).wave
        for start in audio.windows(len(wave), window, hop):
            yield audio.crop_or_repeat(wave, window, start=start)


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
