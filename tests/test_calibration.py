"""Calibration, fusion, thresholds, paired comparisons and review budgets, against derivations."""

import numpy as np
import pytest
from scipy import optimize, stats

from earwitness.calibration import Calibration, fit_affine, fit_isotonic
from earwitness.errors import ProtocolError, SettingsError
from earwitness.metrics.auc import auc
from earwitness.metrics.bootstrap import bootstrap_interval
from earwitness.metrics.cllr import cllr
from earwitness.metrics.eer import eer
from earwitness.metrics.min_cllr import min_cllr
from earwitness.metrics.paired import delong, differences
from earwitness.metrics.review import review, review_band
from earwitness.thresholds import Band, at_false_alarm, at_miss, operating, three_way


def classes(seed: int, n: int = 400, shift: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, n), rng.normal(0, 1, n + 50)


# Calibration.


@pytest.mark.parametrize("prior", [0.5, 0.05, 0.95])
def test_affine_is_the_minimum_of_the_weighted_loss(prior) -> None:
    bonafide, spoof = classes(0)

    def loss(solution: np.ndarray) -> float:
        shift = np.log(prior / (1 - prior))
        of_b = np.logaddexp(0, -(solution[0] * bonafide + solution[1] + shift)).mean()
        of_s = np.logaddexp(0, solution[0] * spoof + solution[1] + shift).mean()
        return prior * of_b + (1 - prior) * of_s

    found = optimize.minimize(
        loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}
    )
    fitted = fit_affine([bonafide], [spoof], prior=prior)
    assert fitted.weights[0] == pytest.approx(found.x[0], abs=1e-4)
    assert fitted.offset == pytest.approx(found.x[1], abs=1e-4)
    assert fitted.prior == prior


def test_calibrated_scores_of_gaussians_are_their_ratios() -> None:
    bonafide, spoof = classes(1, n=40_000)
    fitted = fit_affine([5 - 3 * -bonafide], [5 - 3 * -spoof])  # any scale and shift
    ratio = stats.norm.logpdf(bonafide, 2) - stats.norm.logpdf(bonafide, 0)
    np.testing.assert_allclose(fitted.apply(5 + 3 * bonafide), ratio, atol=0.15)
    llr = [fitted.apply(5 + 3 * one) for one in (bonafide, spoof)]
    assert cllr(*llr) == pytest.approx(min_cllr(*llr), abs=0.01)


def test_calibration_lowers_cllr_and_keeps_the_order() -> None:
    bonafide, spoof = (20 * one - 7 for one in classes(2))
    for fitted in (fit_affine([bonafide], [spoof]), fit_isotonic(bonafide, spoof)):
        llr = [fitted.apply(one) for one in (bonafide, spoof)]
        assert cllr(*llr) < 0.6
        assert cllr(bonafide, spoof) > 1
    affine = fit_affine([bonafide], [spoof])
    assert eer(affine.apply(bonafide), affine.apply(spoof)) == eer(bonafide, spoof)


def test_the_prior_of_the_trials_is_no_part_of_the_ratio() -> None:
    bonafide, spoof = classes(3, n=5000)
    few = fit_affine([bonafide], [spoof[:500]])
    many = fit_affine([bonafide], [spoof])
    assert few.offset == pytest.approx(many.offset, abs=0.4)
    assert abs(few.offset - np.log(10)) > 1  # which it would be off by


def test_inverted_scores_get_a_negative_weight_and_useless_ones_none() -> None:
    bonafide, spoof = classes(4)
    assert fit_affine([-bonafide], [-spoof]).weights[0] < 0
    constant = fit_affine([np.ones(50)], [np.ones(60)])
    assert constant.apply([1.0, 5.0]) == pytest.approx([0, 0], abs=1e-9)


def test_perfectly_parted_classes_have_a_finite_solution() -> None:
    fitted = fit_affine([[1.0, 2.0]], [[-2.0, -1.0]])
    assert np.isfinite(fitted.weights[0])
    assert cllr(fitted.apply([1.0, 2.0]), fitted.apply([-2.0, -1.0])) < 0.01


