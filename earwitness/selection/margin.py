"""The clips that are neither near the decision boundary nor far from it.

Source: Combei et al., Interspeech 2025 (arXiv 2506.09606), whose released code drops as many of the
smallest as of the greatest distances from the boundary. It does so in steps, over all classes; here it
is one step, class by class.
"""

import numpy as np

from earwitness.selection.base import Chosen, Selector
from earwitness.selection.pool import Pool

__all__ = ["Margin"]


class Margin(Selector):
    """The middle of the detector's margins: as many doubtful clips are left out as easy ones.

    ``distance`` is the margin without its sign. Where an odd number is left out, one more is easy.

    >>> pool = Pool(np.zeros((4, 1)), np.arange(4), np.arange(4), "spoof", np.zeros(4),
    ...             np.array([3.0, 0.1, -1.0, 9.0]))
    >>> Margin().choose(pool, 2, np.random.default_rng(0)).places.tolist()
    [2, 0]
    """

    needs_margins = True

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> Chosen:
        """By margin, the least first."""
        assert pool.margins is not None, "select() asks for margins"
        distance = np.abs(pool.margins)
        start = (len(pool) - count) // 2
        return Chosen.of(pool.ordered(distance)[start : start + count], distance=distance)
