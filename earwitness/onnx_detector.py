"""An exported detector under ONNX Runtime: scores recordings as `Detector` does, without torch.

On disk it is a folder that ``earwitness export`` wrote: ``model.onnx`` and ``card.json``.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness import audio
from earwitness.errors import CheckpointError, MissingExtra, RunError, SettingsError
from earwitness.files import digest, read_card
from earwitness.windows import ClipScore, Windows

__all__ = ["FORMAT", "MODEL", "OnnxDetector"]

FORMAT = "earwitness-onnx"
MODEL = "model.onnx"
_TOGETHER = 64  # windows in one call; memory is bounded whatever the recording's length


class OnnxDetector:
    """A drop-in for `Detector` where recordings are scored.

    Attributes:
        windows: how whole recordings are heard. ``card``: what the export says of the detector.
        min_samples: the shortest window.

    >>> try:
    ...     OnnxDetector.load("nowhere")
    ... except CheckpointError as error:
    ...     print(str(error)[:21])
    nowhere: no card.json
    """

    def __init__(self, model: Path, card: dict[str, Any], *, threads: int = 0):
        self.card = card
        self.windows = Windows(**card["windows"])
        self.min_samples = int(card["min_samples"])
        self.digest = str(card["model_sha256"])
        self._model, self._threads = model, threads

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 0) -> "OnnxDetector":
        """Read an exported detector; ``threads`` is how many compute, 0 as many as there are cores.

        Raises:
            CheckpointError: absent, damaged, foreign, or changed since it was exported.
        """
        folder = Path(folder)
        written_by = "earwitness export DETECTOR --format onnx"
        card = read_card(folder, FORMAT, of="a detector exported to ONNX", written_by=written_by)
        model = folder / MODEL
        if not model.is_file():
            raise CheckpointError(f"{model}: no such file; an exported detector has it and card.json.")
        found = digest(model)
        if found != card.get("model_sha256"):
            raise CheckpointError(
                f"{model}: damaged, or of another card (SHA-256 {found[:12]}…, the card says "
                f"{str(card.get('model_sha256'))[:12]}…)."
            )
        version, rate = card.get("format_version"), card.get("sample_rate")
        if version != 1 or rate != audio.SAMPLE_RATE:
            raise CheckpointError(
                f"{folder / 'card.json'}: expected format version 1 at {audio.SAMPLE_RATE} Hz, found "
                f"version {version} at {rate} Hz."
            )
        try:
            return cls(model, card, threads=threads)
        except (KeyError, TypeError, ValueError, SettingsError) as error:
            raise CheckpointError(
                f"{folder / 'card.json'}: windows or min_samples ({error})."
            ) from None

    @cached_property
    def session(self) -> Any:
        """ONNX Runtime's session.

        Raises:
            MissingExtra: onnxruntime is not installed.
            CheckpointError: it refuses the model.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise MissingExtra("scoring by ONNX Runtime", "onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                self._model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own exceptions share no base
            raise CheckpointError(f"{self._model}: ONNX Runtime refuses it ({error}).") from None

    def run(self, waves: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Waves (batch, samples) to the graph's outputs by name.

        Raises:
            SettingsError: waves too short for the network.
            RunError: ONNX Runtime fails on them.
        """
        if waves.shape[1] < self.min_samples:
            raise SettingsError(
                f"a window has {waves.shape[1]} samples; this detector needs {self.min_samples}."
            )
        names = [output.name for output in self.session.get_outputs()]
        try:
            told = self.session.run(names, {"wave": waves})
        except Exception as error:  # its own exceptions share no base
            shape = f"{waves.shape[0]} window(s) of {waves.shape[1]} samples"
            raise RunError(f"{self._model}: ONNX Runtime fails on {shape} ({error}).") from None
        return dict(zip(names, told, strict=True))

    def score(self, recording: str | Path | Any, *, windows: Windows | None = None) -> ClipScore:
        """Score a whole recording (a path, or a mono wave at 16 kHz) in overlapping windows.

        Raises:
            AudioError: the file cannot be used; the message says why.
        """
        wave = audio.read(recording).wave if isinstance(recording, str | Path) else recording
        policy = windows or self.windows
        window, hop = (round(s * audio.SAMPLE_RATE) for s in (policy.seconds, policy.hop))
        starts = audio.windows(len(wave), window, hop)
        scores: list[float] = []
        for first in range(0, len(starts), _TOGETHER):
            some = starts[first : first + _TOGETHER]
            rows = np.stack([audio.crop_or_repeat(wave, window, start=start) for start in some])
            scores += self.score_windows(rows.astype(np.float32)).tolist()
        return ClipScore.of([start / audio.SAMPLE_RATE for start in starts], scores)

    def score_windows(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Windows (n, samples) to their scores (n,); errors as of `run`."""
        return self.run(rows)["score"].astype(np.float64)