def test_isotonic_is_bounded_and_a_step() -> None:
    fitted = fit_isotonic(*classes(5))
    ratios = fitted.apply(np.linspace(-9, 9, 2001))
    assert (np.diff(ratios) >= 0).all()
    assert np.abs(ratios).max() < np.log(452)
    assert len(set(fitted.ratios)) == len(fitted.ratios)


def test_fusion_beats_each_and_weighs_the_better_more() -> None:
    rng = np.random.default_rng(6)
    bonafide, spoof = (
        [rng.normal(m, s, 3000) for m, s in (pair)] for pair in (((1, 1), (1, 2)), ((0, 1), (0, 2)))
    )
    fitted = fit_affine(bonafide, spoof)
    fused = [fitted.apply(*one) for one in (bonafide, spoof)]
    for system in range(2):
        assert cllr(*fused) < min_cllr(bonafide[system], spoof[system])
    assert fitted.weights == pytest.approx((1.0, 0.25), abs=0.1)  # (m1 - m0) / s^2


def test_a_calibration_is_written_and_read(tmp_path) -> None:
    for fitted in (
        fit_affine([[1.0, 2, 0]], [[0.0, 1]], fitted_on="dev"),
        fit_isotonic([1, 2, 0], [0, 1]),
    ):
        fitted.write(tmp_path / "c.json")
        assert Calibration.read(tmp_path / "c.json") == fitted
    for text, said in {
        "{": "not JSON",
        "[]": "expected an object",
        '{"format": "x"}': "found 'x'",
    }.items():
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(ProtocolError, match=said):
            Calibration.read(tmp_path / "c.json")
    told = {"format": "earwitness-calibration-1", "kind": "isotonic", "knots": [1], "ratios": []}
    with pytest.raises(ProtocolError, match="lacks its numbers"):
        Calibration.from_dict(told)


def test_calibration_guards() -> None:
    with pytest.raises(SettingsError, match="prior is 1"):
        fit_affine([[1.0]], [[0.0]], prior=1)
    with pytest.raises(ProtocolError, match="1 systems scored bonafide trials, 2 spoof"):
        fit_affine([[1.0]], [[0.0], [1.0]])
    with pytest.raises(ProtocolError, match="for each system"):
        fit_affine([[1.0], [1.0, 2.0]], [[0.0], [1.0]])
    with pytest.raises(ProtocolError, match="real numbers"):
        fit_affine([[float("nan")]], [[0.0]])
    with pytest.raises(ProtocolError, match=r"2 system\(s\) were given; the calibration is of 1"):
        Calibration("affine", weights=(1.0,)).apply([1.0], [2.0])


# Thresholds.


@pytest.mark.parametrize("seed", range(20))
def test_a_wanted_rate_is_met_and_not_wasted(seed) -> None:
    rng = np.random.default_rng(seed)
    bonafide, spoof = rng.normal(1, 1, 40).round(seed % 2 + 1), rng.normal(0, 1, 60).round(seed % 2 + 1)
    for rate in (0.0, 0.01, 0.05, 0.1, 0.5, 1.0):
        threshold = at_false_alarm(bonafide, spoof, rate)
        assert np.mean(spoof >= threshold) <= rate
        lower = [t for t in [*bonafide, *spoof] if t < threshold]
        assert not lower or np.mean(spoof >= max(lower)) > rate or rate == 1
        threshold = at_miss(bonafide, spoof, rate)
        assert np.mean(bonafide < threshold) <= rate
        kept = bonafide[bonafide >= threshold]
        assert not len(kept) or np.mean(bonafide <= kept.min()) > rate or rate == 1


def test_rates_that_are_whole_trials_in_floats_too() -> None:
    assert np.mean(np.arange(30.0) >= at_false_alarm([99.0], np.arange(30.0), 0.1)) == 0.1


