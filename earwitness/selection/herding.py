"""Clips whose running mean stays as close as it can to their class's mean.

Source: Welling, "Herding dynamical weights to learn", ICML 2009, as iCaRL uses it (Rebuffi et al., CVPR
2017, algorithm 4). There embeddings are brought to unit length first; here they are taken as they are.
"""

import numpy as np

from earwitness.errors import SettingsError
from earwitness.selection.base import Chosen, Selector
from earwitness.selection.pool import Pool

__all__ = ["Herding"]


class Herding(Selector):
    """One clip after another, so that the mean of the chosen ones approaches the class's mean.

    The first clips are the best memory of any smaller size. Every choice reads all candidates once, so
    of a large corpus name some.

    Args:
        candidates: clips, drawn at random, that are chosen from; all unless given, and never fewer
            than are wanted. The mean is that of all.

    >>> rows = np.array([[0.0], [1.0], [2.0], [9.0]])
    >>> pool = Pool(rows, np.arange(4), np.arange(4), "spoof", np.zeros(4))
    >>> Herding().choose(pool, 3, np.random.default_rng(0)).places.tolist()
    [2, 1, 3]

    Raises:
        SettingsError: fewer than one candidate.
    """

    def __init__(self, *, candidates: int | None = None):
        if candidates is not None and candidates < 1:
            raise SettingsError(f"candidates is {candidates}, expected 1 or more.")
        self.candidates = candidates

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """In the order chosen; the distance is from the class's mean."""
        mean = pool.mean()
        if self.candidates is None:
            return _herd(pool, mean, count)
        places = pool.sample(max(self.candidates, count), rng)
        return (found := _herd(pool.part(places), mean, count))._replace(places=places[found.places])


def _herd(pool: Pool, mean: np.ndarray, count: int) -> Chosen:
    distance = pool.distances(mean)
    places, missing = np.empty(count, dtype=np.intp), mean.copy()
    for place in range(count):
        gaps = pool.distances(missing)  # |k mean - sum of the chosen - x| is least where the means are
        gaps[places[:place]] = np.inf
        places[place] = pool.ordered(gaps)[0]
        missing += mean - pool.take(pool.rows[places[[place]]])[0]
    return Chosen.of(places, distance=distance)
