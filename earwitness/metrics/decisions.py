"""Costs, priors and thresholds: what turns scores into decisions."""

import numpy as np

from earwitness.errors import SettingsError

__all__ = ["bayes_threshold", "error_costs", "require_threshold"]


def error_costs(p_spoof: float, c_miss: float, c_fa: float) -> tuple[float, float]:
    """What rejecting every trial and accepting every trial cost on average.

    >>> error_costs(0.05, 1.0, 10.0)
    (0.95, 0.5)

    Raises:
        SettingsError: a prior that is not between 0 and 1, a cost that is not positive and finite.
    """
    if not (0 < p_spoof < 1 and 0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise SettingsError(
            f"p_spoof={p_spoof}, c_miss={c_miss}, c_fa={c_fa}; "
            "expected 0 < p_spoof < 1 and positive, finite costs."
        )
    return c_miss * (1 - p_spoof), c_fa * p_spoof


def bayes_threshold(p_spoof: float = 0.05, c_miss: float = 1.0, c_fa: float = 10.0) -> float:
    """The log-likelihood ratio from which accepting costs less than rejecting.

    ``-ln(c_miss (1 - p_spoof) / (c_fa p_spoof))``; the defaults are those of ASVspoof 5.

    >>> bayes_threshold()
    -0.6418538861723947

    Raises:
        SettingsError: the prior or a cost is out of its range.
    """
    reject_all, accept_all = error_costs(p_spoof, c_miss, c_fa)
    return float(-np.log(reject_all / accept_all))


def require_threshold(threshold: float, name: str) -> float:
    """The threshold, finite.

    Raises:
        SettingsError: it is NaN or infinite.
    """
    if not np.isfinite(threshold):
        raise SettingsError(f"{name}: the threshold is {threshold}; expected a finite number.")
    return threshold
