"""A Gaussian mixture of either class, both on the same transformed differences."""

import warnings
from typing import Any, Literal

import numpy as np
from scipy.special import logsumexp

from earwitness.differentials.base import Differential, Rows
from earwitness.errors import RunError, SettingsError
from earwitness.trials import CLASSES

__all__ = ["GMM"]


class GMM(Differential):
    """``ln p(Ad | bonafide) - ln p(Ad | spoof)`` of two Gaussian mixtures, natural log.

    Mixtures by expectation maximisation (Dempster, Laird & Rubin, 1977); A by neighbourhood components
    analysis (Goldberger et al., NIPS 2004). The GMMDiff of the thesis repository behind RAT, with
    departures: there the mixtures are fitted on differences that A has not transformed and scored on
    such that it has; here both see the same. There A keeps all dimensions and scikit-learn chooses its
    start, and 64 full covariances are the default: with fewer than thousands of trials a class they
    fit the training trials alone.

    Args:
        n_components: Gaussians in a mixture, 1 or more.
        covariance_type: ``diag``, ``spherical`` and ``full``: one for each Gaussian; ``tied``: one full
            one for all of a mixture.
        transform: ``nca`` learns A; ``none`` leaves differences as they are, standardised.
        dimensions: what A keeps, 1 or more; narrower differences keep their width.
        nca_trials: A is learned on at most half as many of either class, drawn by ``seed``, as memory
            and time grow with the square. It stops after 50 steps.
        reg_covar: added to variances (of standardised differences), above 0.
        max_iter: steps of expectation maximisation at most; without convergence fitting fails.
        seed: of draws and starting points.

    >>> rng = np.random.default_rng(0)
    >>> rows = np.concatenate([rng.normal(2, 1, (40, 3)), rng.normal(-2, 1, (40, 3))])
    >>> fitted = GMM(n_components=2).fit(rows, ["bonafide"] * 40 + ["spoof"] * 40)
    >>> (fitted.score([[2.0, 2.0, 2.0], [-2.0, -2.0, -2.0]]) > 0).tolist()
    [True, False]

    Raises:
        SettingsError: a number is out of its range.
        RunError: when fitted, a mixture can't be: too few trials, too few that differ, or no
            convergence.
    """

    tells = "log-likelihood ratio of two Gaussian mixtures, natural log, not calibrated"
    arrays = (
        "projection",
        *(f"{name}_{part}" for name in CLASSES for part in ("weights", "means", "factors")),
    )

    def __init__(
        self,
        *,
        n_components: int = 8,
        covariance_type: Literal["full", "tied", "diag", "spherical"] = "diag",
        transform: Literal["nca", "none"] = "nca",
        dimensions: int = 16,
        nca_trials: int = 2000,
        reg_covar: float = 1e-3,
        max_iter: int = 1000,
        seed: int = 0,
    ):
        super().__init__()
        least = {"n_components": 1, "dimensions": 1, "nca_trials": 4, "max_iter": 1, "seed": 0}
        given = dict(zip(least, (n_components, dimensions, nca_trials, max_iter, seed), strict=True))
        for name, value in given.items():
            if value < least[name]:
                raise SettingsError(f"{name} is {value}, expected {least[name]} or more.")
        if not 0 < reg_covar < float("inf"):
            raise SettingsError(f"reg_covar is {reg_covar}, expected above 0.")
        self.n_components, self.covariance_type = n_components, covariance_type
        self.transform, self.dimensions, self.nca_trials = transform, dimensions, nca_trials
        self.reg_covar, self.max_iter, self.seed = reg_covar, max_iter, seed

    def _fit(self, bonafide: Rows, spoof: Rows) -> dict[str, Rows]:
        width = bonafide.shape[1]
        projection = np.eye(width) if self.transform == "none" else self._fit_nca(bonafide, spoof)
        learned = {"projection": projection}
        for name, rows in zip(CLASSES, (bonafide, spoof), strict=True):
            weights, means, factors = self._fit_mixture(rows @ projection.T, name)
            learned |= {f"{name}_weights": weights, f"{name}_means": means, f"{name}_factors": factors}
        return learned

    def _fit_nca(self, bonafide: Rows, spoof: Rows) -> Rows:
        """A (kept dimensions, dimensions).

        It starts from whitened principal components: farther apart, in many dimensions, each trial has
        one neighbour that counts, and nothing is learned.
        """
        from sklearn.decomposition import PCA
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neighbors import NeighborhoodComponentsAnalysis

        rng, most = np.random.default_rng(self.seed), self.nca_trials // 2
        drawn = [rng.permutation(one)[:most] for one in (bonafide, spoof)]
        rows, of = np.concatenate(drawn), np.repeat([1, 0], [len(one) for one in drawn])
        kept = min(self.dimensions, rows.shape[1], len(rows) - 1)
        pca = PCA(kept, random_state=self.seed).fit(rows)
        start = pca.components_ / np.sqrt(pca.explained_variance_ + self.reg_covar)[:, None]
        nca = NeighborhoodComponentsAnalysis(init=start, max_iter=50)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # its 50 steps are all that it gets
            nca.fit(rows, of)
        return np.asarray(nca.components_, dtype=np.float64)

    def _fit_mixture(self, rows: Rows, name: str) -> tuple[Rows, Rows, Rows]:
        """Weights (k,), means (k, dimensions), and factors: see `_log_density`."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            self.n_components,
            covariance_type=self.covariance_type,
            reg_covar=self.reg_covar,
            max_iter=self.max_iter,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                mixture.fit(rows)
            except (ConvergenceWarning, ValueError) as error:
                raise RunError(
                    f"no mixture of {self.n_components} fits the {len(rows)} {name} differences "
                    f"({error}) Fewer n_components, or more trials."
                ) from None
        return mixture.weights_, mixture.means_, _one_a_component(mixture)

    def _score(self, rows: Rows) -> Rows:
        seen = rows @ self.learned["projection"].T
        each = [
            _log_density(
                seen, *(self.learned[f"{name}_{part}"] for part in ("weights", "means", "factors"))
            )
            for name in CLASSES
        ]
        return each[0] - each[1]


def _one_a_component(mixture: Any) -> Rows:
    """The factors of each Gaussian, also where they share one, or one number stands for a diagonal."""
    factors, means = mixture.precisions_cholesky_, mixture.means_
    if mixture.covariance_type == "tied":
        return np.repeat(factors[None], len(means), axis=0)
    if mixture.covariance_type == "spherical":
        return np.repeat(factors[:, None], means.shape[1], axis=1)
    return np.asarray(factors, dtype=np.float64)


def _log_density(rows: Rows, weights: Rows, means: Rows, factors: Rows) -> Rows:
    """ln of a mixture's density (n,) at rows (n, d).

    ``factors`` F, with F F' the inverse of a Gaussian's covariance: (k, d, d), or (k, d) of diagonals.
    """
    parts = []
    for weight, mean, factor in zip(weights, means, factors, strict=True):
        is_full = factor.ndim == 2
        white = (rows - mean) @ factor if is_full else (rows - mean) * factor
        volume = np.log(np.diag(factor) if is_full else factor).sum()
        constant = np.log(weight) + volume - 0.5 * rows.shape[1] * np.log(2 * np.pi)
        parts.append(constant - 0.5 * (white**2).sum(1))
    return np.asarray(logsumexp(parts, axis=0))
