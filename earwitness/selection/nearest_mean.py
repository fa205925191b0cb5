"""The clips nearest to their class's mean embedding."""

import numpy as np

from earwitness.selection.base import Chosen, Selector
from earwitness.selection.pool import Pool

__all__ = ["NearestMean"]


class NearestMean(Selector):
    """The clips nearest to the mean of their class: neural-collapse sampling without clusters.

    Typical clips, which a detector finds easy. Of many generators it can leave rare ones out.

    >>> pool = Pool(np.array([[0.0], [2.0], [9.0]]), np.arange(3), np.arange(3), "spoof", np.zeros(3))
    >>> NearestMean().choose(pool, 2, np.random.default_rng(0)).places.tolist()
    [1, 0]
    """

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """By Euclidean distance from the mean, the least first."""
        distance = pool.distances(pool.mean())
        return Chosen.of(pool.ordered(distance)[:count], distance=distance)
