"""Metrics beside the first ones: costs at a threshold, calibration, tandem and three-class ones.

Golden values are from the ASVspoof 5 evaluation package at fe23d30, run on the scores made here
(its routines compute_teer, compute_tDCF, compute_tDCF_legacy, obtain_asv_error_rates, compute_actDCF,
calculate_CLLR and _calculate_a_dcf). The oracles below share no line with the package.
"""

from fractions import Fraction
from math import exp, log, log1p, log2

import numpy as np
import pytest
import scipy.optimize  # noqa: F401  (imported by min_cllr when called: not within a deadline)
from hypothesis import given
from hypothesis import strategies as st

from earwitness.errors import ProtocolError, SettingsError
from earwitness.metrics.act_dcf import act_dcf
from earwitness.metrics.asv import ASVSPOOF5, ASVSPOOF2019_LA, AsvErrors, TandemCosts
from earwitness.metrics.average_precision import average_precision
from earwitness.metrics.balanced_accuracy import balanced_accuracy
from earwitness.metrics.bootstrap import bootstrap_intervals
from earwitness.metrics.cllr import cllr
from earwitness.metrics.curves import equal_error_rate, sweep
from earwitness.metrics.decisions import bayes_threshold
from earwitness.metrics.eer import eer
from earwitness.metrics.eer_challenge import eer_challenge
from earwitness.metrics.f1 import f1
from earwitness.metrics.min_cllr import min_cllr
from earwitness.metrics.min_dcf import min_dcf
from earwitness.metrics.min_tdcf import min_tdcf
from earwitness.metrics.min_tdcf_legacy import min_tdcf_legacy
from earwitness.metrics.sasv import SASV_METRICS, min_adcf, sasv_eer, spf_eer, sv_eer
from earwitness.metrics.search import around_crossing, lowest_cost
from earwitness.metrics.t_eer import TandemScores, t_eer

TOY_1 = [2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0]

tied = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
both_tied = st.tuples(tied, tied)


def made(step: int, trials: int, shift: float) -> np.ndarray:
    """Distinct scores without a random generator, as they were given to the package."""
    return shift + 2 * (((np.arange(1, trials + 1) * step) % 97) / 97 * 2 - 1)


CM = TandemScores(made(31, 60, 1.2), made(53, 45, 1.0), made(17, 80, -0.6))
ASV = TandemScores(made(29, 60, 1.5), made(37, 45, -1.0), made(43, 80, 0.3))
BOTH = np.concatenate([CM.target, CM.nontarget]), CM.spoof


# --- golden values ---


def test_values_of_the_official_package() -> None:
    asv = AsvErrors.of(*ASV)
    assert asv == pytest.approx((1 / 6, 8 / 45, 0.5125), abs=1e-15)
    assert t_eer(CM, ASV) == pytest.approx(0.24500000000000004, abs=1e-15)
    assert min_tdcf(*BOTH, asv=asv) == pytest.approx(0.7541152429568364, abs=1e-14)
    assert min_tdcf_legacy(*BOTH, asv=asv) == pytest.approx(0.5875, abs=1e-14)
    assert min_adcf(*ASV) == pytest.approx(0.6099439775910365, abs=1e-14)
    own = TandemCosts(0.9, 0.05, 0.05, 1, 10, 20)
    assert min_adcf(*ASV, costs=own) == pytest.approx(0.6666666666666666, abs=1e-14)
    assert act_dcf(*BOTH) == pytest.approx(0.6210714285714285, abs=1e-14)
    assert cllr(*BOTH) == pytest.approx(0.70894679345522, abs=1e-14)


def test_toy_vectors_of_the_specification() -> None:
    assert act_dcf(*TOY_1) == pytest.approx(0.4285714285714286, abs=1e-15)
    assert cllr(*TOY_1) == pytest.approx(0.6167862858865861, abs=1e-15)
    assert min_tdcf(*TOY_1) == pytest.approx(0.34138120268909977, abs=1e-15)
    assert min_tdcf_legacy(*TOY_1, asv=ASVSPOOF5) == pytest.approx(0.2857142857142857, abs=1e-15)
    toy_2 = [2, 1.5, 0.3, 3.1], [-0.2, 0.1, -1.5], [-3, -1, 0.4, -0.7, 1]
    assert min_adcf(*toy_2) == pytest.approx(0.33613445378151263, abs=1e-15)
    assert min_adcf(*toy_2, costs=TandemCosts(0.9, 0.05, 0.05, 1, 10, 20)) == 0.25
    assert bayes_threshold() == pytest.approx(-0.6418538861723947, abs=1e-15)


