"""The clips nearest to the centres of their class's clusters."""

from typing import Literal

import numpy as np

from earwitness.errors import SettingsError
from earwitness.selection.base import Chosen, Selector, take
from earwitness.selection.clusters import choose_k, kmeans
from earwitness.selection.pool import Pool
from earwitness.selection.quotas import Quota, share
from earwitness.trials import CLASSES

__all__ = ["KMeansNearest"]

_LOOKED_AT = 5_000  # clips by which the number of clusters is judged


class KMeansNearest(Selector):
    """Spoofs nearest to the centres of K-means clusters; bonafide clips nearest to their mean.

    Neural-collapse sampling with its K-means step, so that every kind of fake has clips near a centre.

    Args:
        clusters: how many; ``generators`` is as many as are known, and the best silhouette of 2 to 12
            where none is; ``silhouette`` always the latter.
        quota: of each cluster ``equal`` many, or ``proportional`` to its size.
        restarts: of K-means; the best is kept.
        sample: clips at most that K-means looks at, drawn at random; all are then assigned.

    >>> rows = np.array([[0.0], [0.4], [0.1], [9.0], [9.3]])
    >>> pool = Pool(rows, np.arange(5), np.arange(5), "spoof", np.array([0, 0, 0, 1, 1]))
    >>> chosen = KMeansNearest().choose(pool, 2, np.random.default_rng(0))
    >>> sorted(chosen.places.tolist())
    [2, 3]

    Raises:
        SettingsError: a number below 1.
    """

    def __init__(
        self,
        *,
        clusters: int | Literal["generators", "silhouette"] = "generators",
        quota: Quota = "equal",
        restarts: int = 10,
        sample: int = 20_000,
    ):
        for name, value in {"clusters": clusters, "restarts": restarts, "sample": sample}.items():
            if isinstance(value, int) and value < 1:
                raise SettingsError(f"{name} is {value}, expected 1 or more.")
        self.clusters, self.quota = clusters, quota
        self.restarts, self.size = restarts, sample

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """By Euclidean distance from the cluster's centre, the least first."""
        k = self._count(pool, rng)
        centres = pool.mean()[None] if k == 1 else self._centres(pool, k, rng)
        cluster, distance = pool.nearest(centres)
        sizes = np.bincount(cluster, minlength=len(centres))
        shares = share(count, sizes.tolist(), self.quota)
        places = take(pool.ordered(distance), cluster, shares)
        return Chosen.of(places, cluster=cluster, distance=distance)

    def _count(self, pool: Pool, rng: np.random.Generator) -> int:
        """How many clusters; bonafide is one."""
        if pool.label == CLASSES[0]:
            return 1
        if isinstance(self.clusters, int):
            return min(self.clusters, len(pool))
        known = np.unique(pool.generators)
        if self.clusters == "generators" and known.max() >= 0:
            return len(known)
        return choose_k(self._rows(pool, _LOOKED_AT, rng), rng)

    def _centres(self, pool: Pool, k: int, rng: np.random.Generator) -> np.ndarray:
        return kmeans(self._rows(pool, self.size, rng), k, rng, restarts=self.restarts)

    @staticmethod
    def _rows(pool: Pool, most: int, rng: np.random.Generator) -> np.ndarray:
        return pool.take(pool.rows[pool.sample(most, rng)])
