"""Metrics against brute force, the specification's toy vectors, and properties.

The oracles below try every threshold or every pair; they share no line with the package.
"""

import inspect
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earwitness.metrics
from earwitness.errors import ProtocolError, SettingsError
from earwitness.metrics import METRICS, lower_is_better
from earwitness.metrics.accuracy import accuracy
from earwitness.metrics.auc import auc
from earwitness.metrics.base import both_classes, metric
from earwitness.metrics.bootstrap import bootstrap_interval, bootstrap_intervals, bootstrap_values
from earwitness.metrics.curves import det_curve, eer_threshold, sweep
from earwitness.metrics.eer import eer
from earwitness.metrics.eer_challenge import eer_challenge
from earwitness.metrics.eer_min_both_signs import eer_min_both_signs
from earwitness.metrics.min_dcf import min_dcf
from earwitness.metrics.units import sampling
from earwitness.protocols import Protocol
from earwitness.trials import Manifest, Trial

TOY_1 = [2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0]
TOY_3 = [0, 1, 1, 2], [0, 0, 1, 1]
CONSTANT = [0.7] * 4, [0.7] * 6
INVERTED = [0, 1], [2, 3, 4]
PERFECT = [2, 3, 4], [0, 1]

# Few distinct values, so that ties within and across the classes are the rule.
tied = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
both_tied = st.tuples(tied, tied)


