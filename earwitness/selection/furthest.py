"""The clips furthest from their class's mean embedding."""

import numpy as np

from earwitness.selection.base import Chosen, Selector
from earwitness.selection.pool import Pool

__all__ = ["Furthest"]


class Furthest(Selector):
    """The clips furthest from the mean of their class: untypical ones, hard or wrongly labelled.

    >>> pool = Pool(np.array([[0.0], [2.0], [9.0]]), np.arange(3), np.arange(3), "spoof", np.zeros(3))
    >>> Furthest().choose(pool, 2, np.random.default_rng(0)).places.tolist()
    [2, 0]
    """

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """By Euclidean distance from the mean, the greatest first."""
        distance = pool.distances(pool.mean())
        return Chosen.of(pool.ordered(-distance)[:count], distance=distance)