def test_exact_intervals_are_the_binomial_test_turned_round() -> None:
    at = operating(np.arange(50.0), np.arange(50.0) - 40, threshold=3)
    interval = stats.binomtest(3, 50).proportion_ci(method="exact")
    assert at.miss_interval == pytest.approx((interval.low, interval.high), abs=1e-12)
    none = operating([1.0, 2.0], [-1.0], threshold=0)
    assert none.miss_interval[0] == 0
    assert none.false_alarm_interval == pytest.approx((0, 0.975))


def test_intervals_of_rates_by_speaker_are_wider() -> None:
    rng = np.random.default_rng(0)
    voices = rng.normal(0, 1, 20)
    speakers = np.repeat(np.arange(20), 30)
    bonafide = voices[speakers] + 2 + rng.normal(0, 0.2, 600)
    spoof = voices[speakers] + rng.normal(0, 0.2, 600)
    alone = operating(bonafide, spoof, 1.0)
    together = operating(bonafide, spoof, 1.0, clusters=(speakers, speakers))
    width = [one.false_alarm_interval[1] - one.false_alarm_interval[0] for one in (alone, together)]
    assert width[1] > 2 * width[0]


def test_three_way_decisions_keep_both_rates() -> None:
    bonafide, spoof = classes(7, shift=1.0)
    band = three_way(bonafide, spoof, false_alarm=0.05, miss=0.02)
    decided = {label: [band.decide(x) for x in one] for label, one in (("b", bonafide), ("s", spoof))}
    assert decided["b"].count("spoof") / 400 == band.miss <= 0.02
    assert decided["s"].count("bonafide") / 450 == band.false_alarm <= 0.05
    assert decided["b"].count("inconclusive") / 400 == band.inconclusive_bonafide > 0.3
    apart = three_way(bonafide + 50, spoof)
    assert apart.low == apart.high
    assert apart[2:] == (0, 0, 0, 0)
    assert Band(0, 1, 0, 0, 0, 0).decide(1.0) == "bonafide"


def test_threshold_guards() -> None:
    with pytest.raises(SettingsError, match="rate is 5"):
        at_false_alarm([1.0], [0.0], 5)
    with pytest.raises(ProtocolError, match="no spoof"):
        three_way([1.0], [])


# Paired comparisons.


def test_delong_is_the_jackknife_of_the_auc() -> None:
    """Its variance is that of leave-one-out values, to the order of 1/n; here computed by hand."""
    rng = np.random.default_rng(1)
    bonafide, spoof = rng.normal(1, 1, (2, 40)), rng.normal(0, 1, (2, 50))
    found = delong((bonafide[0], spoof[0]), (bonafide[1], spoof[1]))
    assert found.value == pytest.approx(auc(bonafide[0], spoof[0]) - auc(bonafide[1], spoof[1]))

    def kernel(b: np.ndarray, s: np.ndarray) -> np.ndarray:
        return (b[:, None] > s[None]) + 0.5 * (b[:, None] == s[None])

    apart = kernel(bonafide[0], spoof[0]) - kernel(bonafide[1], spoof[1])
    variance = apart.mean(1).var(ddof=1) / 40 + apart.mean(0).var(ddof=1) / 50
    z = found.value / np.sqrt(variance)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert found.high - found.low == pytest.approx(2 * 1.959963984540054 * np.sqrt(variance))


def test_delong_and_the_paired_bootstrap_agree() -> None:
    rng = np.random.default_rng(2)
    bonafide, spoof = classes(8)
    other = bonafide + rng.normal(0, 0.7, len(bonafide)), spoof + rng.normal(0, 0.7, len(spoof))
    exact = delong((bonafide, spoof), other)
    drawn = differences({"auc": auc}, (bonafide, spoof), other, draws=2000)["auc"]
    assert drawn.value == pytest.approx(exact.value)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.004)
    apart = [bootstrap_interval(auc, *one) for one in ((bonafide, spoof), other)]
    assert drawn.high - drawn.low < apart[0][1] - apart[0][0] + apart[1][1] - apart[1][0]


