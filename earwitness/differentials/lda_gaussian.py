"""Linear discriminant analysis to one number, and a Gaussian of either class on it."""

from typing import Literal

import numpy as np

from earwitness.differentials.base import Differential, Rows
from earwitness.errors import ProtocolError, SettingsError

__all__ = ["LDAGaussian"]

_SMOOTHING = 1e-9  # of the variance over both classes, as scikit-learn's GaussianNB adds


class LDAGaussian(Differential):
    """``ln N(z; m_b, v_b) - ln N(z; m_s, v_s)`` of ``z = w'd``, Fisher's direction.

    Fisher, "The use of multiple measurements in taxonomic problems", 1936: w = S^-1 (mu_b - mu_s) with
    S the mean of both classes' covariances. The LDAGaussianDiff of the thesis repository behind RAT; it
    gives a posterior, which moves with the number of trials a class. Here either class weighs the same,
    and the score is the log-likelihood ratio of the two Gaussians, natural log. As each has a variance
    of its own, it falls again far out on the side of the narrower one.

    Args:
        shrinkage: of each covariance toward a multiple of the identity, 0 to 1, or ``auto`` by Ledoit &
            Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004. With
            fewer trials than dimensions it must not be 0.

    >>> rows = [[2.0, 0.1], [3.0, -0.2], [2.5, 0.0], [-2.0, 0.1], [-3.0, 0.2], [-2.2, -0.1]]
    >>> fitted = LDAGaussian(shrinkage=0.1).fit(rows, ["bonafide"] * 3 + ["spoof"] * 3)
    >>> (fitted.score([[2.0, 0.0], [-2.0, 0.0]]) > 0).tolist()
    [True, False]

    Raises:
        SettingsError: shrinkage is out of its range.
        ProtocolError: when fitted, both classes have the same mean.
    """

    tells = "log-likelihood ratio of two Gaussians, natural log, not calibrated"
    arrays = ("direction", "means", "variances")

    def __init__(self, *, shrinkage: float | Literal["auto"] = "auto"):
        super().__init__()
        if shrinkage != "auto" and not 0 <= shrinkage <= 1:
            raise SettingsError(f"shrinkage is {shrinkage}, expected 0 to 1, or 'auto'.")
        self.shrinkage = shrinkage

    def _fit(self, bonafide: Rows, spoof: Rows) -> dict[str, Rows]:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage, priors=[0.5, 0.5])
        of = np.repeat([1, 0], [len(bonafide), len(spoof)])
        direction = lda.fit(np.concatenate([bonafide, spoof]), of).coef_[0]
        seen = bonafide @ direction, spoof @ direction
        smoothing = _SMOOTHING * np.concatenate(seen).var()
        variances = np.array([one.var() + smoothing for one in seen])
        if not (variances > 0).all():
            raise ProtocolError("both classes have the same mean; no direction leads between them.")
        means = np.array([one.mean() for one in seen])
        return {"direction": direction, "means": means, "variances": variances}

    def _score(self, rows: Rows) -> Rows:
        seen = (rows @ self.learned["direction"])[:, None]
        variances = self.learned["variances"]
        each = -0.5 * (np.log(variances) + (seen - self.learned["means"]) ** 2 / variances)
        return each[:, 0] - each[:, 1]
