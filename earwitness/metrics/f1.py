"""F1 at a threshold that was chosen elsewhere."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import SettingsError
from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep, sweep
from earwitness.metrics.decisions import require_threshold

__all__ = ["f1"]

Positive = Literal["spoof", "bonafide"]


def _of_sweep(counts: Sweep, *, threshold: float, positive: Positive = "spoof") -> NDArray[np.float64]:
    if positive not in ("spoof", "bonafide"):
        raise SettingsError(f"f1: positive is {positive!r}, expected spoof or bonafide.")
    missed, rejected = counts.below(require_threshold(threshold, "f1"))
    alarms = counts.spoof[..., -1] - rejected
    right = rejected if positive == "spoof" else counts.bonafide[..., -1] - missed
    return 2 * right / (2 * right + missed + alarms)


@metric(lower_is_better=False, of_sweep=_of_sweep, order_only=False)
def f1(
    bonafide: ArrayLike, spoof: ArrayLike, *, threshold: float, positive: Positive = "spoof"
) -> float:
    """Harmonic mean of precision and recall of one class; ``score >= threshold`` means bonafide.

    The threshold is chosen on development data, never on the trials it is used for. The value
    depends on how many trials each class has and on which class is called positive.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.
        threshold: the lowest score that is called bonafide.
        positive: the class that is looked for.

    Returns:
        A fraction from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: the threshold is NaN or infinite, or no such class.

    >>> f1([0, 1, 1, 2], [0, 0, 1, 1], threshold=1)
    0.5714285714285714
    """
    return float(_of_sweep(sweep(bonafide, spoof), threshold=threshold, positive=positive))