@st.composite
def untied(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    values = draw(st.lists(st.integers(-1000, 1000), min_size=2, max_size=24, unique=True))
    cut = draw(st.integers(1, len(values) - 1))
    return values[:cut], values[cut:]


def complete(name: str) -> Callable[..., float]:
    """A metric of the shelf, with a threshold where it needs one."""
    function = METRICS.get(name)
    needs = "threshold" in inspect.signature(function).parameters
    return partial(function, threshold=0.5) if needs else function


# --- oracles ---


def realisable(bonafide: list[float], spoof: list[float]) -> list[tuple[Fraction, Fraction]]:
    """(miss, false alarm) at every threshold that a person could set, exactly."""
    found = []
    for threshold in [*sorted({*bonafide, *spoof}), float("inf")]:
        miss = sum(1 for b in bonafide if b < threshold)
        false_alarm = sum(1 for s in spoof if s >= threshold)
        found.append((Fraction(miss, len(bonafide)), Fraction(false_alarm, len(spoof))))
    return found


def slow_eer(bonafide: list[float], spoof: list[float]) -> float:
    points = realisable(bonafide, spoof)
    least = min(abs(m - f) for m, f in points)
    nearest = [(m + f) / 2 for m, f in points if abs(m - f) == least]
    return float(sum(nearest) / len(nearest))


def slow_eer_challenge(bonafide: list[float], spoof: list[float]) -> float:
    """Reject one trial after the other in the stable order, and keep the first nearest point."""
    trials = [(v, "b") for v in bonafide] + [(v, "s") for v in spoof]
    trials.sort(key=lambda trial: trial[0])
    best, value, miss, false_alarm = 1.0, 0.5, 0, len(spoof)
    for _, kind in trials:
        miss += kind == "b"
        false_alarm -= kind == "s"
        rates = miss / len(bonafide), false_alarm / len(spoof)
        if abs(rates[0] - rates[1]) < best:
            best, value = abs(rates[0] - rates[1]), sum(rates) / 2
    return value


def slow_min_dcf(bonafide: list[float], spoof: list[float], p: Fraction, miss: int, fa: int) -> float:
    costs = [miss * (1 - p) * m + fa * p * f for m, f in realisable(bonafide, spoof)]
    return float(min(costs) / min(miss * (1 - p), fa * p))


def slow_auc(bonafide: list[float], spoof: list[float]) -> float:
    wins = sum((b > s) + 0.5 * (b == s) for b in bonafide for s in spoof)
    return wins / (len(bonafide) * len(spoof))


# --- toy vectors of the specification ---


def test_eer_toy_vectors() -> None:
    assert eer(*TOY_1) == pytest.approx(0.24285714285714285, abs=1e-15)
    assert eer(*TOY_3) == 0.375
    assert eer(*CONSTANT) == 0.5
    assert eer(*INVERTED) == 1.0
    assert eer(*PERFECT) == 0.0


def test_eer_challenge_toy_vectors() -> None:
    assert eer_challenge(*TOY_1) == 0.24285714285714285
    assert eer_challenge(*TOY_3) == 0.5
    assert eer_challenge(*CONSTANT) == 1.0
    assert eer_challenge(*INVERTED) == 1.0
    assert eer_challenge(*PERFECT) == 0.0


def test_binary_scores_show_what_ties_cost() -> None:
    both = [1] * 9 + [0], [1] * 2 + [0] * 8
    assert eer(*both) == pytest.approx(0.15)
    assert eer_challenge(*both) == pytest.approx(0.2)


def test_min_dcf_toy_vectors() -> None:
    assert min_dcf(*TOY_1) == pytest.approx(0.2857142857142856, abs=1e-15)
    assert min_dcf(*TOY_3) == pytest.approx(0.975, abs=1e-15)
    assert min_dcf(*CONSTANT) == 1.0
    assert min_dcf(*INVERTED) == 1.0
    assert min_dcf(*PERFECT) == 0.0


def test_eer_of_both_signs_hides_inverted_scores() -> None:
    assert eer_min_both_signs(*INVERTED) == eer_min_both_signs(*PERFECT) == 0.0
    assert eer_min_both_signs(*CONSTANT) == 0.5
    assert eer(*INVERTED) == 1.0


def test_auc_and_accuracy_toy_vectors() -> None:
    assert auc(*PERFECT) == 1.0
    assert auc(*INVERTED) == 0.0
    assert auc(*CONSTANT) == 0.5
    assert accuracy(*PERFECT, threshold=1.5) == 1.0
    assert accuracy(*PERFECT, threshold=-5) == 3 / 5
    assert accuracy(*PERFECT, threshold=5) == 2 / 5


# --- against brute force ---


@given(both_tied)
def test_metrics_equal_brute_force(both: tuple[list[int], list[int]]) -> None:
    assert eer(*both) == pytest.approx(slow_eer(*both), abs=1e-12)
    assert eer_challenge(*both) == slow_eer_challenge(*both)
    assert auc(*both) == pytest.approx(slow_auc(*both), abs=1e-12)
    assert min_dcf(*both) == pytest.approx(slow_min_dcf(*both, Fraction(1, 20), 1, 10), abs=1e-12)
    other = min_dcf(*both, p_spoof=0.5, c_miss=2.0, c_fa=3.0)
    assert other == pytest.approx(slow_min_dcf(*both, Fraction(1, 2), 2, 3), abs=1e-12)


@given(untied())
def test_metrics_equal_brute_force_without_ties(both: tuple[list[int], list[int]]) -> None:
    assert eer(*both) == pytest.approx(slow_eer(*both), abs=1e-12)
    assert eer_challenge(*both) == slow_eer_challenge(*both)
    assert auc(*both) == pytest.approx(slow_auc(*both), abs=1e-12)


@given(both_tied, st.floats(-5, 5))
def test_accuracy_is_counting(both: tuple[list[int], list[int]], threshold: float) -> None:
    right = sum(b >= threshold for b in both[0]) + sum(s < threshold for s in both[1])
    expected = right / (len(both[0]) + len(both[1]))
    assert accuracy(*both, threshold=threshold) == pytest.approx(expected, abs=1e-12)


@given(both_tied)
def test_det_curve_is_every_realisable_threshold(both: tuple[list[int], list[int]]) -> None:
    miss, false_alarm, thresholds = det_curve(*both)
    expected = realisable(*both)
    assert len(miss) == len(false_alarm) == len(thresholds) == len(expected)
    np.testing.assert_allclose(miss, [float(m) for m, _ in expected], atol=1e-12)
    np.testing.assert_allclose(false_alarm, [float(f) for _, f in expected], atol=1e-12)
    for m, f, threshold in zip(miss, false_alarm, thresholds, strict=True):
        assert m == np.mean(np.array(both[0]) < threshold)
        assert f == np.mean(np.array(both[1]) >= threshold)


@given(both_tied)
def test_eer_threshold_is_at_a_nearest_point(both: tuple[list[int], list[int]]) -> None:
    threshold = eer_threshold(*both)
    here = abs(np.mean(np.array(both[0]) < threshold) - np.mean(np.array(both[1]) >= threshold))
    least = min(abs(m - f) for m, f in realisable(*both))
    assert here == pytest.approx(float(least), abs=1e-12)


def test_eer_threshold_is_the_middle_and_survives_neighbouring_floats() -> None:
    assert eer_threshold([3, 4], [-3, -4]) == 0
    above = float(np.nextafter(1.0, 2.0))
    assert eer_threshold([above], [1.0]) == above
    assert eer_threshold(*CONSTANT) == 0.7


# --- properties ---


@given(st.one_of(both_tied, untied()))
def test_mirror_negating_and_swapping_changes_nothing(both: tuple[list[int], list[int]]) -> None:
    bonafide, spoof = (np.array(values) for values in both)
    assert eer(-spoof, -bonafide) == pytest.approx(eer(bonafide, spoof), abs=1e-12)
    assert auc(-spoof, -bonafide) == pytest.approx(auc(bonafide, spoof), abs=1e-12)


@given(st.one_of(both_tied, untied()))
def test_complement_of_swapped_classes(both: tuple[list[int], list[int]]) -> None:
    bonafide, spoof = both
    assert eer(spoof, bonafide) == pytest.approx(1 - eer(bonafide, spoof), abs=1e-12)
    assert auc(spoof, bonafide) == pytest.approx(1 - auc(bonafide, spoof), abs=1e-12)


def test_first_minimum_would_break_the_mirror() -> None:
    """Why two equally near points are averaged: the challenge keeps the first, from one side."""
    assert eer_challenge([0, 2], [1]) == 0.75
    assert eer_challenge([-1], [0, -2]) == 0.25
    assert eer([0, 2], [1]) == eer([-1], [0, -2]) == 0.5


@given(both_tied)
def test_monotone_maps_change_nothing(both: tuple[list[int], list[int]]) -> None:
    mapped = [np.exp(np.array(values) / 2) - 7 for values in both]
    for name in METRICS.names():
        function = METRICS.get(name)
        if function.order_only:
            assert function(*mapped) == pytest.approx(function(*both), abs=1e-12)


@given(both_tied, st.randoms(use_true_random=False))
def test_order_changes_nothing(both: tuple[list[int], list[int]], random: object) -> None:
    shuffled = [sorted(values, key=lambda _: random.random()) for values in both]  # type: ignore[attr-defined]
    for name in METRICS.names():
        function = complete(name)
        assert function(*shuffled) == pytest.approx(function(*both), abs=1e-12)


@given(tied, st.integers(1, 3))
def test_chance_is_half(values: list[int], times: int) -> None:
    assert eer(values, values * times) == pytest.approx(0.5, abs=1e-12)
    assert auc(values, values * times) == pytest.approx(0.5, abs=1e-12)
    assert eer_min_both_signs(values, values * times) == pytest.approx(0.5, abs=1e-12)


@given(both_tied)
def test_ranges_and_repeated_trials(both: tuple[list[int], list[int]]) -> None:
    for function in (eer, eer_challenge, min_dcf, auc):
        assert 0 <= function(*both) <= 1
    for function in (eer, min_dcf, auc):
        assert function(both[0] * 2, both[1] * 2) == pytest.approx(function(*both), abs=1e-12)
    assert eer_min_both_signs(*both) == pytest.approx(min(eer(*both), 1 - eer(*both)), abs=1e-12)


@given(untied())
def test_agrees_with_the_challenge_without_ties(both: tuple[list[int], list[int]]) -> None:
    smaller = min(map(len, both))
    assert abs(eer(*both) - eer_challenge(*both)) <= 1 / (4 * smaller) + 1e-12


@given(both_tied)
def test_perfect_and_inverted(both: tuple[list[int], list[int]]) -> None:
    high, low = [v + 100 for v in both[0]], both[1]
    assert (eer(high, low), eer(low, high)) == (0, 1)
    assert (auc(high, low), auc(low, high)) == (1, 0)
    assert (min_dcf(high, low), min_dcf(low, high)) == (0, 1)


def test_half_a_million_trials_are_quick() -> None:
    rng = np.random.default_rng(0)
    bonafide, spoof = rng.normal(1, 1, 100_000), rng.normal(0, 1, 433_928)
    seconds = []
    for _ in range(3):
        start = perf_counter()
        eer(bonafide, spoof)
        seconds.append(perf_counter() - start)
    assert min(seconds) < 0.5  # about 0.05 on one quiet core; a Python loop would take seconds


# --- guards ---


@pytest.mark.parametrize(
    ("bonafide", "spoof", "said"),
    [
        ([], [1.0], "no bonafide scores"),
        ([1.0], [], "no spoof scores"),
        ([[1.0, 2.0]], [1.0], r"shape \(1, 2\)"),
        ([1.0], 3.0, r"spoof scores have the shape \(\)"),
        (
            [1.0, float("nan"), float("nan")],
            [1.0],
            "2 of 3 bonafide scores.*first nan at position 1",
        ),
        ([1.0], [float("inf")], "1 of 1 spoof scores"),
        (["high"], [1.0], "not an array of real numbers"),
        ([1.0], [[1.0], [1.0, 2.0]], "not an array of real numbers"),
    ],
)
def test_bad_scores_are_refused(bonafide: object, spoof: object, said: str) -> None:
    refused = 0
    for name in METRICS.names():
        function = complete(name)
        with pytest.raises(ProtocolError, match=said):
            function(bonafide, spoof)
        refused += 1
    assert refused == len(METRICS.table) == 14


@pytest.mark.parametrize(
    "setting", [{"p_spoof": 0.0}, {"p_spoof": 1.0}, {"c_miss": -1.0}, {"c_fa": float("nan")}]
)
def test_min_dcf_refuses_senseless_costs(setting: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="expected 0 < p_spoof < 1"):
        min_dcf([1], [0], **setting)


def test_accuracy_needs_a_finite_threshold() -> None:
    with pytest.raises(SettingsError, match="finite"):
        accuracy([1], [0], threshold=float("nan"))
    with pytest.raises(TypeError):
        accuracy([1], [0])  # type: ignore[call-arg]


def test_arrays_are_not_changed() -> None:
    bonafide, spoof = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])
    before = bonafide.copy(), spoof.copy()
    both_classes(bonafide, spoof)
    for name in METRICS.names():
        complete(name)(bonafide, spoof)
    bootstrap_interval(eer, bonafide, spoof, draws=5)
    assert np.array_equal(bonafide, before[0])
    assert np.array_equal(spoof, before[1])


