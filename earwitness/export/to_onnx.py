"""A graph to ONNX, by torch's exporter."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from earwitness import audio
from earwitness.errors import MissingExtra, RunError
from earwitness.export.graph import Graph
from earwitness.onnx_detector import OnnxDetector
from earwitness.windows import Windows

__all__ = ["open_", "root_of", "write"]

_TALKATIVE = (
    "torch.onnx",
    "torch.fx",
    "torch.fx.experimental.symbolic_shapes",
    "onnxscript",
    "onnx_ir",
)
_OPSET = 20  # ONNX Runtime 1.17 and later


def write(graph: Graph, path: Path, windows: Windows) -> dict[str, Any]:
    """Write the model; gives what its card says of it.

    Raises:
        MissingExtra: onnx or onnxscript is not installed.
        RunError: torch's exporter can't follow the network.
    """
    _require_onnx()
    example = torch.zeros(2, max(graph.min_samples, round(windows.seconds * audio.SAMPLE_RATE)))
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                graph, (example,), dynamo=True, dynamic_shapes=(free,), input_names=["wave"],
                output_names=list(graph.outputs), opset_version=_OPSET, verbose=False,
            )  # fmt: skip
        assert program is not None
        program.save(path)
        _strip(path)
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        raise RunError(f"torch's exporter can't follow this network: {root_of(error)}") from error
    return {"opset": _OPSET, "torch": torch.__version__}


def root_of(error: BaseException) -> str:
    """The first line of what an error began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


def _strip(path: Path) -> None:
    """Drop the exporter's notes on where in whose files each operation came from."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


def open_(folder: Path) -> OnnxDetector:
    """What was written, as it will be used."""
    return OnnxDetector.load(folder, threads=1)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra("exporting to ONNX", "onnx") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about itself, such as that torchvision is not there."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
