"""A symmetric D x D sum of products, kept as its lower triangle in blocks of rows."""

from collections.abc import Iterator

import numpy as np

from earwitness.collapse.inputs import Floats

__all__ = ["Scatter"]

_BLOCK = 256  # rows of the triangle together; a saved state has this layout, so it stays


class Scatter:
    """The sum of x x^T over rows x, ``(D, D)``, of which the part above the diagonal is left out.

    ``numbers`` holds it: about D²/2 + 128 D of them, 71 MB at D = 4096. Half of the matrix, so that two
    can be merged, or one copied, under 200 MB there; and blocks, so that products need little beside.

    >>> kept = Scatter(2)
    >>> kept.add(np.array([[1.0, 2.0], [0.0, 1.0]]))
    >>> kept.along(np.array([[0.0, 1.0], [0.6, 0.8]]))
    array([5.  , 5.48])
    """

    def __init__(self, dim: int):
        self._edges = [(start, min(start + _BLOCK, dim)) for start in range(0, dim, _BLOCK)]
        self.numbers = np.zeros(sum((end - start) * end for start, end in self._edges))

    def add(self, rows: Floats) -> None:
        """Add ``rows^T rows``; rows are ``(n, D)``."""
        for start, end, block in self._blocks():
            np.add(block, rows[:, start:end].T @ rows[:, :end], out=block)

    def merge(self, other: "Scatter") -> None:
        """Add another of the same size."""
        self.numbers += other.numbers

    def along(self, axes: Floats) -> Floats:
        """q^T S q for each row q of ``axes``, ``(r, D)``."""
        found = np.zeros(len(axes))
        for start, end, block in self._blocks():
            twice = np.where(
                np.arange(end) < start, 2.0, 1.0
            )  # left of the diagonal block: also above it
            found += np.einsum("rd,rd->r", axes[:, start:end] @ block, axes[:, :end] * twice)
        return found

    def _blocks(self) -> Iterator[tuple[int, int, Floats]]:
        """First row, end, and the rows up to the diagonal block, ``(end - first, end)``."""
        place = 0
        for start, end in self._edges:
            size = (end - start) * end
            yield start, end, self.numbers[place : place + size].reshape(end - start, end)
            place += size
