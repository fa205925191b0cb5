"""Neural collapse while a detector learns: one record an epoch or a task, of its training clips."""

from typing import Any

import numpy as np
from torch import nn

from earwitness.batches import Clips
from earwitness.collapse import CollapseAccumulator, nc4_mismatch
from earwitness.detector import Detector
from earwitness.strategies.base import quiet

__all__ = ["measure_collapse"]

_BATCH = 64
_KEPT_BYTES = 128 * 2**20  # embeddings held for NC4, which needs the means first


def measure_collapse(detector: Detector, clips: Clips) -> dict[str, Any]:
    """Every metric of `earwitness.collapse` on training clips as they are judged: no random crops.

    One pass. NC4 compares each clip with the means of all, so it is told where the embeddings fit into
    128 MiB. Values that aren't defined are words that say why. The detector is left as it was.
    """
    accumulator = CollapseAccumulator(len(detector.classes), detector.back_end.dim)
    kept: list[np.ndarray] | None = []
    with quiet(detector):
        for positions in np.array_split(np.arange(len(clips)), -(-len(clips) // _BATCH)):
            batch = clips.batch(positions).to(detector.device)
            h = detector.hear(batch).embedding.cpu().numpy()
            accumulator.update(h, batch.label.cpu().numpy())
            if kept is not None:
                kept.append(h)
                kept = kept if len(clips) * h[0].nbytes <= _KEPT_BYTES else None
    head = detector.back_end.head
    weight, bias = (None, None)
    if isinstance(head, nn.Linear):
        weight = head.weight.detach().cpu().numpy()
        bias = None if head.bias is None else head.bias.detach().cpu().numpy()
    told = accumulator.metrics(weight, bias)
    if weight is not None and kept and len(set(accumulator.counts) - {0}) and min(accumulator.counts):
        told["nc4"] = nc4_mismatch(np.concatenate(kept), accumulator.means, weight, bias)
    return {name: _plain(value) for name, value in told.items()}


def _plain(value: Any) -> Any:
    """Numbers, words, and lists of them."""
    if isinstance(value, tuple | list | np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return str(value)
    return int(value) if isinstance(value, int | np.integer) else float(value)
