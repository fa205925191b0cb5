"""How many clips of each class, and of each cluster or generator in it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from earwitness.errors import SettingsError

__all__ = ["Quota", "class_counts", "share"]

Quota = Literal["equal", "proportional"]


def share(count: int, sizes: Sequence[int], quota: Quota) -> list[int]:
    """Cut ``count`` into whole parts, none larger than its size; of all there is, where that is less.

    ``equal``: equally many of each; what is left over goes to the largest, and a group that is smaller
    than its part gives everything, and the others more. ``proportional``: by size, what is left over
    to the largest remainders.

    >>> share(10, [2, 100, 7], "equal"), share(10, [2, 100, 7], "proportional")
    ([2, 4, 4], [0, 9, 1])
    """
    count = min(count, sum(sizes))
    return _equal(count, sizes) if quota == "equal" else _proportional(count, sizes)


def _equal(count: int, sizes: Sequence[int]) -> list[int]:
    parts = [0] * len(sizes)
    ascending = sorted(range(len(sizes)), key=lambda g: (sizes[g], -g))
    for done, group in enumerate(ascending):
        parts[group] = min(sizes[group], count // (len(sizes) - done))
        count -= parts[group]
    return parts


def _proportional(count: int, sizes: Sequence[int]) -> list[int]:
    total = max(sum(sizes), 1)
    parts = [count * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda g: (-(count * sizes[g] % total), -sizes[g], g))
    for group in by_remainder[: count - sum(parts)]:
        parts[group] += 1
    return parts


def class_counts(
    sizes: Sequence[int], left: Sequence[int], *, rate: float | None, count: int | None, balance: bool
) -> list[int]:
    """Clips of each class: a rate of its ``sizes``, at least one, or parts of ``count``.

    ``left`` is how many of each may be chosen. With ``balance`` all classes give what the one with the
    fewest gives.

    >>> class_counts([2580, 22800], [2580, 22800], rate=0.05, count=None, balance=True)
    [129, 129]
    >>> class_counts([2580, 22800], [2580, 22800], rate=None, count=1000, balance=False)
    [102, 898]

    Raises:
        SettingsError: not one of rate and count, or out of range.
    """
    if (rate is None) == (count is None):
        raise SettingsError("say how much to select: a rate or a count, one of them.")
    if count is not None:
        if count < 1:
            raise SettingsError(f"count is {count}, expected 1 or more.")
        return share(count, left, "equal" if balance else "proportional")
    assert rate is not None
    if not 0 < rate <= 1:
        raise SettingsError(f"rate is {rate}, expected a number above 0 and up to 1.")
    exact = Fraction(repr(float(rate)))  # 0.29 of 100 is 29, and floats say 28.999...
    wanted = [min(max(1, int(exact * size)), some) for size, some in zip(sizes, left, strict=True)]
    return [min(wanted)] * len(wanted) if balance else wanted
