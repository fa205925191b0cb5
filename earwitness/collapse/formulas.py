"""The formulas, on arrays that were checked: centred means (K, D), rows of a weight, scatter.

Symbols are those of the module's first page (`earwitness.collapse`). A formula that has no value
raises `Degenerate`; the callers turn that into an `Undefined`.
"""

from math import erfc, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.collapse.inputs import Floats
from earwitness.collapse.undefined import Degenerate

__all__ = [
    "Moments",
    "cdnv",
    "d_prime",
    "directions",
    "equiangular",
    "equinorm",
    "etf_error",
    "max_angle",
    "mean_cosine",
    "nc3",
    "predicted_eer",
]

_EPS = float(np.finfo(np.float64).eps)


class Moments(NamedTuple):
    """First and second moments by class: what all metrics without a D x D matrix are made of.

    ``mean`` + ``lost`` are the class means (K, D), a number and what its rounding lost; ``spread`` (K,)
    is the sum over a class of ‖h - mu_c‖².
    """

    counts: NDArray[np.int64]
    mean: Floats
    lost: Floats
    spread: Floats

    def of(self, classes: NDArray[np.int64]) -> "Moments":
        """Those of some classes, copied."""
        return Moments(
            self.counts[classes], self.mean[classes], self.lost[classes], self.spread[classes]
        )

    def require_clips(self) -> "Moments":
        """Itself, if there are clips at all."""
        if not self.counts.any():
            raise Degenerate("there are no clips yet")
        return self

    def require_all_classes(self) -> "Moments":
        """Itself, if every class has a clip."""
        empty = np.flatnonzero(self.require_clips().counts == 0)
        if len(empty):
            raise Degenerate(f"class(es) {', '.join(map(str, empty))} have no clip, so no mean")
        return self

    def from_first(self) -> Floats:
        """Class means less that of class 0, (K, D): exact however far from 0 they lie together."""
        return (self.mean - self.mean[0]) + (self.lost - self.lost[0])

    def global_mean(self) -> Floats:
        """g = (1/K) Σ_c mu_c, (D,): every class weighs the same."""
        return self.mean[0] + (self.require_all_classes().from_first().mean(0) + self.lost[0])

    def variances(self) -> Floats:
        """v_c = mean over class c of ‖h - mu_c‖², (K,)."""
        return self.require_all_classes().spread / self.counts

    def centred(self) -> Floats:
        """Mdot: rows mu_c - g, (K, D), where there are several means and not all are the same."""
        if len(self.counts) == 1:
            raise Degenerate("there is one class, and nothing between classes")
        apart = self.require_all_classes().from_first()
        centred = apart - apart.mean(0)
        if np.linalg.norm(centred, axis=1).max() <= self.noise():
            raise Degenerate("the means of all classes coincide")
        return centred

    def noise(self, size: float = 0.0) -> float:
        """Below this a length is rounding error; ``size`` is that of the numbers it is a difference of.

        Means are rounded by the spread they average over, and embeddings by their own size.
        """
        return _EPS * (16 * sqrt(self.variances().max()) + 16 * size + self.farthest())

    def farthest(self) -> float:
        """The largest ‖mu_c‖."""
        return float(np.linalg.norm(self.mean, axis=1).max())

    def off_centre(self) -> Floats:
        """Mdot, where no class mean lies on g and so has no angle."""
        centred = self.centred()
        norms = np.linalg.norm(centred, axis=1)
        on_it = np.flatnonzero(norms <= self.noise(norms.max()))
        if len(on_it):
            raise Degenerate(f"the mean of class {on_it[0]} is the global mean, so it has no angle")
        return centred

    def pooled_variance(self) -> float:
        """tr Sigma_W, Sigma_W = (1/N) Σ_i (h_i - mu_y)(.)^T: the frequent class dominates."""
        return self.require_clips().spread.sum() / self.counts.sum()

    def balanced_variance(self) -> float:
        """tr Sigma_W^bal = (1/K) Σ_c v_c: every class weighs the same."""
        return self.variances().mean()

    def between_variance(self) -> float:
        """tr Sigma_B, Sigma_B = (1/K) Σ_c (mu_c - g)(.)^T."""
        centred = self.centred()
        return float((centred**2).sum(1).mean())


