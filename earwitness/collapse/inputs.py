"""What comes in, checked: embeddings, class numbers and the last layer, as arrays or tensors.

Torch tensors are taken without importing torch. Large ones are read some rows at a time, so that
nothing of the size of all embeddings is ever made.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError

__all__ = [
    "Floats",
    "chunks",
    "require_embeddings",
    "require_finite",
    "require_head",
    "require_labels",
    "require_table",
]

Floats = NDArray[np.float64]

_NUMBERS = 2**20  # read at a time: 8 MB as float64
_ROWS = 4096  # and no more rows than this, where they are short
_LARGEST = 1e100  # the sum of squares of a billion such numbers is far from overflow


def _to_numpy(values: Any, where: str) -> NDArray[Any]:
    """An array or a tensor (of any device, with or without gradients) as a numpy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point():
            values = values.double()  # numpy has no bfloat16
        return values.numpy()
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ProtocolError(f"{where}: not an array of numbers ({error}).") from None


def _to_floats(values: Any, where: str) -> Floats:
    array = _to_numpy(values, where)
    if array.dtype.kind not in "fiu":
        raise ProtocolError(f"{where}: found the type {array.dtype}; expected real numbers.")
    return array.astype(np.float64, copy=False)


def require_embeddings(h: Any, dim: int) -> Any:
    """``h`` itself, ``(clips, dim)``, or as an array where it was a list; numbers are not looked at.

    Raises:
        ProtocolError: another shape.
    """
    h = h if hasattr(h, "shape") else _to_numpy(h, "h")
    if len(h.shape) != 2 or h.shape[1] != dim:
        raise ProtocolError(
            f"h has the shape {tuple(h.shape)}; expected (clips, {dim}), one embedding a row. "
            "A single clip is h[None]; frames are to be pooled first."
        )
    return h


def chunks(h: Any) -> Iterator[tuple[int, Floats]]:
    """Where a part of ``h`` begins, and its rows as float64."""
    rows = max(1, min(_ROWS, _NUMBERS // h.shape[1]))
    for start in range(0, h.shape[0], rows):
        yield start, _to_floats(h[start : start + rows], "h")


def require_finite(h: Any) -> None:
    """Nothing, or an error: before anything is done with ``h``, so that it is used whole or not at all.

    Raises:
        ProtocolError: NaN, infinite or beyond 1e100; says how many rows and which is first.
    """
    wrong, first = 0, ""
    for start, part in chunks(h):
        if _fit(part):
            continue
        rows = np.flatnonzero(~(np.abs(part) <= _LARGEST).all(axis=1))
        wrong += len(rows)
        if not first:
            column = np.flatnonzero(~(np.abs(part[rows[0]]) <= _LARGEST))[0]
            first = f"row {start + rows[0]}, column {column} ({part[rows[0], column]})"
    if wrong:
        raise ProtocolError(
            f"h: {wrong} of {h.shape[0]} rows hold numbers that are NaN, infinite or beyond 1e100, "
            f"first {first}; expected finite embeddings. Nothing of h was used: look at these clips."
        )


def _fit(numbers: Floats) -> bool:
    """Whether all are finite and their squares too; without a copy, and false for NaN."""
    return not numbers.size or bool(numbers.max() <= _LARGEST and numbers.min() >= -_LARGEST)


def require_labels(y: Any, clips: int, classes: int) -> NDArray[np.int64]:
    """Class numbers ``(clips,)``, each from 0 to ``classes`` - 1.

    Raises:
        ProtocolError: another number of them, no integers, or one out of range.
    """
    codes = _to_numpy(y, "y")
    if codes.shape != (clips,):
        raise ProtocolError(
            f"y has the shape {codes.shape}; expected ({clips},), one class a row of h."
        )
    if codes.dtype.kind not in "iu" and clips:
        raise ProtocolError(
            f"y: found the type {codes.dtype}; expected whole numbers from 0 to {classes - 1}. "
            "Of a manifest, earwitness.collapse.relabel makes them."
        )
    wrong = np.flatnonzero((codes < 0) | (codes >= classes))
    if len(wrong):
        raise ProtocolError(
            f"y: {len(wrong)} of {clips} classes are out of range, first {codes[wrong[0]]} in row "
            f"{wrong[0]}; expected 0 to {classes - 1}, as this is about {classes} class(es)."
        )
    return codes.astype(np.int64)


def require_table(values: Any, shape: tuple[int, ...], where: str, hint: str) -> Floats:
    """A small array of finite float64 numbers in the given shape.

    Raises:
        ProtocolError: another shape, NaN, infinite or beyond 1e100; ends with the hint.
    """
    table = _to_floats(values, where)
    if table.shape != shape:
        raise ProtocolError(f"{where} has the shape {table.shape}; expected {shape}: {hint}")
    if not _fit(table):
        wrong = int((~(np.abs(table) <= _LARGEST)).sum())
        raise ProtocolError(
            f"{where}: {wrong} number(s) are NaN, infinite or beyond 1e100; expected finite: {hint}"
        )
    return table


def require_head(weight: Any, bias: Any, classes: int, dim: int) -> tuple[Floats, Floats] | None:
    """Weight and bias of the last layer; zeros for a bias of None; None where there is no weight.

    Raises:
        ProtocolError: another shape, NaN or infinite numbers, or a bias without a weight.
    """
    if weight is None:
        if bias is not None:
            raise ProtocolError("a bias was given without a weight; give both, or neither.")
        return None
    hint = "one row for each class, in the order of the classes (a head of one logit has none)."
    weight = require_table(weight, (classes, dim), "weight", hint)
    if bias is None:
        return weight, np.zeros(classes)
    return weight, require_table(bias, (classes,), "bias", "one number for each class.")
