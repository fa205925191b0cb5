"""Area under the ROC curve: how well scores order the two classes, without any threshold."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import both_classes, metric
from earwitness.metrics.curves import Sweep

__all__ = ["auc"]


def _of_sweep(counts: Sweep) -> NDArray[np.float64]:
    """Each spoof trial counts the bonafide trials above it, and half of those beside it."""
    all_bonafide, all_spoof = counts.bonafide[..., -1], counts.spoof[..., -1]
    not_above_twice = counts.bonafide[..., :-1] + counts.bonafide[..., 1:]
    spoofs_here = np.diff(counts.spoof, axis=-1)
    pairs_twice = (spoofs_here * (2 * all_bonafide[..., None] - not_above_twice)).sum(axis=-1)
    return pairs_twice / (2 * all_bonafide * all_spoof)


@metric(lower_is_better=False, of_sweep=_of_sweep)
def auc(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Area under the ROC curve: how often a bonafide trial scores above a spoof, ties by halves.

    The Mann-Whitney statistic over all pairs, divided by their number (Hanley & McNeil, "The
    meaning and use of the area under a ROC curve", Radiology 1982). Counted in integers, exactly.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.

    Returns:
        A fraction from 0 (inverted) over 0.5 (chance) to 1 (perfect).

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.

    >>> auc([1, 2], [0, 1])
    0.875
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    fewer, more = sorted((np.sort(bonafide), np.sort(spoof)), key=len)
    below_twice = int((more.searchsorted(fewer) + more.searchsorted(fewer, side="right")).sum())
    pairs_twice = 2 * len(bonafide) * len(spoof)
    if len(spoof) < len(bonafide):
        below_twice = pairs_twice - below_twice
    return below_twice / pairs_twice