def directions(centred: Floats) -> tuple[Floats, Floats]:
    """Eigenvectors (r, D) of Sigma_B with eigenvalues that are not rounding error, and K times those.

    At most min(K - 1, D), and those above the largest times max(K, D) * 2.2e-16. From the singular
    values of Mdot: no D x D matrix, and no squaring before the small ones are known.
    """
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    at_most = min(centred.shape[0] - 1, centred.shape[1])
    sizes, axes = sizes[:at_most], axes[:at_most]
    kept = sizes > sizes[0] * sqrt(max(centred.shape) * _EPS)
    return axes[kept], sizes[kept] ** 2


def cdnv(moments: Moments) -> float:
    """Class-distance normalised variance: mean over i < j of (v_i + v_j) / (2 ‖mu_i - mu_j‖²)."""
    moments.centred()
    variances, values = moments.variances(), []
    farthest = moments.farthest()
    for i in range(len(variances) - 1):
        rest = slice(i + 1, None)
        apart = (moments.mean[rest] - moments.mean[i]) + (moments.lost[rest] - moments.lost[i])
        distances = np.linalg.norm(apart, axis=1)
        within = np.sqrt(np.maximum(variances[rest], variances[i]))
        same = np.flatnonzero(distances <= _EPS * (16 * within + farthest))
        if len(same):
            raise Degenerate(f"the means of classes {i} and {i + 1 + same[0]} coincide")
        values.append((variances[rest] + variances[i]) / 2 / distances / distances)
    return float(np.concatenate(values).mean())


def equinorm(rows: Floats) -> float:
    """Standard deviation of the rows' lengths over their mean; over all classes, so not ddof 1."""
    lengths = _lengths(rows)
    return lengths.std() / lengths.mean()


def equiangular(rows: Floats) -> float:
    """Standard deviation of cos(row_c, row_c') over c != c'."""
    return _cosines(rows).std()


def max_angle(rows: Floats) -> float:
    """Mean over c != c' of |cos(row_c, row_c') + 1/(K-1)|."""
    return np.abs(_cosines(rows) + 1 / (len(rows) - 1)).mean()


def mean_cosine(rows: Floats) -> float:
    """Mean over c != c' of cos(row_c, row_c')."""
    return _cosines(rows).mean()


def etf_error(rows: Floats) -> float:
    """‖ R R^T / ‖R R^T‖_F - (I - 11^T/K) / sqrt(K-1) ‖_F of the rows R."""
    classes = len(_require_several(rows))
    gram = _unit(rows) @ _unit(rows).T
    frame = (np.eye(classes) - 1 / classes) / sqrt(classes - 1)
    return float(np.linalg.norm(gram / np.linalg.norm(gram) - frame))


def nc3(weight: Floats, centred: Floats) -> float:
    """‖ W/‖W‖_F - Mdot/‖Mdot‖_F ‖_F²: 0 where they are parallel, 4 where they are opposite."""
    return float(((_unit(weight) - _unit(centred)) ** 2).sum())


def d_prime(nc1: float) -> float:
    """Of two classes: distance of the means in pooled standard deviations along it; NC1 = 2/d'^2."""
    if nc1 == 0:
        raise Degenerate("there is no variance within classes along the line through the means")
    return sqrt(2 / nc1)


def predicted_eer(nc1: float) -> float:
    """EER of the nearest mean for two Gaussians of equal variance: Phi(-1/sqrt(2 NC1))."""
    return erfc(0.5 / sqrt(nc1)) / 2 if nc1 else 0.0


def _unit(rows: Floats) -> Floats:
    """The matrix divided by its Frobenius norm."""
    length = np.linalg.norm(rows)
    if length == 0:
        raise Degenerate("all rows of the weight are 0")
    return rows / length


def _require_several(rows: Floats) -> Floats:
    if len(rows) == 1:
        raise Degenerate("there is one class, and no pair of them")
    return rows


def _lengths(rows: Floats) -> Floats:
    lengths = np.linalg.norm(_require_several(rows), axis=1)
    if not lengths.any():
        raise Degenerate("all rows of the weight are 0")
    return lengths


def _cosines(rows: Floats) -> Floats:
    """cos(row_c, row_c') for c != c', (K (K-1),)."""
    lengths = _lengths(rows)
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        raise Degenerate(f"row {zero[0]} of the weight is 0, so it has no angle")
    unit = rows / lengths[:, None]
    return np.clip(unit @ unit.T, -1, 1)[~np.eye(len(rows), dtype=bool)]