def test_weights_of_the_challenges() -> None:
    """C0 and the floor of ASVspoof 5, and C1 and C2 of 2019, as the specification states them."""
    perfect = [1.0, 2.0], [-1.0, 0.0]
    assert min_tdcf(*perfect) == pytest.approx(0.0779336838, abs=1e-9)
    floor_2019 = 0.0254558799 / (0.0254558799 + 0.3803262265)
    assert min_tdcf(*perfect, asv=ASVSPOOF2019_LA) == pytest.approx(floor_2019, abs=1e-8)


def test_the_fault_of_the_package_is_a_switch_and_off() -> None:
    right, wrong = AsvErrors.of(*ASV), AsvErrors.of(*ASV, like_package_2024=True)
    assert wrong.false_alarm_spoof == 1 - right.false_alarm_spoof
    assert right[:2] == wrong[:2]


# --- oracles ---


def rates(bonafide: list[float], spoof: list[float]) -> list[tuple[Fraction, Fraction]]:
    return [
        (
            Fraction(sum(b < t for b in bonafide), len(bonafide)),
            Fraction(sum(s >= t for s in spoof), len(spoof)),
        )
        for t in [*sorted({*bonafide, *spoof}), float("inf")]
    ]


@given(both_tied, st.floats(0.01, 3), st.floats(0.01, 3))
def test_lowest_cost_is_the_lowest(both, of_miss, of_alarm) -> None:
    expected = min(of_miss * float(m) + of_alarm * float(f) for m, f in rates(*both))
    assert lowest_cost(both[0], of_miss, ("spoof", both[1], of_alarm)) == pytest.approx(
        expected, abs=1e-12
    )


@given(both_tied)
def test_the_crossing_lies_between_its_points(both) -> None:
    counts = [(len(both[0]) * m, len(both[1]) * (1 - f)) for m, f in rates(*both)]
    (before, after) = around_crossing(*both)
    place = counts.index(before)
    assert counts[place + 1] == after
    gaps = [m - f for m, f in rates(*both)]
    assert gaps[place] < 0 <= gaps[place + 1]


@pytest.mark.parametrize("seed", range(4))
def test_bins_change_no_value(seed) -> None:
    """Thousands of trials use many bins; a sweep over every threshold must agree to the bit."""
    rng = np.random.default_rng(seed)
    for shape in range(4):
        bonafide, spoof = rng.normal(1, 1, 3_000), rng.normal(0, 1, 9_000)
        if shape == 1:  # ties
            bonafide, spoof = bonafide.round(1), spoof.round(1)
        if shape == 2:  # an outlier: all others in one bin
            bonafide[0], spoof[0] = 1e12, -1e300
        if shape == 3:  # the span overflows
            bonafide[0], spoof[0] = 1.7e308, -1.7e308
        counts = sweep(bonafide, spoof)
        assert eer(bonafide, spoof) == float(equal_error_rate(counts))
        least = np.min(0.95 * counts.miss + 0.5 * counts.false_alarm)
        assert min_dcf(bonafide, spoof) == float(least / 0.5)


@given(both_tied)
def test_cllr_is_its_formula(both) -> None:
    miss = sum(log2(1 + exp(-b)) for b in both[0]) / len(both[0])
    alarm = sum(log2(1 + exp(s)) for s in both[1]) / len(both[1])
    assert cllr(*both) == pytest.approx((miss + alarm) / 2, abs=1e-12)


def pool(blocks: list[list[int]]) -> list[list[int]]:
    """Pool adjacent violators by hand: (bonafide, spoof) counts of each block, share rising."""
    pooled: list[list[int]] = []
    for block in blocks:
        pooled.append(list(block))
        while len(pooled) > 1 and (pooled[-2][0] * sum(pooled[-1]) >= pooled[-1][0] * sum(pooled[-2])):
            last = pooled.pop()
            pooled[-1] = [pooled[-1][0] + last[0], pooled[-1][1] + last[1]]
    return pooled