def test_no_difference_is_not_called_one() -> None:
    """Two systems with independent noise of the same size: 5 % of such pairs look different."""
    called = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        base = rng.normal(1, 1, 80), rng.normal(0, 1, 80)
        pair = [tuple(one + rng.normal(0, 0.5, 80) for one in base) for _ in range(2)]
        called += differences({"eer": eer}, *pair, draws=200)["eer"].p < 0.05
    assert called <= 6
    bonafide, spoof = classes(9)
    same = differences({"eer": eer}, (bonafide, spoof), (bonafide, spoof), draws=50)["eer"]
    assert same == (0, 0, 0, 1)


def test_other_trials_cannot_be_paired() -> None:
    for compare in (delong, lambda a, b: differences({"eer": eer}, a, b)):
        with pytest.raises(ProtocolError, match="same trials"):
            compare(([1.0, 2.0], [0.0]), ([1.0], [0.0]))


# Review.


def test_perfect_meets_the_oracle_and_constant_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    costs = rng.uniform(1, 10, 60)
    fake = rng.random(60) < 0.3
    order = np.argsort(costs)
    perfect = np.where(fake, -100.0, 0.0)
    perfect[order] += np.arange(60)  # the cheapest first among the fakes
    told = review(perfect, fake, costs)
    for budget in np.cumsum(np.sort(costs[fake])):
        assert told.recall_at(budget) == pytest.approx(told.oracle_at(budget + 1e-9))
    flat = review(np.zeros(60), fake, costs)
    for share in (0.1, 0.5, 0.9):
        assert flat.recall_at(share * flat.total) == pytest.approx(share)
        assert flat.random_at(share * flat.total) == pytest.approx(share)


def test_equal_costs_are_the_gain_curve() -> None:
    told = review([3, 1, 2, 0], [False, True, False, True])
    assert told.recall.tolist() == [0, 0.5, 1, 1, 1]
    assert told.cost.tolist() == [0, 1, 2, 3, 4]
    assert told.budget_for(1.0) == 2
    assert told.budget_for(0.5) == 1
    assert told.budget_for(0.0) == 0


def test_review_is_monotone_and_does_not_depend_on_order() -> None:
    rng = np.random.default_rng(1)
    scores, fake, costs = rng.integers(0, 9, 80), rng.random(80) < 0.4, rng.uniform(1, 5, 80)
    told = review(scores, fake, costs)
    assert (np.diff(told.recall) >= 0).all()
    assert told.recall[-1] == 1
    assert told.total == pytest.approx(costs.sum())
    turn = rng.permutation(80)
    again = review(scores[turn], fake[turn], costs[turn])
    np.testing.assert_allclose(again.cost, told.cost)
    np.testing.assert_allclose(again.recall, told.recall)
    for recall in (0.2, 0.5, 0.8, 0.95):
        assert told.recall_at(told.budget_for(recall)) == pytest.approx(recall)
    assert 0 < review(scores, fake, costs).area() < 1


def test_a_block_is_heard_in_random_order_on_average() -> None:
    rng = np.random.default_rng(2)
    scores, fake = np.array([0.0] * 10 + [1.0] * 10), np.array(([True] * 5 + [False] * 5) * 2)
    told = review(scores, fake)
    found = np.mean([fake[:10][rng.permutation(10)][:4].sum() / 10 for _ in range(4000)])
    assert told.recall_at(4) == pytest.approx(found, abs=0.01)