# --- the shelf ---


def test_table_names_every_file() -> None:
    folder = Path(earwitness.metrics.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    table = {place.split(":")[0] for place in METRICS.table.values()}
    assert files == table | set(METRICS.helpers)
    assert len(table) == 14


def test_directions() -> None:
    found = {name: lower_is_better(name) for name in METRICS.names()}
    higher = {"auc", "average_precision", "accuracy", "balanced_accuracy", "f1"}
    assert {name for name, lower in found.items() if not lower} == higher
    better, worse = ([1.0, 2.0, -1.0], [-2.0, 0.0]), ([-2.0, 0.0], [1.0, 2.0, -1.0])
    for name in METRICS.names():
        if name != "eer_min_both_signs":
            assert (complete(name)(*better) < complete(name)(*worse)) == found[name]


def test_unknown_metric_and_one_without_a_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="did you mean 'eer'"):
        lower_is_better("eerr")
    monkeypatch.setitem(METRICS.table, "undecided", "curves:det_curve")
    with pytest.raises(SettingsError, match="does not say"):
        lower_is_better("undecided")


# --- bootstrap ---


def scores_of(seed: int, n: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, n).round(2), rng.normal(0, 1, n).round(2)


@pytest.mark.parametrize("clustered", [False, True])
def test_reading_off_sweeps_equals_calling_the_metric(clustered: bool) -> None:
    """The quick way and one call a draw, on the same resamples."""
    bonafide, spoof = scores_of(1, 40)
    speakers = ([i % 7 for i in range(40)], [i % 9 + 3 for i in range(40)]) if clustered else None
    at = partial(accuracy, threshold=0.5)
    count = 0
    for function in (eer, min_dcf, auc, at, partial(min_dcf, p_spoof=0.5)):
        quick = bootstrap_interval(function, bonafide, spoof, draws=50, clusters=speakers)
        slow = bootstrap_interval(
            lambda b, s, f=function: f(b, s), bonafide, spoof, draws=50, clusters=speakers
        )
        assert quick == pytest.approx(slow, abs=1e-12)
        assert quick[0] < function(bonafide, spoof) < quick[1]
        count += 1
    assert count == 5