@given(both_tied)
def test_min_cllr_is_pool_adjacent_violators(both) -> None:
    n_b, n_s = map(len, both)
    blocks = [[both[0].count(v), both[1].count(v)] for v in sorted({*both[0], *both[1]})]
    total = 0.0
    for b, s in pool(blocks):
        if b and s:
            ratio = log(b / s) - log(n_b / n_s)
            total += b / n_b * log1p(exp(-ratio)) + s / n_s * log1p(exp(ratio))
    assert min_cllr(*both) == pytest.approx(total / (2 * log(2)), abs=1e-12)


@given(both_tied, st.floats(0.1, 3), st.floats(-2, 2))
def test_no_affine_calibration_beats_min_cllr(both, scale, shift) -> None:
    bonafide, spoof = (scale * np.array(one) + shift for one in both)
    assert min_cllr(*both) <= cllr(bonafide, spoof) + 1e-12


@given(both_tied)
def test_average_precision_is_its_formula(both) -> None:
    def of(found: list[int], others: list[int]) -> float:
        """Lowest scores first."""
        total, before = 0.0, 0
        for value in sorted({*found, *others}):
            right = sum(x <= value for x in found)
            listed = right + sum(x <= value for x in others)
            total += (right - before) * right / listed
            before = right
        return total / len(found)

    bonafide, spoof = both
    of_spoof = of(spoof, bonafide)
    of_bonafide = of([-b for b in bonafide], [-s for s in spoof])
    assert average_precision(*both) == pytest.approx(of_spoof, abs=1e-12)
    assert average_precision(*both, positive="bonafide") == pytest.approx(of_bonafide, abs=1e-12)
    mean = (of_spoof + of_bonafide) / 2
    assert average_precision(*both, positive="both") == pytest.approx(mean, abs=1e-12)


@given(both_tied, st.floats(-5, 5))
def test_decisions_are_counting(both, threshold) -> None:
    bonafide, spoof = both
    kept, caught = sum(b >= threshold for b in bonafide), sum(s < threshold for s in spoof)
    expected = (kept / len(bonafide) + caught / len(spoof)) / 2
    assert balanced_accuracy(*both, threshold=threshold) == pytest.approx(expected, abs=1e-12)
    wrong = len(bonafide) - kept + len(spoof) - caught
    of_spoof = 2 * caught / (2 * caught + wrong) if caught or wrong else 1.0
    assert f1(*both, threshold=threshold) == pytest.approx(of_spoof, abs=1e-12)
    of_bonafide = 2 * kept / (2 * kept + wrong)
    found = f1(*both, threshold=threshold, positive="bonafide")
    assert found == pytest.approx(of_bonafide, abs=1e-12)


@given(both_tied)
def test_act_dcf_is_never_below_min_dcf(both) -> None:
    assert act_dcf(*both) >= min_dcf(*both) - 1e-12


three_tied = st.tuples(tied, tied, tied)


@given(three_tied)
def test_min_adcf_is_brute_force(three) -> None:
    target, nontarget, spoof = three
    costs = []
    for threshold in [*sorted({*target, *nontarget, *spoof}), float("inf")]:
        miss = sum(x < threshold for x in target) / len(target)
        alarm = sum(x >= threshold for x in nontarget) / len(nontarget)
        accepted = sum(x >= threshold for x in spoof) / len(spoof)
        costs.append(0.9405 * miss + 10 * 0.0095 * alarm + 10 * 0.05 * accepted)
    assert min_adcf(*three) == pytest.approx(min(costs) / 0.595, abs=1e-12)


def test_three_classes_are_pairs_of_two() -> None:
    target, nontarget, spoof = ASV
    assert sv_eer(*ASV) == eer(target, nontarget)
    assert spf_eer(*ASV) == eer(target, spoof)
    assert sasv_eer(*ASV) == eer(target, np.concatenate([nontarget, spoof]))
    assert set(SASV_METRICS) == {"min_adcf", "sv_eer", "spf_eer", "sasv_eer"}


