"""An exported model in 8-bit integers, for CPUs: weights, and with ``static`` what flows between.

Quantised are the back end's convolutions and products of matrices. The front end and the head, which
are small and whose errors would be heard in every score, stay in floating point.
"""

import logging
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import RunError, SettingsError
from earwitness.evaluation import evaluate
from earwitness.onnx_detector import OnnxDetector
from earwitness.scores import Scores
from earwitness.trials import Manifest, Trial

__all__ = ["MOST_WINDOWS", "Change", "Kind", "change_of_eer", "parts", "quantise"]

Kind = Literal["static", "dynamic"]
_PRODUCTS = {"static": ("Conv", "MatMul", "Gemm"), "dynamic": ("MatMul", "Gemm")}
_ONE_IN = 4  # clips from which the ranges of activations are learned; the others are for the check
MOST_WINDOWS = 512  # for ranges
_TOGETHER = 16
_RENAMED = "_MatMul"


@dataclass(frozen=True)
class Change:
    """What 8 bits did to the scores of ``clips``: EER before, with its 95 % interval, and after; and
    the share of clips that lie on the other side of the card's threshold (or of 0) now."""

    eer_float: float
    eer_int8: float
    low: float
    high: float
    largest_difference: float
    changed_sides: float
    clips: int
    on: str

    def told(self) -> dict[str, Any]:
        """For the card."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"EER {100 * self.eer_int8:.2f} % in int8, {100 * self.eer_float:.2f} % in float32 "
            f"({100 * self.low:.2f} to {100 * self.high:.2f} %), {100 * self.changed_sides:.1f} % on "
            f"the other side of the threshold, on {self.clips} clips of {self.on}"
        )


def parts(clips: Manifest) -> tuple[list[Trial], Manifest]:
    """Clips to learn ranges from, every fourth of each class, and the others, to check on.

    Raises:
        SettingsError: there are too few of a class.
    """
    ranges: list[Trial] = []
    for label in ("bonafide", "spoof"):
        own = [trial for trial in clips if trial.label == label]
        if len(own) < _ONE_IN:
            raise SettingsError(
                f"int8 is checked by the EER of recordings of both classes; {clips.name!r} has "
                f"{len(own)} labelled {label}. Name a manifest with --check, of a few hundred clips."
            )
        ranges += own[::_ONE_IN]
    random.Random(0).shuffle(ranges)  # the first windows, which are used, are then of both classes
    taken = {trial.id for trial in ranges}
    return ranges, clips.where(lambda trial: trial.id not in taken and trial.label != "unknown")


def quantise(model: Path, kind: Kind, windows: Sequence[NDArray[np.float32]]) -> None:
    """Put the int8 model in the place of the one in floating point.

    Args:
        model: the file. ``windows``: waves (samples,) of one length, for the ranges (``static``).

    Raises:
        SettingsError: there is nothing in it to quantise.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    chosen, others = _products(model, kind)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        quant_pre_process(model, whole, skip_symbolic_shape=True)
        # Seven bits for weights: without VNNI, sums of 8-bit products overflow.
        given = {"per_channel": True, "reduce_range": True}
        if kind == "dynamic":  # which turns Gemm into MatMul first, under another name
            others += [f"{name}{_RENAMED}" for name in others]
            quantization.quantize_dynamic(
                whole, small, op_types_to_quantize=["MatMul"], nodes_to_exclude=others, **given
            )
        else:
            quantization.quantize_static(
                whole, small, _reader(windows), nodes_to_quantize=chosen, **given
            )
        shutil.copyfile(small, model)


def change_of_eer(before: OnnxDetector, after: OnnxDetector, clips: Manifest) -> Change:
    """Score the clips with both.

    Raises:
        RunError: the EER in int8 lies outside the 95 % interval of that in float32.
        AudioError: a clip can't be used.
    """
    ids, labels = [trial.id for trial in clips], [trial.label for trial in clips]
    told = [np.array([one.score(clips.path(trial)).mean for trial in clips]) for one in (before, after)]
    threshold = (before.card.get("dev") or {}).get("threshold", 0.0)
    judged = evaluate(Scores(ids, told[0], labels), unit="trial")
    low, high = judged.intervals["eer"]
    change = Change(
        judged.values["eer"],
        evaluate(Scores(ids, told[1], labels), intervals=False).values["eer"],
        low,
        high,
        float(np.abs(told[0] - told[1]).max()),
        float(((told[0] >= threshold) != (told[1] >= threshold)).mean()),
        len(clips),
        clips.name,
    )
    if not low <= change.eer_int8 <= high:
        raise RunError(f"{change}: outside of that interval, so nothing was written.")
    return change


def _products(model: Path, kind: Kind) -> tuple[list[str], list[str]]:
    """Nodes with weights of their own that belong neither to the front end nor to the head; and the
    other convolutions and products."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    weights = {one.name for one in graph.initializer}
    chosen: list[str] = []
    others: list[str] = []
    for node in graph.node:
        if node.op_type not in _PRODUCTS["static"]:
            continue
        own = [name for name in node.input if name in weights]
        kept = any(name.startswith(("front_end.", "back_end.head.")) for name in own)
        (chosen if node.op_type in _PRODUCTS[kind] and own and not kept else others).append(node.name)
    if not chosen:
        other = " Convolutions are quantised by 'static'." if kind == "dynamic" else ""
        raise SettingsError(
            f"int8 ({kind}): this back end has nothing that could be quantised so.{other}"
        )
    return chosen, others


def _reader(windows: Sequence[NDArray[np.float32]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Batches of one size: the last windows are left out, or all where they are fewer."""

        def __init__(self) -> None:
            size = min(_TOGETHER, len(windows))
            starts = range(0, min(len(windows), MOST_WINDOWS) - size + 1, size)
            self._batches = iter([np.stack(windows[n : n + size]) for n in starts])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"wave": batch}

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice on what has been done already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
