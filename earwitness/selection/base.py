"""What every selection rule is: a pool of clips of one class to the best of them."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.selection.pool import Pool

__all__ = ["Chosen", "Selector", "take"]


class Chosen(NamedTuple):
    """Places in a pool, the best of each cluster first, with its cluster and its distance.

    The distance is NaN where the rule looks at none.
    """

    places: NDArray[np.intp]
    cluster: NDArray[np.intp]
    distance: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        places: NDArray[np.intp],
        *,
        cluster: NDArray[np.intp] | None = None,
        distance: NDArray[np.float64] | None = None,
    ) -> Self:
        """The clips at these places; ``cluster`` and ``distance`` are of all clips of the pool."""
        none, unknown = np.zeros(len(places), dtype=np.intp), np.full(len(places), np.nan)
        return cls(
            places,
            none if cluster is None else cluster[places],
            unknown if distance is None else distance[places],
        )


class Selector(ABC):
    """Base of selection rules; ``needs_margins`` says whether one must know the detector's verdicts."""

    needs_margins = False
    built_from: dict[str, Any]

    @abstractmethod
    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """At most ``count`` clips of the pool, none twice."""


def take(ordered: NDArray[np.intp], cluster: NDArray[np.intp], shares: list[int]) -> NDArray[np.intp]:
    """The first ``shares[c]`` of each cluster's places, in the order given.

    >>> take(np.array([3, 1, 0, 2]), np.array([0, 1, 0, 1]), [1, 2]).tolist()
    [0, 3, 1]
    """
    of = cluster[ordered]
    return np.concatenate([ordered[of == c][:share] for c, share in enumerate(shares)])
