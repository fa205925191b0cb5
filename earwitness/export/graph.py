"""A detector as one function of a wave, which other runtimes can run."""

import torch
from torch import Tensor, nn

from earwitness.calibration import Calibration
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules.base import UNKNOWN
from earwitness.trials import CLASSES

__all__ = ["OUTPUTS", "Graph"]

OUTPUTS = ("score", "logits", "embedding", "llr")
"""Names of what a graph gives, in their order; ``llr`` only with a calibration."""


class Graph(nn.Module):
    """Waves (batch, samples) to score (batch,), logits, embedding, and calibrated score (batch,).

    Front end, normalisation, back end, and an affine calibration of the score; all waves are heard
    whole. Windows are cut, and their scores averaged, outside: an affine calibration of each window's
    score has the calibrated mean as its mean.

    >>> graph = Graph(Detector.build("logmel", "linear", seed=0))
    >>> [part.shape for part in graph(torch.randn(2, 16000))]
    [torch.Size([2]), torch.Size([2, 2]), torch.Size([2, 128])]

    Raises:
        SettingsError: a detector of other classes, on vectors or images, or with a decision rule; a
            calibration that is not affine.
    """

    def __init__(self, detector: Detector, calibration: Calibration | None = None):
        super().__init__()
        _require_exportable(detector, calibration)
        self.front_end, self.back_end = detector.front_end, detector.back_end
        unknown = torch.tensor([name not in detector.known for name in detector.classes])
        self.register_buffer("unknown", unknown if bool(unknown.any()) else None)
        self.affine = None if calibration is None else (calibration.weights[0], calibration.offset)
        self.min_samples = detector.min_samples
        self.eval()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it gives."""
        return OUTPUTS if self.affine is not None else OUTPUTS[:-1]

    def forward(self, wave: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        length = torch.full((wave.shape[0],), wave.shape[1], dtype=torch.long, device=wave.device)
        output = self.back_end(self.front_end(wave, length))
        logits = output.logits
        if self.unknown is not None:
            logits = logits.masked_fill(self.unknown, UNKNOWN)
        score = logits[:, 0] - logits[:, 1]
        told = (score, logits, output.embedding)
        if self.affine is None:
            return told
        weight, offset = self.affine
        return (*told, weight * score + offset)


def _require_exportable(detector: Detector, calibration: Calibration | None) -> None:
    eats = detector.front_end.eats
    if eats != "wave":
        raise SettingsError(f"only detectors of audio are exported; this one eats {eats}s.")
    if detector.classes != CLASSES:
        raise SettingsError(
            "only detectors of bonafide and spoof are exported; this one names "
            f"{', '.join(detector.classes)}."
        )
    if detector.rule is not None:
        raise SettingsError(
            "this detector decides by a rule made from clips, which is not part of its network; only "
            "detectors that decide by their own logits are exported."
        )
    if calibration is not None and calibration.kind != "affine":
        raise SettingsError(
            f"the calibration in the detector's card is {calibration.kind}, and only an affine one can "
            "stand in the graph: fit one with `earwitness calibrate`, or export with --no-calibration."
        )
