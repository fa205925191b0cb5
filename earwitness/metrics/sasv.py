"""Spoofing-robust speaker verification: one score for "the claimed speaker, live".

Trials are of three kinds: ``target`` (the speaker, bonafide), ``nontarget`` (another speaker,
bonafide) and ``spoof``. Scores are real, higher = accept.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from earwitness.errors import SettingsError
from earwitness.metrics.asv import CHALLENGE_COSTS, TandemCosts
from earwitness.metrics.base import require_scores
from earwitness.metrics.eer import eer
from earwitness.metrics.search import lowest_cost

__all__ = ["SASV_METRICS", "min_adcf", "sasv_eer", "spf_eer", "sv_eer"]


def min_adcf(
    target: ArrayLike,
    nontarget: ArrayLike,
    spoof: ArrayLike,
    *,
    costs: TandemCosts = CHALLENGE_COSTS,
) -> float:
    """Minimum normalised a-DCF: one threshold, three kinds of error.

    ``min_t [c_miss p_target miss(t) + c_fa p_nontarget fa_nontarget(t) + c_fa_spoof p_spoof
    fa_spoof(t)]`` divided by the cost of the better of accepting all and rejecting all: Shim et
    al., "a-DCF: an architecture agnostic metric with application to spoofing-robust speaker
    verification", Odyssey 2024. Ties and the order of trials don't matter.

    Args:
        target, nontarget, spoof: one-dimensional scores, finite.
        costs: the defaults are those of ASVspoof 5; the paper's own are
            ``TandemCosts(0.9, 0.05, 0.05, 1, 10, 20)``.

    Returns:
        A cost from 0 to 1.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.
        SettingsError: priors don't sum to 1, or accepting or rejecting everyone costs nothing.

    >>> toy = [2, 1.5, 0.3, 3.1], [-0.2, 0.1, -1.5], [-3, -1, 0.4, -0.7, 1]
    >>> min_adcf(*toy), min_adcf(*toy, costs=TandemCosts(0.9, 0.05, 0.05, 1, 10, 20))
    (0.33613445378151263, 0.25)
    """
    costs = TandemCosts(*costs).checked()
    of_misses = costs.c_miss * costs.p_target
    of_nontarget, of_spoof = costs.c_fa * costs.p_nontarget, costs.c_fa_spoof * costs.p_spoof
    norm = min(of_nontarget + of_spoof, of_misses)
    if norm <= 0:
        raise SettingsError(f"min_adcf: with {costs} accepting or rejecting everyone costs nothing.")
    target, nontarget, spoof = _three(target, nontarget, spoof)
    kinds = (("nontarget", nontarget, of_nontarget), ("spoof", spoof, of_spoof))
    return lowest_cost(target, of_misses, *kinds) / norm


def sv_eer(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> float:
    """EER of target against nontarget trials: speaker verification alone (tie-aware).

    >>> sv_eer([2, 1], [0, 1], [3])
    0.25
    """
    return eer(*_three(target, nontarget, spoof)[:2])


def spf_eer(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> float:
    """EER of target against spoof trials (tie-aware).

    >>> spf_eer([2, 1], [0, 1], [3])
    1.0
    """
    target, _, spoof = _three(target, nontarget, spoof)
    return eer(target, spoof)


def sasv_eer(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> float:
    """EER of target trials against all others (tie-aware); Jung et al., "SASV 2022", Interspeech 2022.

    It depends on how many nontarget trials there are for each spoof.

    >>> sasv_eer([2, 1], [0, -1], [1.5, -2])
    0.25
    """
    target, nontarget, spoof = _three(target, nontarget, spoof)
    return eer(target, np.concatenate([nontarget, spoof]))


SASV_METRICS: dict[str, Callable[..., float]] = {
    "min_adcf": min_adcf,
    "sv_eer": sv_eer,
    "spf_eer": spf_eer,
    "sasv_eer": sasv_eer,
}


def _three(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> list[np.ndarray]:
    named = (("target", target), ("nontarget", nontarget), ("spoof", spoof))
    return [require_scores(values, name) for name, values in named]