def slow_t_eer(cm: TandemScores, asv: TandemScores) -> float:
    """All pairs of thresholds, as the definition reads."""

    def points(*classes: list[float]) -> list[list[float]]:
        thresholds = [*sorted({x for one in classes for x in one}), float("inf")]
        return [[sum(x >= t for x in one) / len(one) for one in classes] for t in thresholds]

    cm_points = points([*cm.target, *cm.nontarget], cm.spoof)
    best, value = float("inf"), -1.0
    for tar, non, spf in points(*asv):
        if not (1 - tar < (non + spf) / 2 and spf > 0):
            continue
        gaps = [
            abs((1 - passed * tar) - (passed * non + alarm * spf) / 2) for passed, alarm in cm_points
        ]
        passed, alarm = cm_points[int(np.argmin(np.round(gaps, 12)))]
        if not passed:
            continue
        apart = abs(non / spf - alarm / passed)
        if apart < best - 1e-12:
            best, value = apart, spf * alarm
    return value


@pytest.mark.parametrize("seed", range(30))
def test_t_eer_is_all_pairs(seed) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 25, 3)
    cm = TandemScores(*(rng.normal(m, 1, n) for m, n in zip((1.5, 1.5, 0), sizes, strict=True)))
    asv = TandemScores(*(rng.normal(m, 1, n) for m, n in zip((2, 0, 1), sizes, strict=True)))
    assert t_eer(cm, asv) == pytest.approx(slow_t_eer(cm, asv), abs=1e-12)


# --- sweeps of resamples ---


def test_resamples_at_once_equal_one_by_one() -> None:
    """Every metric with a sweep gives the same intervals as without it."""
    rng = np.random.default_rng(3)
    both = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 50).round(1)
    metrics = [act_dcf, cllr, min_cllr, average_precision, min_tdcf, min_tdcf_legacy, min_dcf]
    at_once = bootstrap_intervals({m.__name__: m for m in metrics}, *both, draws=50)
    plain = {m.__name__: (lambda b, s, m=m: m(b, s)) for m in metrics}
    one_by_one = bootstrap_intervals(plain, *both, draws=50)
    for name, interval in at_once.items():
        assert interval == pytest.approx(one_by_one[name], abs=1e-12), name


# --- guards ---


def test_senseless_costs_are_refused() -> None:
    with pytest.raises(SettingsError, match="don't sum to 1"):
        min_tdcf(*TOY_1, costs=TandemCosts(p_spoof=0.5))
    with pytest.raises(SettingsError, match="0 or above"):
        min_adcf(*ASV, costs=TandemCosts(c_miss=-1.0))
    with pytest.raises(SettingsError, match="both must be above 0"):
        min_tdcf(*TOY_1, asv=AsvErrors(2.0, 0.1, 0.1))
    with pytest.raises(SettingsError, match="both must be above 0"):
        min_tdcf_legacy(*TOY_1, asv=AsvErrors(0.1, 0.1, 0.0))
    with pytest.raises(SettingsError, match="costs nothing"):
        min_adcf(*ASV, costs=TandemCosts(c_miss=0.0))
    with pytest.raises(SettingsError, match="expected spoof"):
        average_precision(*TOY_1, positive="fake")
    with pytest.raises(SettingsError, match="expected spoof or bonafide"):
        f1(*TOY_1, threshold=0.0, positive="both")
    for judge in (f1, balanced_accuracy):
        with pytest.raises(SettingsError, match="finite"):
            judge(*TOY_1, threshold=float("inf"))


def test_bad_scores_name_their_kind() -> None:
    with pytest.raises(ProtocolError, match="no nontarget scores"):
        min_adcf([1.0], [], [0.0])
    with pytest.raises(ProtocolError, match="asv spoof scores are NaN"):
        t_eer(CM, TandemScores([1.0], [0.0], [float("nan")]))


def test_the_package_is_pessimistic_where_scores_are_tied() -> None:
    tied_scores = [0, 1, 1, 2], [0, 0, 1, 1]
    assert (eer(*tied_scores), eer_challenge(*tied_scores)) == (0.375, 0.5)