def test_intervals_share_resamples_and_depend_on_the_seed_alone() -> None:
    both = scores_of(2, 50)
    one = bootstrap_interval(eer, *both, draws=100, seed=3)
    assert one == bootstrap_interval(eer, *both, draws=100, seed=3)
    assert one != bootstrap_interval(eer, *both, draws=100, seed=4)
    together = bootstrap_intervals({"auc": auc, "eer": eer}, *both, draws=100, seed=3)
    assert together["eer"] == one


def test_draws_cut_into_portions_are_all_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @metric(lower_is_better=True)
    def counting(bonafide: np.ndarray, spoof: np.ndarray) -> float:
        seen.append((len(bonafide), len(spoof)))
        return 0.0

    monkeypatch.setattr("earwitness.metrics.bootstrap._CELLS", 100)
    bootstrap_interval(counting, *scores_of(3, 10), draws=23)
    assert seen == [(10, 10)] * 23


def test_ends_are_percentiles_of_the_draws() -> None:
    drawn = []

    def look(bonafide: np.ndarray, spoof: np.ndarray) -> float:
        drawn.append(auc(bonafide, spoof))
        return drawn[-1]

    low, high = bootstrap_interval(look, *scores_of(6, 40), draws=1001, level=0.9)
    ordered = sorted(drawn)
    assert (low, high) == pytest.approx((ordered[50], ordered[950]))


