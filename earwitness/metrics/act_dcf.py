"""Actual detection cost: what decisions at the Bayes threshold cost, not the best that could be."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import both_classes, metric
from earwitness.metrics.curves import Sweep
from earwitness.metrics.decisions import bayes_threshold, error_costs

__all__ = ["act_dcf"]


def _of_sweep(
    counts: Sweep, *, p_spoof: float = 0.05, c_miss: float = 1.0, c_fa: float = 10.0
) -> NDArray[np.float64]:
    reject_all, accept_all = error_costs(p_spoof, c_miss, c_fa)
    miss, false_alarm = counts.rates_at(bayes_threshold(p_spoof, c_miss, c_fa))
    return (reject_all * miss + accept_all * false_alarm) / min(reject_all, accept_all)


@metric(lower_is_better=True, of_sweep=_of_sweep, order_only=False)
def act_dcf(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    p_spoof: float = 0.05,
    c_miss: float = 1.0,
    c_fa: float = 10.0,
) -> float:
    """Normalised detection cost of the decisions that the scores themselves imply.

    Scores are read as natural-log likelihood ratios ``ln p(x | bonafide) / p(x | spoof)`` and
    accepted where ``score >= -ln(c_miss (1 - p_spoof) / (c_fa p_spoof))``; weights and norm are
    those of `min_dcf`, whose value this has where the scores are calibrated. Probabilities are no
    likelihood ratios: all of them lie above that threshold (turn them into log-odds first).

    Source: ``compute_actDCF`` of the ASVspoof 5 evaluation package.

    Args:
        bonafide: ``(n_bonafide,)`` log-likelihood ratios, finite.
        spoof: ``(n_spoof,)`` log-likelihood ratios, finite.
        p_spoof: prior probability of a spoof, between 0 and 1.
        c_miss: cost of rejecting a bonafide trial, above 0.
        c_fa: cost of accepting a spoof trial, above 0.

    Returns:
        A cost, at least that of `min_dcf`; above 1 = worse than deciding without listening.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: the prior or a cost is out of its range.

    >>> act_dcf([2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0])
    0.42857142857142855
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    reject_all, accept_all = error_costs(p_spoof, c_miss, c_fa)
    threshold = bayes_threshold(p_spoof, c_miss, c_fa)
    miss, false_alarm = np.mean(bonafide < threshold), np.mean(spoof >= threshold)
    return float((reject_all * miss + accept_all * false_alarm) / min(reject_all, accept_all))
