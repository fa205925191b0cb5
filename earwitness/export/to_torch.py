"""A graph to a program of `torch.export`: operations alone, which torch runs without this package."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness import audio
from earwitness.detector import Detector
from earwitness.errors import RunError
from earwitness.export.graph import Graph
from earwitness.export.to_onnx import root_of
from earwitness.windows import Windows

__all__ = ["open_", "write"]


def write(graph: Graph, path: Path, windows: Windows) -> dict[str, Any]:
    """Write the program; gives what its card says of it.

    Raises:
        RunError: torch.export can't follow the network.
    """
    example = torch.zeros(2, max(graph.min_samples, round(windows.seconds * audio.SAMPLE_RATE)))
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with torch.no_grad():
            program = torch.export.export(graph, (example,), dynamic_shapes=(free,))
        _strip(program)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of tensors that share memory, which says nothing to a user
            torch.export.save(program, path)
    except (RuntimeError, TypeError, ValueError) as error:
        raise RunError(f"torch.export can't follow this network: {root_of(error)}") from error
    return {"torch": torch.__version__}


def _strip(program: torch.export.ExportedProgram) -> None:
    """Drop the notes on where in whose files each operation came from."""
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            for note in ("stack_trace", "source_fn_stack", "torch_fn"):
                node.meta.pop(note, None)


class _Program:
    """The saved program with the face of `OnnxDetector`, to compare it with the detector."""

    def __init__(self, path: Path, detector: Detector, outputs: tuple[str, ...]):
        self.windows, self.outputs = detector.windows, outputs
        self.module = torch.export.load(path).module()

    @torch.no_grad()
    def run(self, waves: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Waves (batch, samples) to outputs by name."""
        told = self.module(torch.from_numpy(waves))
        return {name: part.numpy() for name, part in zip(self.outputs, told, strict=False)}


def open_(path: Path, detector: Detector) -> _Program:
    """What was written, as it will be used."""
    return _Program(path, detector, ("score", "logits", "embedding", "llr"))
