"""Minimum tandem detection cost: a countermeasure judged by what it does for a speaker verifier."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import SettingsError
from earwitness.metrics.asv import ASVSPOOF5, CHALLENGE_COSTS, AsvErrors, TandemCosts
from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep
from earwitness.metrics.search import lowest_cost

__all__ = ["min_tdcf"]


def _weights(asv: AsvErrors, costs: TandemCosts) -> tuple[float, float, float]:
    """C0, C1 and C2: of the verifier alone, of misses and of false alarms of the countermeasure."""
    costs = TandemCosts(*costs).checked()
    asv = AsvErrors(*asv)
    alone = costs.p_target * costs.c_miss * asv.miss + costs.p_nontarget * costs.c_fa * asv.false_alarm
    of_misses = costs.p_target * costs.c_miss - alone
    of_alarms = costs.p_spoof * costs.c_fa_spoof * asv.false_alarm_spoof
    if of_misses <= 0 or of_alarms <= 0:
        raise SettingsError(
            f"min_tdcf: with {asv} misses weigh {of_misses:.4g} and false alarms {of_alarms:.4g}; both "
            "must be above 0. Rates are fractions: is the verifier better than rejecting everyone?"
        )
    return alone, of_misses, of_alarms


def _of_sweep(
    counts: Sweep, *, asv: AsvErrors = ASVSPOOF5, costs: TandemCosts = CHALLENGE_COSTS
) -> NDArray[np.float64]:
    alone, of_misses, of_alarms = _weights(asv, costs)
    least = counts.lowest_cost(of_misses, of_alarms)
    return (alone + least) / (alone + min(of_misses, of_alarms))


@metric(lower_is_better=True, of_sweep=_of_sweep)
def min_tdcf(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    asv: AsvErrors = ASVSPOOF5,
    costs: TandemCosts = CHALLENGE_COSTS,
) -> float:
    """Minimum normalised t-DCF, ASV-constrained, as in ASVspoof 2021 and ASVspoof 5.

    ``[C0 + min_t (C1 miss(t) + C2 false_alarm(t))] / [C0 + min(C1, C2)]`` with C0 the cost of the
    verifier's own errors, C1 = p_target c_miss - C0 and C2 = p_spoof c_fa_spoof times the share of
    spoofs that the verifier accepts: Kinnunen et al., "Tandem assessment of spoofing
    countermeasures and automatic speaker verification: fundamentals", TASLP 2020. It can't fall
    below C0 / (C0 + min(C1, C2)), what a perfect countermeasure leaves. `min_tdcf_legacy` is the
    definition of ASVspoof 2019.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.
        asv: error rates of the verifier; the default is the organisers' of ASVspoof 5.
        costs: priors and costs; the defaults are those of the challenges.

    Returns:
        A cost from that floor to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: priors don't sum to 1, or a weight is not above 0.

    >>> min_tdcf([2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0])
    0.34138120268909977
    """
    alone, of_misses, of_alarms = _weights(asv, costs)
    least = lowest_cost(bonafide, of_misses, ("spoof", spoof, of_alarms))
    return (alone + least) / (alone + min(of_misses, of_alarms))
