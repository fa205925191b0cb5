"""Clips drawn at random: what every other rule must beat."""

import numpy as np

from earwitness.selection.base import Chosen, Selector
from earwitness.selection.pool import Pool

__all__ = ["Random"]


class Random(Selector):
    """Clips drawn at random from their class; embeddings aren't looked at.

    >>> pool = Pool(np.zeros((9, 1)), np.arange(9), np.arange(9), "spoof", np.zeros(9))
    >>> len(set(Random().choose(pool, 4, np.random.default_rng(0)).places.tolist()))
    4
    """

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """In the order drawn."""
        return Chosen.of(pool.shuffled(rng)[:count])
