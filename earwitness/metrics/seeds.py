"""Intervals over seeds: how much a result would move with another run of the same experiment."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError, SettingsError

__all__ = ["mean_interval", "paired_difference"]

# A summary of one run may be None (undefined), which is refused here like any other non-number.
Values = ArrayLike | Sequence[float | None]
MeanInterval = tuple[float, float | None, float | None]


def mean_interval(values: Values, level: float = 0.95) -> MeanInterval:
    """Mean over seeds and its Student-t interval: ``(mean, low, high)``.

    One value has no interval: low and high are None. The interval takes runs as independent and
    roughly normal, and is wide with two or three seeds, as it should be ("Student", "The probable
    error of a mean", Biometrika 1908).

    >>> mean_interval([0.25])
    (0.25, None, None)
    >>> [round(end, 3) for end in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]

    Raises:
        ProtocolError: no value, or one that is None, NaN or infinite.
        SettingsError: ``level`` is not between 0 and 1.
    """
    from scipy.special import stdtrit  # a tenth of the start-up time of scipy.stats

    if not 0 < level < 1:
        raise SettingsError(f"mean_interval: level={level}; expected a number between 0 and 1.")
    numbers = _row(values)
    mean = float(numbers.mean())
    if len(numbers) == 1:
        return mean, None, None
    spread = numbers.std(ddof=1) / np.sqrt(len(numbers))
    half = float(stdtrit(len(numbers) - 1, (1 + level) / 2) * spread)
    return mean, mean - half, mean + half


def paired_difference(ours: Values, theirs: Values, level: float = 0.95) -> MeanInterval:
    """Mean of ours minus theirs over matched seeds, with its Student-t interval.

    What a seed does to both cancels, so the interval tells more than those of the two means.

    >>> paired_difference([0.5, 1.5], [0.25, 1.25])
    (0.25, 0.25, 0.25)

    Raises:
        ProtocolError: not equally many values, none, or one that is None, NaN or infinite.
        SettingsError: ``level`` is not between 0 and 1.
    """
    one, other = _row(ours), _row(theirs)
    if len(one) != len(other):
        raise ProtocolError(
            f"{len(one)} and {len(other)} values can't be paired; "
            "expected one of each for every seed, in the same order."
        )
    return mean_interval(one - other, level)


def _row(values: Values) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"values over seeds are not numbers ({error}).") from None
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ProtocolError(
            f"values over seeds are {numbers.tolist()}; expected at least one, all finite numbers."
        )
    return numbers
