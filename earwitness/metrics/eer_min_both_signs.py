"""Equal error rate with the sign that suits it, for comparison with tables computed that way."""

import numpy as np
from numpy.typing import ArrayLike

from earwitness.metrics.base import both_classes, metric
from earwitness.metrics.curves import equal_error_rate, sweep

__all__ = ["eer_min_both_signs"]


@metric(lower_is_better=True)
def eer_min_both_signs(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """The smaller of EER(scores) and EER(-scores): HIDES inverted scores; never use it to judge.

    The released code of EVDA (arXiv 2405.08596) reports this, so its numbers never exceed 50 %: a
    detector that is always wrong looks perfect, and chance looks a little better than chance.
    It is here only so that those tables can be compared with.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.

    Returns:
        A fraction from 0 to 0.5.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.

    >>> eer_min_both_signs([0, 1], [2, 3])
    0.0
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    as_given = equal_error_rate(sweep(bonafide, spoof))
    negated = equal_error_rate(sweep(-bonafide, -spoof))
    return float(np.minimum(as_given, negated))
