"""A metric that has no value, and why: never inf, NaN or 0 in its place."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Degenerate", "Undefined", "Value", "tell"]


class Undefined(str):
    """Stands where a number would: the text ``"undefined: why"``, with ``.why``.

    It is a string, so it prints and goes into JSON as it is, and cannot pass for a number: ``float``,
    arithmetic, ``<`` and number formats are errors.

    >>> found = Undefined("class 2 has no clip")
    >>> print(found)
    undefined: class 2 has no clip
    >>> found.why
    'class 2 has no clip'
    >>> float(found)
    Traceback (most recent call last):
    ...
    ValueError: could not convert string to float: 'undefined: class 2 has no clip'
    """

    __slots__ = ()

    def __new__(cls, why: str) -> "Undefined":
        """Of a reason, without the word undefined."""
        return super().__new__(cls, f"undefined: {why}")

    def __getnewargs__(self) -> tuple[str]:  # else a copy or a pickle would say "undefined" twice
        return (self.why,)

    @property
    def why(self) -> str:
        """The reason, without the word before it."""
        return str(self).removeprefix("undefined: ")

    def __mul__(self, other: object) -> Any:  # all other arithmetic is refused to text anyway
        raise TypeError(f"a metric that is {self} can't be multiplied.")

    __rmul__ = __mul__


Value = float | Undefined


class Degenerate(Exception):
    """Raised inside a formula where it has no value; `tell` turns it into an `Undefined`."""


def tell(formula: Callable[..., float], *args: Any) -> Value:
    """The value of a formula, or why it has none.

    >>> tell(lambda x: 1 / x, np.float64(0))
    'undefined: the result (inf) is no finite 64-bit number'
    """
    try:
        with np.errstate(all="ignore"):  # what comes of it is looked at next
            value = float(formula(*args))
    except Degenerate as reason:
        return Undefined(str(reason))
    if not math.isfinite(value):
        return Undefined(f"the result ({value}) is no finite 64-bit number")
    return value
