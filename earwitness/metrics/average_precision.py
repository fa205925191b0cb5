"""Average precision: how clean the top of the list stays as more of one class is found."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import SettingsError
from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep, sweep

__all__ = ["average_precision"]

Positive = Literal["spoof", "bonafide", "both"]


def _of_sweep(counts: Sweep, *, positive: Positive = "spoof") -> NDArray[np.float64]:
    if positive == "both":
        return (_of_sweep(counts, positive="spoof") + _of_sweep(counts, positive="bonafide")) / 2
    if positive == "spoof":  # the list begins at the lowest score
        found, others = counts.spoof, counts.bonafide
    elif positive == "bonafide":
        found, others = ((one[..., -1:] - one)[..., ::-1] for one in (counts.bonafide, counts.spoof))
    else:
        raise SettingsError(
            f"average_precision: positive is {positive!r}, expected spoof, bonafide or both."
        )
    listed = found + others
    precision = found[..., 1:] / np.maximum(listed[..., 1:], 1)  # nothing listed, nothing gained
    return (np.diff(found, axis=-1) * precision).sum(axis=-1) / found[..., -1]


@metric(lower_is_better=False, of_sweep=_of_sweep)
def average_precision(bonafide: ArrayLike, spoof: ArrayLike, *, positive: Positive = "spoof") -> float:
    """Mean of the precisions at which each trial of the positive class is found.

    ``sum_n (recall_n - recall_{n-1}) precision_n`` over the distinct scores, best first, without
    interpolation; tied trials are found together (Zhu, "Recall, precision and average precision",
    2004; scikit-learn's ``average_precision_score``). It depends on how many trials each class has:
    a useless detector has the share of the positive class.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.
        positive: the class that is looked for: ``"spoof"`` (lowest scores first), ``"bonafide"``
            (highest first), or ``"both"``, the mean of the two (mAP).

    Returns:
        A fraction from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: no such class.

    >>> average_precision([1, 2], [0, 1])
    0.8333333333333333
    """
    return float(_of_sweep(sweep(bonafide, spoof), positive=positive))
