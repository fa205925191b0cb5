"""K-means in float64, and how many clusters there are.

Our own, because a selection must be the same to the byte: restarts and draws come from one explicit
generator, Lloyd's iteration goes to its fixed point, and an empty cluster has a rule. scipy's
``kmeans2`` runs a set number of rounds without restarts, and scikit-learn is no dependency here.
Products of matrices are safe: rows are centred first, and all go through one call of one shape.

Sources: Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007; Rousseeuw,
"Silhouettes", J. Comput. Appl. Math. 20, 1987.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["choose_k", "kmeans", "silhouette"]

Rows = NDArray[np.float64]

_DRAFT = 5_000  # rows for restarts
_BETTER = 1e-9  # relative; runs that end in the same clusters differ in the last bits only
_MOST_ROUNDS = 300  # of Lloyd; a fixed point comes after some dozens
_MOST_CLUSTERS = 12


def kmeans(rows: Rows, k: int, rng: np.random.Generator, *, restarts: int = 10) -> Rows:
    """The centres (k, dimensions) of the best of several runs; fewer where rows are equal.

    Of many rows, 5,000 drawn ones decide which run is the best, and it goes on with all of them.

    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> sorted(kmeans(rows, 2, np.random.default_rng(0)).ravel().tolist())
    [0.5, 10.5]
    """
    shift = rows.mean(axis=0)
    rows = rows - shift
    some = rows[rng.permutation(len(rows))[:_DRAFT]] if len(rows) > _DRAFT else rows
    centres, least = _lloyd(some, _seed(some, k, rng))
    for _ in range(restarts - 1):
        others, inertia = _lloyd(some, _seed(some, k, rng))
        if inertia < least * (1 - _BETTER):
            centres, least = others, inertia
    if some is not rows:
        centres, _ = _lloyd(rows, centres)
    return centres + shift


def _seed(rows: Rows, k: int, rng: np.random.Generator) -> Rows:
    """k-means++: each next centre is a row, drawn by its squared distance from those there are."""
    centres = rows[[rng.integers(len(rows))]]
    gaps = np.square(rows - centres[0]).sum(axis=1)
    while len(centres) < k and gaps.max() > 0:
        cumulated = np.cumsum(gaps)
        drawn = np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")
        centres = np.vstack([centres, rows[drawn]])
        gaps = np.minimum(gaps, np.square(rows - rows[drawn]).sum(axis=1))
    return centres


def _lloyd(rows: Rows, centres: Rows) -> tuple[Rows, float]:
    """Centres at a fixed point, and the sum of squared distances from them."""
    own, before = np.einsum("ij,ij->i", rows, rows), None  # without a copy of all rows
    for _ in range(_MOST_ROUNDS):
        nearest, gaps = _assign(rows, centres)
        if before is not None and np.array_equal(nearest, before):
            break
        before = nearest
        centres = _means(rows, nearest, gaps + own, len(centres))
    return centres, float(np.sum(gaps + own))


def _assign(rows: Rows, centres: Rows) -> tuple[NDArray[np.intp], Rows]:
    """The nearest centre of each row, and the squared distance from it less the row's own square."""
    gaps = np.square(centres).sum(axis=1) - 2 * rows @ centres.T
    nearest = gaps.argmin(axis=1)
    return nearest, gaps[np.arange(len(rows)), nearest]


def _means(rows: Rows, nearest: NDArray[np.intp], gaps: Rows, k: int) -> Rows:
    """Means of the clusters; an empty one starts anew from a row that is far from its centre."""
    members = (nearest == np.arange(k)[:, None]).astype(np.float64)
    counts = members.sum(axis=1)
    centres = members @ rows / np.maximum(counts, 1)[:, None]
    empty = np.flatnonzero(counts == 0)
    centres[empty] = rows[np.argsort(-gaps, kind="stable")[: len(empty)]]
    return centres


def choose_k(rows: Rows, rng: np.random.Generator, *, restarts: int = 3) -> int:
    """The number of clusters, from 2 to 12, with the highest silhouette; the least of equal ones.

    >>> rows = np.repeat([0.0, 5.0, 9.0], 4) + np.tile([0.0, 0.1, 0.2, 0.3], 3)
    >>> choose_k(rows[:, None], np.random.default_rng(0))
    3
    """
    rows = rows - rows.mean(axis=0)
    gaps = _distances(rows)
    best, most = 1, -np.inf
    for k in range(2, min(_MOST_CLUSTERS, len(rows) - 1) + 1):
        nearest, _ = _assign(rows, kmeans(rows, k, rng, restarts=restarts))
        found = silhouette(gaps, nearest)
        if found > most:
            best, most = k, found
    return best


def silhouette(distances: Rows, cluster: NDArray[np.intp]) -> float:
    """The mean over rows of (b - a) / max(a, b), from distances (rows, rows).

    a is the mean distance from the others of the own cluster, b that from the nearest other cluster. A
    row that is alone in its cluster counts 0; with one cluster only the mean is -1.
    """
    names, own = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return -1.0
    members = own[:, None] == np.arange(len(names))
    sums, counts = distances @ members.astype(np.float64), members.sum(axis=0)
    within = sums[members] / np.maximum(counts[own] - 1, 1)
    other = np.where(members, np.inf, sums / counts).min(axis=1)
    larger = np.maximum(within, other)
    values = np.divide(other - within, larger, out=np.zeros(len(own)), where=larger > 0)
    return float(np.where(counts[own] > 1, values, 0.0).mean())


def _distances(centred: Rows) -> Rows:
    squares = np.square(centred).sum(axis=1)
    gaps = squares[:, None] + squares - 2 * centred @ centred.T
    np.fill_diagonal(gaps, 0.0)
    return np.sqrt(np.maximum(gaps, 0.0, out=gaps), out=gaps)
