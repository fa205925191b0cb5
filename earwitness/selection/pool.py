"""The clips of one class that a rule may choose from, and their embeddings, read block by block.

Memory doesn't grow with the number of clips, but for some numbers a clip: an embedding is in memory
only while its block is. All sums are float64. A distance follows from its own row and the centre alone,
and a mean is added up row by row: neither depends on how rows are cut into blocks, on who else is in a
block, or on the number of threads, so equal embeddings are exactly equally far.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError

__all__ = ["Pool"]

_BLOCK = 256  # rows; as float64 they stay in a core's cache
_LARGEST = 1e150  # the square of more could be infinite
_CLOSE = 1e-9  # relative to squared lengths; products of matrices are right to about 1e-13


@dataclass(frozen=True)
class Pool:
    """Clips of one class; a place is a number from 0 to ``len(pool) - 1``.

    Args:
        embeddings: (rows, dimensions), in memory or mapped from a file.
        rows: (clips,) where in it each clip's embedding is.
        order: (clips,) distinct numbers that decide ties, and which clip a draw means: alphabetical
            order of the ids.
        label: the class.
        generators: (clips,) a number for each generator, -1 where nobody knows it.
        margins: (clips,) how far the detector's score is on the side of the own class, if known.

    >>> pool = Pool(np.array([[0.0], [4.0], [5.0]]), np.arange(3), np.arange(3), "spoof", np.zeros(3))
    >>> pool.mean(), pool.distances(pool.mean())
    (array([3.]), array([3., 1., 2.]))
    """

    embeddings: NDArray[Any]
    rows: NDArray[np.intp]
    order: NDArray[np.intp]
    label: str
    generators: NDArray[np.intp]
    margins: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """All embeddings, some rows at a time, and the places that they are of."""
        for start in range(0, len(self), _BLOCK):
            here = slice(start, start + _BLOCK)
            yield here, self.take(self.rows[here])

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Some rows of the embeddings: a copy in memory.

        Raises:
            ProtocolError: NaN, infinite numbers, or such that squares of them would be.
        """
        taken = np.empty((len(rows), self.embeddings.shape[1]))
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            block = taken[start : start + _BLOCK]
            block[:] = self.embeddings[_as_slice(some)]
            _release(self.embeddings)
            _require_numbers(block, some)
        return taken

    def mean(self) -> NDArray[np.float64]:
        """(dimensions,) the mean embedding."""
        total = np.zeros(self.embeddings.shape[1])
        for _, block in self.blocks():
            for row in block:  # one after another: the sum of a block by itself would depend on blocks
                total += row
        return total / len(self)

    def distances(self, centre: NDArray[np.float64]) -> NDArray[np.float64]:
        """(clips,) Euclidean distance of each clip from a point."""
        found = np.empty(len(self))
        for here, block in self.blocks():
            found[here] = _lengths(np.subtract(block, centre, out=block))
        return found

    def nearest(self, centres: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """(clips,) which of the centres (centres, dimensions) is the nearest, and how far it is."""
        cluster, distance = np.empty(len(self), dtype=np.intp), np.empty(len(self))
        for here, block in self.blocks():
            cluster[here] = _nearest(block, centres)
            distance[here] = _lengths(block - centres[cluster[here]])
        return cluster, distance

    def ordered(self, key: NDArray[np.float64]) -> NDArray[np.intp]:
        """All places by a key, the smallest first; ties by id."""
        return np.lexsort((self.order, key))

    def shuffled(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """All places at random; the order in which clips are given makes no difference."""
        return rng.permutation(np.argsort(self.order))

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """``count`` places drawn at random, or all there are; in order of their ids."""
        drawn = self.shuffled(rng)[:count] if count < len(self) else np.arange(len(self))
        return drawn[np.argsort(self.order[drawn])]

    def part(self, places: NDArray[np.intp]) -> "Pool":
        """Some of the clips, with their embeddings in memory."""
        return Pool(
            self.take(self.rows[places]),
            np.arange(len(places)),
            self.order[places],
            self.label,
            self.generators[places],
            None if self.margins is None else self.margins[places],
        )


def _as_slice(rows: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """The same rows; where they follow one another, in a way that is read without a copy."""
    in_a_row = len(rows) > 0 and (np.diff(rows) == 1).all()
    return slice(rows[0], rows[-1] + 1) if in_a_row else rows


def _require_numbers(block: NDArray[np.float64], rows: NDArray[np.intp]) -> None:
    if -_LARGEST < block.min(initial=0) and block.max(initial=0) < _LARGEST:  # NaN is neither
        return
    wrong = rows[~(np.abs(block) < _LARGEST).all(axis=1)]
    raise ProtocolError(
        f"row {wrong[0]} of the embeddings has NaN, infinite or absurdly large numbers."
    )


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.square(rows, out=rows).sum(axis=1))


def _nearest(block: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """By a product of matrices, whose last bits depend on the block; where they decide, row by row."""
    squares = np.square(centres).sum(axis=1)
    rough = squares - 2 * block @ centres.T
    best = rough.argmin(axis=1)
    if len(centres) == 1:
        return best
    least, second = np.partition(rough, 1, axis=1)[:, :2].T
    close = np.flatnonzero(second - least <= _CLOSE * (np.square(block).sum(axis=1) + squares.max()))
    best[close] = np.stack([_lengths(block[close] - c) for c in centres], axis=1).argmin(axis=1)
    return best


def _release(array: NDArray[Any]) -> None:
    """Give back the pages of a file that is mapped for reading: it is read once, from end to end."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and not array.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
