"""What a reference is worth: the same trials scored with it, without it, and with it spoilt.

The diagnostics are those behind RAT's analysis (arXiv 2606.10908), whose released code calls a
function that it doesn't have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earwitness.backends.rat import RAT
from earwitness.batches import Clips
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.evaluation import Evaluation, evaluate
from earwitness.frontends.base import Frames
from earwitness.metrics import METRICS
from earwitness.metrics.paired import Difference, differences
from earwitness.metrics.units import sampling
from earwitness.protocols import Protocol
from earwitness.references import References, Way
from earwitness.scores import Scores
from earwitness.scoring import score
from earwitness.strategies.base import quiet
from earwitness.trials import Manifest

__all__ = ["GRID", "Diagnosis", "Heard", "diagnose", "reference_grid"]

GRID = (
    *("real", "zero", "snr=20", "snr=10", "duration=3", "duration=1"),
    *("silence", "noise", "mismatch"),
)
_COMPARED = ("eer", "min_dcf")


@dataclass(frozen=True)
class Heard:
    """Scores with references of one kind, what they are worth, and how they differ from real ones.

    ``difference`` has this way minus real references by metric, by a paired bootstrap over the same
    unit as the intervals; empty for real references themselves.
    """

    way: str
    scores: Scores
    judged: Evaluation
    difference: dict[str, Difference]


def reference_grid(
    detector: Detector,
    manifest: Manifest,
    references: References,
    ways: Sequence[str] = GRID,
    *,
    draws: int = 1000,
    unit: str = "auto",
    on_way: Callable[[str], object] = lambda way: None,
) -> list[Heard]:
    """Score a manifest once for each way to spoil its references, ``real`` always first.

    Args:
        detector: its back end must want a reference.
        manifest: labelled trials. ``references``: of them.
        ways: see `references.Way`.
        draws, unit: of the bootstrap.

    Raises:
        SettingsError: no such way, or a detector that hears no references.
        AudioError: a recording or reference can't be used.
    """
    parsed = [Way.parse(way) for way in dict.fromkeys(["real", *ways])]
    protocol = Protocol.of(manifest)
    found: list[Heard] = []
    for way in parsed:
        on_way(str(way))
        told = score(detector, manifest, references=references, way=way)
        assert isinstance(told, Scores)
        judged = evaluate(told, protocol, unit=unit, draws=draws)
        apart = _apart(told, found[0].scores, protocol, unit, draws) if found else {}
        found.append(Heard(str(way), told, judged, apart))
    return found


def _apart(
    one: Scores, real: Scores, protocol: Protocol, unit: str, draws: int
) -> dict[str, Difference]:
    drawn = sampling(protocol, unit)
    return differences(
        {name: METRICS.get(name) for name in _COMPARED},
        (one.bonafide, one.spoof),
        (real.bonafide, real.spoof),
        draws=draws,
        clusters=drawn.clusters,
        attacks=drawn.attacks,
    )


class Diagnosis(NamedTuple):
    """Numbers a trial, ``(trials,)`` each, and what they come to.

    ``test_gradient`` and ``reference_gradient``: RMS of the loss's slope by the frames of the
    recording and of the reference. ``margin``: bonafide minus spoof logit with the reference, ``noise``
    with Gaussian noise of its energy in its place, ``zero`` without. ``branch_ratio``: RMS of what
    attention adds over that of the MLP.
    """

    test_gradient: NDArray[np.float64]
    reference_gradient: NDArray[np.float64]
    margin: NDArray[np.float64]
    noise: NDArray[np.float64]
    zero: NDArray[np.float64]
    branch_ratio: NDArray[np.float64]

    def summary(self) -> dict[str, float]:
        """``gradient_ratio``, ``branch_ratio``, and margin shifts, absolute and as shares."""
        whole = float(np.abs(self.margin).sum())
        shifts = {"noise": np.abs(self.margin - self.noise), "zero": np.abs(self.margin - self.zero)}
        told = {f"margin_shift_{name}": float(shift.mean()) for name, shift in shifts.items()}
        told |= {f"margin_share_{name}": float(shift.sum()) / whole for name, shift in shifts.items()}
        ratio = float(self.reference_gradient.mean() / self.test_gradient.mean())
        branches = {
            "branch_ratio": float(self.branch_ratio.mean()),
            "branch_ratio_sd": float(self.branch_ratio.std()),
        }
        return {"gradient_ratio": ratio, **told, **branches}


def diagnose(detector: Detector, manifest: Manifest, references: References) -> Diagnosis:
    """How much a RAT detector leans on its references: one window of each trial that has one.

    Raises:
        SettingsError: the back end is no RAT, or has no block.
    """
    if not isinstance(detector.back_end, RAT) or detector.back_end.variant == "baseline":
        raise SettingsError("these diagnostics are of the back end rat, with its block.")
    missing = set(references.missing)
    heard = manifest.where(lambda trial: trial.id not in missing)
    clips = Clips(heard, seconds=detector.windows.seconds, references=references)
    columns: list[dict[str, Tensor]] = []
    with quiet(detector):
        for places in np.array_split(np.arange(len(clips)), -(-len(clips) // 32)):
            columns.append(_diagnosed(detector, clips, places))
    joined = {name: torch.cat([one[name] for one in columns]).numpy() for name in columns[0]}
    return Diagnosis(**joined)


def _diagnosed(detector: Detector, clips: Clips, places: Any) -> dict[str, Tensor]:
    batch = clips.batch(places).to(detector.device)
    assert batch.reference is not None
    assert batch.reference_length is not None
    back_end = detector.back_end
    assert isinstance(back_end, RAT)
    test = detector.front_end(batch.wave, batch.length)
    other = detector.front_end(batch.reference, batch.reference_length)
    noisy = detector.front_end(_matched_noise(batch.reference, batch.ids), batch.reference_length)
    slopes = _slopes(back_end, test, other, batch.label)
    attended, added = back_end.branches(test, other)
    told = {
        "test_gradient": slopes[0],
        "reference_gradient": slopes[1],
        "margin": back_end(test, other).score,
        "noise": back_end(test, noisy).score,
        "zero": back_end(test, None).score,
        "branch_ratio": _rms(attended) / _rms(added),
    }
    return {name: value.detach().double().cpu() for name, value in told.items()}


@torch.enable_grad()
def _slopes(back_end: RAT, test: Frames, other: Frames, label: Tensor) -> tuple[Tensor, Tensor]:
    """RMS of each clip's own loss by its frames and its reference's."""
    leaves = [one.values.detach().clone().requires_grad_() for one in (test, other)]
    output = back_end(Frames(leaves[0], test.length), Frames(leaves[1], other.length))
    # A sum, so that a clip's slope doesn't depend on how many clips the batch has.
    F.cross_entropy(output.logits, label, reduction="sum").backward(inputs=leaves)
    found = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return _rms(found[0]), _rms(found[1])


def _rms(values: Tensor) -> Tensor:
    return values.flatten(1).square().mean(1).sqrt()


def _matched_noise(wave: Tensor, ids: Sequence[str]) -> Tensor:
    noise = Way("noise")
    rows = [noise.apply(row.cpu().numpy(), name) for row, name in zip(wave, ids, strict=True)]
    return torch.from_numpy(np.stack(rows)).to(wave.device)
