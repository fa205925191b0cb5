"""A support vector machine; the score is its decision function."""

from typing import Literal

import numpy as np

from earwitness.differentials.base import Differential, Rows
from earwitness.errors import SettingsError

__all__ = ["SVM"]


class SVM(Differential):
    """``sum_i a_i K(s_i, d) + b`` over support vectors s_i, above 0 on the bonafide side.

    Cortes & Vapnik, "Support-vector networks", 1995. The SVMDiff of the thesis repository behind RAT,
    with departures: there the sign is the other way round, differences are not standardised, and the
    polynomial's degree is 7. Kernels: ``s'd``; ``(g s'd)^degree``; ``exp(-g |s - d|^2)``;
    ``tanh(g s'd)``. A score is no log-likelihood ratio; `earwitness calibrate` makes one of it.

    Args:
        kernel: ``linear``, ``poly``, ``rbf`` or ``sigmoid``.
        C: cost of a margin that is not kept, above 0; a smaller one regularises more.
        gamma: g, above 0; ``scale``: 1 / (dimensions * variance of the standardised differences).
        degree: of the polynomial, 1 or more.
        class_weight: ``balanced``: the costs of either class add up to the same; ``none``: those of
            each trial are the same, so that the classes' numbers tilt the score.

    >>> rows = [[2.0, 0.1], [3.0, -0.2], [-2.0, 0.1], [-3.0, 0.2]]
    >>> fitted = SVM(kernel="linear").fit(rows, ["bonafide", "bonafide", "spoof", "spoof"])
    >>> (fitted.score([[2.5, 0.0], [-2.5, 0.0]]) > 0).tolist()
    [True, False]

    Raises:
        SettingsError: a number is out of its range.
    """

    tells = "decision function of a support vector machine, not calibrated"
    arrays = ("vectors", "weights", "offset", "gamma")

    def __init__(
        self,
        *,
        kernel: Literal["linear", "poly", "rbf", "sigmoid"] = "rbf",
        C: float = 1.0,
        gamma: float | Literal["scale"] = "scale",
        degree: int = 3,
        class_weight: Literal["balanced", "none"] = "balanced",
    ):
        super().__init__()
        numbers = {"C": C, "degree": degree} | ({} if gamma == "scale" else {"gamma": gamma})
        for name, value in numbers.items():
            if not 0 < value < float("inf"):
                raise SettingsError(f"{name} is {value}, expected above 0.")
        self.kernel, self.C, self.gamma, self.degree = kernel, C, gamma, degree
        self.class_weight = class_weight

    def _fit(self, bonafide: Rows, spoof: Rows) -> dict[str, Rows]:
        from sklearn.svm import SVC

        rows = np.concatenate([bonafide, spoof])
        gamma = self.gamma
        if gamma == "scale":
            gamma = 1 / (rows.shape[1] * float(rows.var()))
        weight = None if self.class_weight == "none" else "balanced"
        svc = SVC(C=self.C, kernel=self.kernel, gamma=gamma, degree=self.degree, class_weight=weight)
        # scikit-learn's decision function is above 0 for the class of the greater label.
        svc.fit(rows, np.repeat([1, 0], [len(bonafide), len(spoof)]))
        return {
            "vectors": svc.support_vectors_,
            "weights": svc.dual_coef_[0],
            "offset": svc.intercept_,
            "gamma": np.array([gamma]),
        }

    def _score(self, rows: Rows) -> Rows:
        near = self._kernel(rows, self.learned["vectors"])
        return near @ self.learned["weights"] + self.learned["offset"][0]

    def _kernel(self, rows: Rows, vectors: Rows) -> Rows:
        """(rows, vectors)."""
        gamma, inner = self.learned["gamma"][0], rows @ vectors.T
        if self.kernel == "poly":
            return (gamma * inner) ** self.degree
        if self.kernel == "sigmoid":
            return np.tanh(gamma * inner)
        if self.kernel == "rbf":
            distances = (rows**2).sum(1)[:, None] + (vectors**2).sum(1) - 2 * inner
            return np.exp(-gamma * np.maximum(distances, 0.0))
        return inner
