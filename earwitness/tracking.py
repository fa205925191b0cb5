"""Neural collapse while a detector learns: one record an epoch or a task, of its training clips."""

from typing import Any

import numpy as np
from torch import nn

from earwitness.batches import Clips
from earwitness.collapse import CollapseAccumulator, Undefined, nc4_mismatch
from earwitness.detector import Detector
from earwitness.strategies.base import quiet

__all__ = ["measure_collapse"]

_BATCH = 64
_KEPT_BYTES = 128 * 2**20  # embeddings held for NC4, which needs the means first


def measure_collapse(detector: Detector, clips: Clips) -> dict[str, Any]:
    """Every metric of `earwitness.collapse` on training clips: the window that begins each.

    Of the classes that have clips, in ``classes`` by name. One pass. NC4 compares each clip with the
    means of all, so it is told where the embeddings fit into 128 MiB. Values that aren't defined are
    words that say why. The detector is left as it was.
    """
    present = np.unique(clips.labels)
    accumulator = CollapseAccumulator(len(present), detector.back_end.dim)
    kept: list[np.ndarray] = []
    fits = len(clips) * detector.back_end.dim * 4 <= _KEPT_BYTES
    with quiet(detector):
        for positions in np.array_split(np.arange(len(clips)), -(-len(clips) // _BATCH)):
            batch = clips.batch(positions).to(detector.device)
            h = detector.hear(batch).embedding.cpu().numpy()
            accumulator.update(h, np.searchsorted(present, batch.label.cpu().numpy()))
            kept += [h] if fits else []
    weight, bias = _head(detector, present)
    told = accumulator.metrics(weight, bias)
    if weight is None:
        told["nc4"] = Undefined("the head is not linear")
    elif len(present) < 2:
        told["nc4"] = Undefined("clips of one class only")
    elif not fits:
        told["nc4"] = Undefined("the embeddings don't fit into 128 MiB")
    else:
        told["nc4"] = nc4_mismatch(np.concatenate(kept), accumulator.means, weight, bias)
    names = [detector.classes[n] for n in present]
    return {"classes": names} | {name: _plain(value) for name, value in told.items()}


def _head(detector: Detector, present: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Weight and bias of the logits of some classes; None where the head is not linear."""
    head = detector.back_end.head
    if type(head) is not nn.Linear:  # a cosine head is one, with other logits
        return None, None
    weight = head.weight.detach().cpu().numpy()[present]
    return weight, None if head.bias is None else head.bias.detach().cpu().numpy()[present]


def _plain(value: Any) -> Any:
    """Numbers, words, and lists of them."""
    if isinstance(value, tuple | list | np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return str(value)
    return int(value) if isinstance(value, int | np.integer) else float(value)