def test_a_band_holds_the_curve_and_speakers_widen_it() -> None:
    rng = np.random.default_rng(3)
    speakers = np.repeat(np.arange(15), 20)
    fake = rng.random(300) < 0.4
    scores = rng.normal(0, 1, 15)[speakers] - fake + rng.normal(0, 0.2, 300)
    shares = np.array([0.05, 0.2, 0.5])
    told = review(scores, fake)
    widths = []
    for clusters in (None, speakers):
        low, high = review_band(scores, fake, None, shares, clusters=clusters, draws=100)
        assert (low <= [told.recall_at(share * 300) for share in shares]).all()
        assert (high >= [told.recall_at(share * 300) for share in shares]).all()
        widths.append((high - low).sum())
    assert widths[1] > 1.5 * widths[0]
    twice = review(scores, fake, times=np.full(300, 2))
    np.testing.assert_allclose(twice.recall, told.recall)
    assert twice.total == 2 * told.total


def test_review_guards() -> None:
    with pytest.raises(ProtocolError, match="one of each"):
        review([1, 2], [True])
    with pytest.raises(ProtocolError, match="0 spoofs"):
        review([1, 2], [False, False])
    with pytest.raises(ProtocolError, match="1 costs that are not above 0"):
        review([1, 2], [True, False], [0, 1])


# What a sceptical reading found.


def test_one_trial_of_a_class_tells_nothing() -> None:
    assert delong(([1], [0, 0.5]), ([0], [1, 0.5])).p == 1.0
    apart = delong(([2, 3], [0, 1]), ([0, 1], [2, 3]))
    assert (apart.value, apart.low, apart.high, apart.p) == (1.0, -1.0, 1.0, 1.0)


def test_an_interval_without_errors_is_not_empty() -> None:
    speakers = np.arange(100) % 10
    at = operating(np.ones(100), np.zeros(100), 0.5, clusters=(speakers, speakers), draws=20)
    assert at.false_alarm_interval == pytest.approx((0, 0.0362), abs=1e-3)
    with pytest.raises(SettingsError, match="finite"):
        operating([1.0], [0.0], float("nan"))


def test_nobody_beats_the_oracle() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        scores, fake = rng.integers(0, 9, 30), rng.random(30) < 0.4
        costs = rng.uniform(1, 9, 30)
        told = review(scores, fake | (np.arange(30) == 0), costs)
        for budget in np.linspace(0, told.total, 50):
            assert told.oracle_at(budget) >= told.recall_at(budget) - 1e-12
            assert told.oracle_at(budget) >= told.random_at(budget) - 1e-12
    with pytest.raises(SettingsError, match=r"recall is 1\.5"):
        told.budget_for(1.5)
    with pytest.raises(ProtocolError, match="none of 1 draws has a spoof"):
        review_band([0, *[1] * 50], [True, *[False] * 50], None, [0.5], draws=1, seed=1)


def test_one_absurd_score_does_not_spoil_the_calibration() -> None:
    bonafide, spoof = classes(0)
    usual = fit_affine([bonafide], [spoof]).weights[0]
    for outlier in (1e4, 1e6, 1e8):
        fitted = fit_affine([np.append(bonafide, outlier)], [spoof])
        assert fitted.weights[0] == pytest.approx(usual, rel=0.02)


def test_isotonic_of_useless_scores_says_nothing() -> None:
    for n in (1000, 20):
        fitted = fit_isotonic(np.ones(n), np.ones(5))
        assert fitted.apply([1.0])[0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ProtocolError, match="NaN or infinite"):
        fitted.apply([float("nan")])


def test_thresholds_between_floats_far_apart_are_finite() -> None:
    assert at_false_alarm([1e308], [-1e308], 0) == 0
    band = three_way([1e308], [-1e308])
    assert np.isfinite([band.low, band.high]).all()
    assert band.decide(1e308) == "bonafide"


@pytest.mark.parametrize(
    "told",
    [
        {"offset": None},
        {"weights": 5},
        {"weights": ["x"]},
        {"weights": [float("nan")]},
        {"knots": [2, 1]},
    ],
)
def test_a_broken_calibration_is_refused(told) -> None:
    good = {"format": "earwitness-calibration-1", "kind": "affine", "weights": [1.0]}
    Calibration.from_dict(good)
    with pytest.raises(ProtocolError, match="expected numbers|not finite"):
        Calibration.from_dict({**good, **told})
