"""As many clips of every generator, drawn at random.

Source: DOSS-Select of Huang, Mao & Qian, arXiv 2512.18210, which caps the clips of every generator of
a corpus and scales its bonafide ones by a ratio. How clips are drawn below the cap is our choice.
"""

import numpy as np

from earwitness.errors import SettingsError
from earwitness.selection.base import Chosen, Selector, take
from earwitness.selection.pool import Pool
from earwitness.selection.quotas import share
from earwitness.trials import CLASSES

__all__ = ["PerGeneratorCap"]


class PerGeneratorCap(Selector):
    """Random clips, no generator giving more than another that has some left.

    The cap is the number that fills the class's count. Embeddings aren't looked at.

    Args:
        cap: clips of a generator at most, even if the count isn't reached; bonafide has none.

    >>> pool = Pool(np.zeros((6, 1)), np.arange(6), np.arange(6), "spoof", np.array([0, 1, 0, 0, 0, 2]))
    >>> chosen = PerGeneratorCap().choose(pool, 4, np.random.default_rng(0))
    >>> chosen.cluster.tolist()
    [0, 0, 1, 2]

    Raises:
        SettingsError: a cap below one clip.
    """

    def __init__(self, *, cap: int | None = None):
        if cap is not None and cap < 1:
            raise SettingsError(f"cap is {cap}, expected 1 or more.")
        self.cap = cap

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """In the order drawn, generator by generator."""
        _, generator = np.unique(pool.generators, return_inverse=True)
        sizes = np.bincount(generator)
        if self.cap is not None and pool.label != CLASSES[0]:
            sizes = np.minimum(sizes, self.cap)
        shares = share(count, sizes.tolist(), "equal")
        return Chosen.of(take(pool.shuffled(rng), generator, shares), cluster=generator)
