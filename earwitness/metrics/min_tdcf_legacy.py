"""Minimum tandem detection cost as ASVspoof 2019 defined it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import SettingsError
from earwitness.metrics.asv import ASVSPOOF2019_LA, CHALLENGE_COSTS, AsvErrors, TandemCosts
from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep
from earwitness.metrics.search import lowest_cost

__all__ = ["min_tdcf_legacy"]


def _weights(asv: AsvErrors, costs: TandemCosts) -> tuple[float, float]:
    """C1 and C2: what misses and false alarms of the countermeasure weigh."""
    costs = TandemCosts(*costs).checked()
    asv = AsvErrors(*asv)
    of_misses = (
        costs.p_target * (costs.c_miss - costs.c_miss * asv.miss)
        - costs.p_nontarget * costs.c_fa * asv.false_alarm
    )
    of_alarms = costs.c_fa_spoof * costs.p_spoof * asv.false_alarm_spoof
    if of_misses <= 0 or of_alarms <= 0:
        raise SettingsError(
            f"min_tdcf_legacy: with {asv} misses weigh {of_misses:.4g} and false alarms "
            f"{of_alarms:.4g}; both must be above 0. Rates are fractions."
        )
    return of_misses, of_alarms


def _of_sweep(
    counts: Sweep, *, asv: AsvErrors = ASVSPOOF2019_LA, costs: TandemCosts = CHALLENGE_COSTS
) -> NDArray[np.float64]:
    of_misses, of_alarms = _weights(asv, costs)
    return counts.lowest_cost(of_misses, of_alarms) / min(of_misses, of_alarms)


@metric(lower_is_better=True, of_sweep=_of_sweep)
def min_tdcf_legacy(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    asv: AsvErrors = ASVSPOOF2019_LA,
    costs: TandemCosts = CHALLENGE_COSTS,
) -> float:
    """Minimum normalised t-DCF of ASVspoof 2019: the verifier's own cost left out.

    ``min_t (C1 miss(t) + C2 false_alarm(t)) / min(C1, C2)`` with C1 = p_target (c_miss - c_miss
    miss_asv) - p_nontarget c_fa false_alarm_asv and C2 = c_fa_spoof p_spoof times the share of
    spoofs that the verifier accepts: Kinnunen et al., "t-DCF: a detection cost function for the
    tandem assessment of spoofing countermeasures and automatic speaker verification", Odyssey 2018.

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.
        asv: error rates of the verifier; the default is the organisers' on 2019 LA evaluation.
        costs: priors and costs; the defaults are those of the challenges.

    Returns:
        A cost from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: priors don't sum to 1, or a weight is not above 0.

    >>> from earwitness.metrics.asv import ASVSPOOF5
    >>> toy = [2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0]
    >>> min_tdcf_legacy(*toy, asv=ASVSPOOF5)
    0.2857142857142857
    """
    of_misses, of_alarms = _weights(asv, costs)
    return lowest_cost(bonafide, of_misses, ("spoof", spoof, of_alarms)) / min(of_misses, of_alarms)