def test_level_widens() -> None:
    both = scores_of(4, 60)
    narrow = bootstrap_interval(auc, *both, level=0.5)
    wide = bootstrap_interval(auc, *both, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_coverage_of_a_known_auc() -> None:
    """The interval holds the true value about as often as it says."""
    truth, held = 0.7602499389065233, 0  # Phi(1 / sqrt 2)
    for seed in range(120):
        low, high = bootstrap_interval(auc, *scores_of(100 + seed, 80), draws=200)
        held += low <= truth <= high
    assert 0.88 <= held / 120 <= 1.0


def test_speakers_widen_the_interval_where_their_trials_are_alike() -> None:
    rng = np.random.default_rng(5)
    speakers = np.repeat(np.arange(20), 10)
    voices = rng.normal(0, 1, 20)
    bonafide = voices[speakers] + 1 + rng.normal(0, 0.1, 200)
    spoof = rng.permutation(voices)[speakers] + rng.normal(0, 0.1, 200)
    by_trial = bootstrap_interval(auc, bonafide, spoof)
    named = ([f"b{i}" for i in speakers], [f"s{i}" for i in speakers])
    by_speaker = bootstrap_interval(auc, bonafide, spoof, clusters=named)
    assert by_speaker[1] - by_speaker[0] > 1.5 * (by_trial[1] - by_trial[0])


def test_whole_speakers_are_drawn() -> None:
    """Speaker k has k bonafide trials and one spoof trial, all of score k: no other mix appears."""
    bonafide = [k for k in range(1, 5) for _ in range(k)]
    spoof = [1, 2, 3, 4]
    draws = []

    def look(b: np.ndarray, s: np.ndarray) -> float:
        draws.append((b.tolist(), s.tolist()))
        return 0.0

    bootstrap_interval(look, bonafide, spoof, draws=60, clusters=(bonafide, spoof))
    assert len(draws) == 60
    assert len({len(b) for b, _ in draws}) > 1
    for b, s in draws:
        assert len(s) == 4
        assert b == [k for k in s for _ in range(int(k))]


def test_no_draw_lacks_a_class() -> None:
    """Speakers of one class each: without strata a draw would now and then hold one class only."""
    low, high = bootstrap_interval(eer, [1, 2], [0, 3], draws=300, clusters=("ab", "cd"))
    assert 0 <= low <= high <= 1
    bootstrap_interval(eer, [1, 2], [0], draws=50, clusters=("ab", "a"))


def test_bootstrap_guards() -> None:
    with pytest.raises(SettingsError, match="draws=0"):
        bootstrap_interval(eer, [1], [0], draws=0)
    with pytest.raises(SettingsError, match="level=1"):
        bootstrap_interval(eer, [1], [0], level=1)
    with pytest.raises(ProtocolError, match="clusters for 1 bonafide and 2 spoof"):
        bootstrap_interval(eer, [1], [0], clusters=(["a"], ["a", "b"]))
    with pytest.raises(ProtocolError, match="attacks of 2 spoof trials"):
        bootstrap_interval(eer, [1], [0], attacks="ab")
    with pytest.raises(ProtocolError, match="no spoof"):
        bootstrap_interval(eer, [1], [])


@settings(max_examples=30)
@given(both_tied)
def test_sweep_counts_rise_from_none_to_all(both: tuple[list[int], list[int]]) -> None:
    counts = sweep(*both)
    for rejected, values in ((counts.bonafide, both[0]), (counts.spoof, both[1])):
        assert (rejected[0], rejected[-1]) == (0, len(values))
        assert (np.diff(rejected) >= 0).all()
    assert np.isfinite(counts.thresholds).all()


# --- sampling units ---


def protocol_with(speakers: list[str], attacks: list[str] | None = None) -> Protocol:
    labels = (["bonafide", "spoof"] * len(speakers))[: len(speakers)]
    trials = [
        Trial(f"t{i}", "x", labels[i], speaker=s, attack=attacks[i] if attacks else "-")
        for i, s in enumerate(speakers)
    ]
    return Protocol.of(Manifest("m", trials))


def test_speakers_are_units_only_where_all_are_known() -> None:
    found = sampling(protocol_with([f"p{i // 2}" for i in range(24)]))
    expected = [f"p{i}" for i in range(12)]
    assert [one.tolist() for one in found.clusters] == [expected, expected]
    assert (found.unit, found.attacks, found.doubts) == ("speaker", None, ())
    found = sampling(protocol_with(["a", "b", "c", "d"]))
    assert [one.tolist() for one in found.clusters] == [["a", "c"], ["b", "d"]]
    said = [doubt.split(":")[0] for doubt in found.doubts]
    assert said == ["only 2 bonafide speaker(s)", "only 2 spoof speaker(s)"]
    assert sampling(protocol_with(["-", "-"])) == ("trial", None, None, ())
    found = sampling(protocol_with(["a", "-", "", "b"]))
    assert (found.unit, found.clusters) == ("trial", None)
    assert "2 of 4" in found.doubts[0]


def test_attacks_are_units_where_all_spoofs_have_one() -> None:
    both = protocol_with(["a", "b", "c", "d"], ["-", "A1", "-", "A2"])
    found = sampling(both)
    assert (found.unit, found.attacks.tolist()) == ("speaker and attack", ["A1", "A2"])
    assert "only 2 attack(s)" in found.doubts[-1]
    assert sampling(both, "trial") == ("trial", None, None, ())
    assert sampling(both, "attack")[:2] == ("attack", None)
    assert sampling(both, "speaker").attacks is None
    assert sampling(both, "speaker, attack").unit == "speaker and attack"
    one = protocol_with(["a", "b", "c", "d"], ["-", "A1", "-", "A1"])
    assert sampling(one).unit == "speaker"  # one attack is drawn as often as there are: no news
    single = sampling(protocol_with(["a", "b", "a", "c"]))
    assert (single.unit, single.doubts[0].split(":")[0]) == ("trial", "a class has a single speaker")
    partly = protocol_with(["a", "b", "c", "d"], ["-", "A1", "-", "-"])
    assert sampling(partly).unit == "speaker"
    with pytest.raises(ProtocolError, match="1 of 2 trials have no attack"):
        sampling(partly, "attack")
    with pytest.raises(SettingsError, match="no column 'speakr'; did you mean 'speaker'"):
        sampling(partly, "speakr")
    with pytest.raises(SettingsError, match="expected one column, and attack beside it"):
        sampling(partly, "speaker,domain")


def test_attacks_times_speakers_count() -> None:
    """A spoof counts as often as its speaker times its attack was drawn; a bonafide as its speaker."""
    speakers = np.array([0, 0, 1, 1, 2, 2])
    attacks = np.array([0, 1, 0, 1, 0, 1])
    seen = []

    def look(b: np.ndarray, s: np.ndarray) -> float:
        seen.append((np.bincount(b.astype(int), minlength=3), np.bincount(s.astype(int), minlength=6)))
        return 0.0

    bootstrap_interval(
        look, [0, 1, 2], np.arange(6), draws=80, clusters=(range(3), speakers), attacks=attacks
    )
    assert len(seen) == 80
    for of_speaker, of_spoof in seen:
        of_attack = {tuple(of_spoof[a::2]) for a in (0, 1)}
        ratios = of_spoof.reshape(3, 2)
        assert (ratios.sum(axis=1) == 2 * of_speaker).all()  # two attacks are drawn in all
        assert len(of_attack) <= 2
        assert np.linalg.matrix_rank(ratios) == 1  # a product


def test_attacks_widen_the_interval_where_they_differ() -> None:
    rng = np.random.default_rng(2)
    attacks = np.repeat(np.arange(12), 40)
    spoof = rng.normal(0, 1.5, 12)[attacks] + rng.normal(0, 0.3, 480)
    bonafide = rng.normal(1.5, 1, 200)
    by_trial = bootstrap_interval(auc, bonafide, spoof)
    by_attack = bootstrap_interval(auc, bonafide, spoof, attacks=attacks)
    assert by_attack[1] - by_attack[0] > 2 * (by_trial[1] - by_trial[0])


def test_draws_without_a_class_are_left_out() -> None:
    """Speaker and attack drawn together may hold no spoof at all."""
    values = bootstrap_values(
        {"auc": auc}, [1.0, 2.0], [0.0, 0.5], draws=200, clusters=("ab", "cd"), attacks="xy"
    )["auc"]
    assert 0 < len(values) < 200
    assert np.isfinite(values).all()


def test_two_systems_are_resampled_alike() -> None:
    rng = np.random.default_rng(4)
    bonafide, spoof = rng.normal(1, 1, 50), rng.normal(0, 1, 60)
    one = bootstrap_values({"auc": auc}, bonafide, spoof, draws=20)["auc"]
    other = bootstrap_values({"auc": auc}, np.exp(bonafide), np.exp(spoof), draws=20)["auc"]
    assert one.tolist() == other.tolist()
