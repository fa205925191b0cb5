"""Minimum detection cost: errors weighed by how likely spoofs are and what errors cost."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import metric
from earwitness.metrics.curves import Sweep
from earwitness.metrics.decisions import error_costs
from earwitness.metrics.search import lowest_cost

__all__ = ["min_dcf"]


def _of_sweep(
    counts: Sweep, *, p_spoof: float = 0.05, c_miss: float = 1.0, c_fa: float = 10.0
) -> NDArray[np.float64]:
    reject_all, accept_all = error_costs(p_spoof, c_miss, c_fa)
    return counts.lowest_cost(reject_all, accept_all) / min(reject_all, accept_all)


@metric(lower_is_better=True, of_sweep=_of_sweep)
def min_dcf(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    p_spoof: float = 0.05,
    c_miss: float = 1.0,
    c_fa: float = 10.0,
) -> float:
    """Minimum normalised detection cost at the best threshold; 1 = as good as not listening.

    ``min_t [c_miss (1 - p_spoof) miss(t) + c_fa p_spoof false_alarm(t)]``, divided by the cost of
    the better of accepting all and rejecting all. Ties and the order of trials don't matter. The
    defaults are those of the ASVspoof 5 evaluation plan (track 1).

    Args:
        bonafide: ``(n_bonafide,)`` scores, finite.
        spoof: ``(n_spoof,)`` scores, finite.
        p_spoof: prior probability of a spoof, between 0 and 1.
        c_miss: cost of rejecting a bonafide trial, above 0.
        c_fa: cost of accepting a spoof trial, above 0.

    Returns:
        A cost from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: the prior or a cost is out of its range.

    >>> min_dcf([0, 1, 1, 2], [0, 0, 1, 1])
    0.975
    """
    reject_all, accept_all = error_costs(p_spoof, c_miss, c_fa)
    return lowest_cost(bonafide, reject_all, ("spoof", spoof, accept_all)) / min(reject_all, accept_all)
