"""Comparisons against numbers by hand, other algorithms, and pictures that can be read."""

import csv
import io
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from run_folder import write_levels, write_run_folder

from earwitness import figures
from earwitness.comparison import Comparison, compare, judge, overview, render, write
from earwitness.comparison.judge import mark, pareto
from earwitness.comparison.pictures import draw
from earwitness.comparison.statistics import gather, holm, paired, shares, sign_flip, student
from earwitness.comparison.tables import shown
from earwitness.errors import ProtocolError, RunError, SettingsError
from earwitness.evaluation import accuracy_matrix
from earwitness.figures.fronts import Point, storage_front
from earwitness.figures.labels import Named, name_points
from earwitness.runs import RunFolder

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"""(?:https?:)?//[^\s"'<>)]+""")
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
TASKS = ("phone", "vocoder")
UNTRAINED = [0.5, 0.5]


def two_tasks(first, then, last, before=0.4):
    """Untrained row, ``[first on its own task, before]``, ``[then, last]``."""
    return [UNTRAINED, [first, before], [then, last]]


LEVELS = {
    ("naive", 0, 1): two_tasks(0.1, 0.4, 0.1),
    ("naive", 1, 1): two_tasks(0.1, 0.5, 0.1),
    ("naive", 2, 1): two_tasks(0.2, 0.4, 0.1),
    ("rwm", 0, 1): two_tasks(0.1, 0.2, 0.1, before=0.3),
    ("rwm", 1, 1): two_tasks(0.1, 0.2, 0.2, before=0.3),
    ("rwm", 2, 1): two_tasks(0.2, 0.1, 0.1, before=0.3),
    ("joint", 0, 1): two_tasks(0.05, 0.05, 0.05),
    ("joint", 1, 1): two_tasks(0.05, 0.0, 0.05),
    ("joint", 2, 1): two_tasks(0.05, 0.05, 0.05),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_levels(
        tmp_path_factory.mktemp("runs") / "three",
        LEVELS,
        orders=[TASKS],
        stores={"naive": (0, 0, False), "rwm": (2_000, 0, False), "joint": (500, 90, True)},
        seconds={"naive": 2.0, "rwm": 3.0, "joint": 8.0},
    )


@pytest.fixture(scope="module")
def compared(folder):
    return compare(folder)


# --- numbers by hand ------------------------------------------------------------------------


def test_measures_by_hand(compared):
    rwm = compared["rwm"]
    assert rwm.runs == [[0, 1], [1, 1], [2, 1]]
    by_hand = {
        "final_average": [0.15, 0.2, 0.1],
        "pooled": [0.15, 0.2, 0.1],  # the same threshold is the best for both tasks
        "average_over_time": [0.125, 0.15, 0.15],
        "forgetting": [0.1, 0.1, -0.1],
        "backward_transfer": [-0.1, -0.1, 0.1],
        "forward_transfer": [0.2, 0.2, 0.2],
        "learning_accuracy": [0.1, 0.15, 0.15],
        "clear_in_domain": [0.1, 0.15, 0.15],
        "clear_next_domain": [0.3, 0.3, 0.3],
        "clear_backward": [0.2, 0.2, 0.1],
        "clear_forward": [0.3, 0.3, 0.3],
        "bytes": [2_000] * 3,
        "seconds_a_task": [3.0] * 3,
    }
    for measure, values in by_hand.items():
        assert rwm.values[measure] == pytest.approx(values), measure
        if measure not in ("bytes", "seconds_a_task"):
            assert rwm.means[measure]["mean"] == pytest.approx(np.mean(values))
    assert [point["mean"] for point in rwm.curve] == pytest.approx([0.4 / 3, 0.15])
    assert rwm.by_task["phone"]["mean"] == pytest.approx(0.5 / 3)
    assert rwm.times_naive["mean"] == pytest.approx(1.5)
    assert rwm.stores == {"bytes": 2_000, "clips": 0, "keeps_audio": False}


def test_differences_agree_with_scipy(compared):
    naive, rwm = np.array([0.25, 0.3, 0.25]), np.array([0.15, 0.2, 0.1])
    found = compared["rwm"].against["final_average"]
    test = scipy.stats.ttest_rel(rwm, naive)
    assert found["mean"] == pytest.approx((rwm - naive).mean())
    assert (found["low"], found["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found["p"] == pytest.approx(test.pvalue)
    assert found["p_flip"] == 0.25
    assert (found["pairs"], found["units"]) == (3, 3)
    own = compared["rwm"].means["final_average"]
    expected = scipy.stats.t.interval(0.95, 2, rwm.mean(), scipy.stats.sem(rwm))
    assert (own["low"], own["high"]) == pytest.approx(expected)
    assert compared["naive"].against is None


def test_corrections_are_over_the_methods_of_the_table(compared):
    others = [compared["rwm"], compared["joint"]]
    plain = [one.against["final_average"]["p"] for one in others]
    assert [one.against["final_average"]["p_holm"] for one in others] == pytest.approx(holm(plain))
    assert plain[1] < plain[0]
    assert others[1].against["final_average"]["p_holm"] == pytest.approx(2 * plain[1])
    assert {(pair["one"], pair["other"]) for pair in compared.pairs} == {
        ("rwm", "naive"), ("rwm", "joint"), ("naive", "joint"),
    }  # fmt: skip
    assert [p["p_holm"] for p in compared.pairs] == pytest.approx(
        holm([p["p"] for p in compared.pairs])
    )


# --- tests of differences -------------------------------------------------------------------


def by_enumeration(differences):
    """All signs, one after the other, in exact arithmetic of small integers."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return sum(one >= observed for one in sums) / len(sums)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-4, 6), min_size=2, max_size=9))
def test_sign_flips_are_all_enumerated(whole):
    # Tenths are not exact in binary, so sums that are equal on paper differ in their last bits.
    assert sign_flip(0.1 * np.array(whole)) == pytest.approx(by_enumeration(whole), abs=1e-12)


def test_sign_flips_agree_with_scipy_and_have_their_floor():
    rng = np.random.default_rng(3)
    for n in (5, 10, 15):
        values = rng.normal(0.4, 1, n)
        zeros = np.zeros(n)
        expected = scipy.stats.permutation_test(
            (values, zeros), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=2**n
        )
        assert sign_flip(values) == pytest.approx(expected.pvalue, abs=1e-9)
        assert sign_flip(np.ones(n) + 0.1 * rng.random(n)) == pytest.approx(2 / 2**n)
    assert sign_flip(np.zeros(4)) == 1.0


def test_drawn_signs_come_near_and_are_never_zero():
    values = np.random.default_rng(5).normal(0.35, 1, 18)
    drawn, exact = sign_flip(values, exact=10), sign_flip(values)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000))
    assert sign_flip(values, exact=10, seed=1) != drawn
    assert sign_flip(np.ones(40)) == 1 / 20_001


def test_student_agrees_with_scipy_and_does_not_trust_no_spread():
    values = np.random.default_rng(1).normal(0.3, 1, 7)
    assert student(values) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)
    assert student([0.1, 0.1, 0.1]) == 0.25
    assert student([0.0, 0.0]) == 1.0
    with pytest.raises(ProtocolError, match="at least two"):
        student([0.5])


def step_down(p_values, level):
    """Holm's procedure as he describes it: go up from the smallest until one is not small enough."""
    rejected = set()
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] * (len(p_values) - rank) > level:
            break
        rejected.add(place)
    return rejected


def test_holm_by_hand_and_as_a_procedure():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []
    p_values = list(np.random.default_rng(2).random(12) ** 4)
    for level in (0.001, 0.01, 0.05, 0.3):
        adjusted = holm(p_values)
        assert {i for i, p in enumerate(adjusted) if p <= level} == step_down(p_values, level)


def test_units_are_runs_seeds_or_orders():
    values = {(0, 1): 0.1, (0, 2): 0.3, (1, 1): 0.5, (1, 2): 0.1, (2, 2): 0.4}
    assert gather(values, "runs") == [0.1, 0.3, 0.5, 0.1, 0.4]
    assert gather(values, "seeds") == pytest.approx([0.2, 0.3, 0.4])
    assert gather(values, "orders") == pytest.approx([0.3, 0.8 / 3])
    with pytest.raises(SettingsError, match="did you mean 'seeds'"):
        gather(values, "seed")
    nothing = paired({(0, 1): 0.5}, {(1, 1): 0.5})
    assert (nothing["pairs"], nothing["mean"], nothing["p"]) == (0, None, None)


def test_shares_of_variance_by_hand():
    # Mean squares: orders 4, seeds 4, rest 1; components (4 - 1) / 2, (4 - 1) / 2 and 1.
    table = {(0, 1): 1.0, (0, 2): 2.0, (1, 1): 2.0, (1, 2): 5.0}
    assert shares(table) == {"order": 0.375, "seed": 0.375, "rest": 0.25}
    assert shares(table | {(7, 1): 9.0}) == shares(table)  # a seed without the other order
    assert shares({(0, 1): 1.0, (1, 1): 2.0}) is None
    assert shares(dict.fromkeys(table, 0.1)) is None
    rng = np.random.default_rng(0)
    drawn = {(s, o): 3 * o + rng.normal() for s in range(40) for o in range(4)}
    found = shares(drawn)
    assert found["order"] == pytest.approx(15 / 16, abs=0.02)  # variance of 0, 3, 6, 9 is 15
    assert found["seed"] < 0.02


# --- marks ----------------------------------------------------------------------------------


def column(**values):
    return {label: {(seed, 1): v for seed, v in enumerate(own)} for label, own in values.items()}


def test_the_best_is_marked_alone_only_where_it_beats_everyone():
    clear = column(a=[0.10, 0.11, 0.12, 0.11], b=[0.20, 0.22, 0.21, 0.20], c=[0.3, 0.33, 0.3, 0.31])
    one = mark(clear, higher=False, name="EER")
    assert (one.group, one.is_alone) == (["a"], True)
    assert one.told == "a has the lowest EER, and is better than each of the 2 others."
    assert (one.sign("a"), one.sign("b")) == ("●", "")
    close = column(a=[0.10, 0.11, 0.12, 0.11], b=[0.13, 0.09, 0.14, 0.10], c=[0.3, 0.33, 0.3, 0.31])
    two = mark(close, higher=False, name="EER")
    assert (two.group, two.is_alone) == (["a", "b"], False)
    assert (
        two.told == "a has the lowest EER by its mean; b (1 of 2 others) cannot be told apart from it."
    )
    assert (two.sign("a"), two.sign("b"), two.sign("c")) == ("○", "○", "")
    assert mark(clear, higher=True).group == ["c"]


def test_what_holm_takes_back_is_not_marked():
    """Alone against b the difference has p = 0.03; with two comparisons that is not enough."""
    a, b = [0.0, 0.0, 0.0, 0.0], [0.1, 0.1, 0.16, 0.04]
    c = [0.1, 0.11, 0.16, 0.05]
    p = paired(column(b=b)["b"], column(a=a)["a"])["p"]
    assert 0.025 < p < 0.05
    assert mark(column(a=a, b=b), higher=False).is_alone
    many = column(a=a, b=b, c=c, d=[0.1, 0.09, 0.17, 0.05])
    assert not mark(many, higher=False).is_alone


def test_two_runs_are_too_few_for_a_mark():
    assert not mark(column(a=[0.1, 0.1], b=[0.4, 0.41]), higher=False).is_alone
    assert mark(column(a=[0.1] * 5, b=[0.4, 0.41, 0.4, 0.42, 0.4]), higher=False).is_alone


def test_only_runs_that_both_have_count():
    values = column(a=[0.1] * 4, b=[0.2, 0.21, 0.2, 0.22])
    values["c"] = {(9, 1): 0.9}
    found = mark(values, higher=False)
    assert found.group == ["a", "c"]  # far worse on another seed, which says nothing
    values["easy"] = {(9, 1): 0.05}
    assert mark(values, higher=False).group[0] == "easy"
    assert not mark(values, higher=False).is_alone


def test_a_best_mean_over_easier_runs_does_not_hide_who_is_better():
    hard = {(s, 2): 0.5 for s in range(8)}
    easy = {"a": {(s, 1): 0.10 + 0.01 * s for s in range(4)}}
    easy["b"] = {(s, 1): 0.05 + 0.011 * s for s in range(4)} | hard
    told = mark(easy, higher=False)
    assert not told.is_alone
    assert "or better in the runs that both have (b)" in told.told


def test_marks_are_seldom_wrong():
    """Of equal methods a winner is named, or a given one left out, in one case of twenty or less."""
    rng = np.random.default_rng(11)
    alone = excluded = 0
    for _ in range(300):
        drawn = rng.normal(size=(4, 6))
        found = mark(column(a=drawn[0], b=drawn[1], c=drawn[2], d=drawn[3]), higher=True)
        alone += found.is_alone
        excluded += "a" not in found.group
    assert alone < 0.05 * 300 + 11
    assert excluded < 0.05 * 300 + 11


def test_bounds_are_last_and_never_marked(compared):
    assert [one.label for one in compared.methods] == ["rwm", "naive", "joint"]
    assert compared["joint"].role == "upper bound"
    assert (
        compared["joint"].means["final_average"]["mean"]
        < compared["rwm"].means["final_average"]["mean"]
    )
    for found in compared.marks.values():
        assert "joint" not in found.group
    assert all("joint" not in labels for labels in compared.fronts.values())
    assert "Bounds, not ranked: joint 4.2 %." in compared.headline
    assert compared["joint"].against["final_average"]["mean"] < 0  # shown all the same


def test_roles_go_by_the_strategys_name_and_naive_can_win(tmp_path):
    levels = {("plain", s, 1): two_tasks(0.1, 0.1, 0.1 + 0.05 * (s % 2)) for s in range(4)}
    levels |= {("all", s, 1): two_tasks(0.0, 0.0, 0.0) for s in range(4)}
    levels |= {("still", s, 1): two_tasks(0.0, 0.0, 0.0) for s in range(4)}
    levels |= {("ewc", s, 1): two_tasks(0.3, 0.3, 0.35 - 0.05 * (s // 2)) for s in range(4)}
    names = {"plain": "naive", "all": "cumulative", "still": "frozen"}
    found = compare(write_levels(tmp_path / "run", levels, orders=[TASKS], names=names))
    assert {one.label: one.role for one in found.methods} == {
        "plain": "naive", "ewc": "method", "all": "upper bound", "still": "frozen",
    }  # fmt: skip
    assert found.reference == "plain"
    assert found.marks["final_average"].group == ["plain"]
    assert found.marks["final_average"].is_alone


def test_fronts_by_brute_force(compared):
    assert compared.fronts == {"storage": ["naive", "rwm"], "time": ["naive", "rwm"]}
    rng = np.random.default_rng(0)
    points = {f"m{i}": (int(rng.integers(4)), int(rng.integers(4))) for i in range(25)}
    for higher in (False, True):
        front = set(pareto(points, higher=higher))
        for name, (cost, value) in points.items():
            better = [
                (c, v) for c, v in points.values()
                if c <= cost and (v >= value if higher else v <= value) and (c, v) != (cost, value)
            ]  # fmt: skip
            assert (name in front) == (not better)


# --- what is missing ------------------------------------------------------------------------


def test_missing_runs_are_counted_and_named(tmp_path):
    levels = {**LEVELS, ("rwm", 1, 1): None, ("ewc", 0, 1): None, ("ewc", 1, 1): None}
    levels["ewc", 2, 1] = None
    found = compare(write_levels(tmp_path / "run", levels, orders=[TASKS]))
    assert [(one["label"], one["seed"]) for one in found.missing] == [
        ("rwm", 1), ("ewc", 0), ("ewc", 1), ("ewc", 2),
    ]  # fmt: skip
    assert found.notes[0] == (
        "4 planned runs are not finished and left out: rwm (seed 1 of order 1); ewc (seeds 0, 1, 2 of "
        "order 1)."
    )
    assert "Most have 3 runs; these have others: rwm 2." in found.notes[1]
    assert [one.label for one in found.methods] == ["rwm", "naive", "joint"]
    assert (found["rwm"].against["final_average"]["pairs"], found["rwm"].planned) == (2, 3)
    assert all(note.replace("'", "&#39;") in render(found) for note in found.notes)
    assert not found.marks["final_average"].is_alone  # two pairs say nothing


def test_many_missing_runs_are_named_in_few_words():
    levels = {(label, seed, order): None for label in "ab" for seed in (1, 2) for order in (1, 3)}
    levels["c", 2, 3] = levels["c", 1, 1] = levels["c", 1, 3] = None
    missing = [dict(zip(("label", "seed", "order"), key, strict=True)) for key in levels]
    assert judge.notes([], missing)[0] == (
        "11 planned runs are not finished and left out: a, b (seeds 1, 2 of orders 1, 3); "
        "c (seeds 2, 1 of order 3; seed 1 of order 1)."
    )


def test_a_finished_run_without_its_scores_is_an_error(tmp_path):
    made = write_levels(tmp_path / "run", LEVELS, orders=[TASKS])
    made.finished()[0].score_file(1, 0).unlink()
    with pytest.raises(ProtocolError, match="no such file"):
        compare(made)


def test_without_naive_there_is_no_reference_unless_asked(tmp_path):
    levels = {(f"s{k}", s, 1): two_tasks(0.1, 0.1 * k, 0.1) for k in (1, 2) for s in range(3)}
    made = write_levels(tmp_path / "run", levels, orders=[TASKS], seconds={"s1": 1.0, "s2": 2.0})
    found = compare(made)
    assert found.reference is None
    assert all(one.against is None and one.times_naive is None for one in found.methods)
    assert "No naive strategy was run" in " ".join(found.headline)
    assert "None" not in render(found)
    asked = compare(made, reference="s1")
    assert asked["s2"].against["final_average"]["mean"] == pytest.approx(0.05)
    with pytest.raises(SettingsError, match="did you mean 's1'"):
        compare(made, reference="s11")
    with pytest.raises(SettingsError, match="min_dcf"):
        compare(made, metric="min_dcf")
    with pytest.raises(SettingsError, match="choose from runs"):
        compare(made, units="clips")


# --- orders, other classes, several folders -------------------------------------------------


def in_orders():
    """The second order learns the tasks the other way round; vocoder is the harder one in both."""
    return {
        ("naive", 0, 1): [UNTRAINED, [0.1, 0.4], [0.3, 0.2]],
        ("naive", 1, 1): [UNTRAINED, [0.1, 0.4], [0.3, 0.3]],
        ("naive", 0, 2): [UNTRAINED, [0.2, 0.4], [0.5, 0.1]],
        ("naive", 1, 2): [UNTRAINED, [0.2, 0.4], [0.4, 0.1]],
        ("rwm", 0, 1): [UNTRAINED, [0.1, 0.4], [0.1, 0.2]],
        ("rwm", 1, 1): [UNTRAINED, [0.1, 0.4], [0.2, 0.2]],
        ("rwm", 0, 2): [UNTRAINED, [0.2, 0.4], [0.2, 0.1]],
        ("rwm", 1, 2): [UNTRAINED, [0.2, 0.4], [0.2, 0.1]],
    }


def test_orders_are_paired_and_tasks_go_by_name(tmp_path):
    made = write_levels(tmp_path / "run", in_orders(), orders=[TASKS, TASKS[::-1]])
    found = compare(made)
    naive, rwm = found["naive"], found["rwm"]
    assert naive.runs == [[0, 1], [1, 1], [0, 2], [1, 2]]
    assert naive.values["final_average"] == pytest.approx([0.25, 0.3, 0.3, 0.25])
    assert naive.values["forgetting"] == pytest.approx(
        [0.2, 0.2, 0.3, 0.2]
    )  # of the task learned first
    assert naive.by_task["vocoder"]["mean"] == pytest.approx((0.2 + 0.3 + 0.5 + 0.4) / 4)
    assert naive.by_task["phone"]["mean"] == pytest.approx((0.3 + 0.3 + 0.1 + 0.1) / 4)
    assert [one["mean"] for one in naive.by_order] == pytest.approx([0.275, 0.275])
    assert [one["mean"] for one in rwm.by_order] == pytest.approx([0.175, 0.15])
    assert naive.shares == {"order": 0.0, "seed": 0.0, "rest": 1.0}
    differences = np.array([-0.1, -0.1, -0.15, -0.1])
    assert rwm.by_units["runs"]["p"] == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue)
    assert rwm.by_units["runs"] == rwm.against["final_average"]
    seeds = scipy.stats.ttest_1samp([-0.125, -0.1], 0)
    assert rwm.by_units["seeds"]["p"] == pytest.approx(seeds.pvalue)
    assert (rwm.by_units["orders"]["units"], rwm.by_units["orders"]["pairs"]) == (2, 4)
    assert compare(made, units="seeds")["rwm"].against["final_average"] == rwm.by_units["seeds"]
    page = render(found)
    assert "phone → vocoder" in page
    assert "What counts as one observation" in page
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    (cell,) = [
        row for row in rows
        if (row["label"], row["seed"], row["order"], row["after"], row["on"])
        == ("naive", "0", "2", "phone", "vocoder")
    ]  # fmt: skip
    assert float(cell["value"]) == 0.5


def test_one_order_has_no_table_of_orders(compared):
    assert compared["rwm"].by_units == {}
    assert compared["rwm"].shares is None
    assert "What counts as one observation" not in render(compared)


def test_accuracy_is_better_where_it_is_higher(tmp_path):
    levels = {("naive", s, 1): [[0.3, 0.3], [0.9, 0.3], [0.4, 0.8]] for s in range(3)}
    levels |= {("rwm", s, 1): [[0.3, 0.3], [0.9, 0.4], [0.7 + 0.1 * (s == 1), 0.8]] for s in range(3)}
    levels |= {("icarl", s, 1): [[0.3, 0.3], [0.9, 0.4], [0.9, 0.8 + 0.1 * (s == 2)]] for s in range(3)}
    made = write_levels(tmp_path / "run", levels, orders=[TASKS], metric="accuracy", trials=10)
    found = compare(made)
    assert (found.metric, found.lower_is_better) == ("accuracy", False)
    assert [one.label for one in found.methods] == ["icarl", "rwm", "naive"]
    assert found["rwm"].values["final_average"] == pytest.approx([0.75, 0.8, 0.75])
    assert found["naive"].values["forgetting"] == pytest.approx([0.5] * 3)
    assert "pooled" not in found["rwm"].values
    mark_of = found.marks["final_average"]
    assert mark_of.told.startswith("icarl has the highest final average accuracy")
    assert found.marks["forgetting"].group[0] == "icarl"
    assert found["icarl"].against["final_average"]["mean"] > 0
    page = render(found)
    assert "higher is better" in page
    assert "EER" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)


def test_eer_runs_can_be_compared_by_accuracy(tmp_path):
    made = write_run_folder(
        tmp_path / "run", tasks=["a", "b"], strategies=["naive"], seeds=[1], trials=9
    )
    found = compare(made, metric="accuracy")
    assert found["naive"].matrices == [accuracy_matrix(made.finished()[0]).tolist()]
    assert found.lower_is_better is False


def test_folders_side_by_side(tmp_path):
    orders = [TASKS, TASKS[::-1]]
    one = write_levels(
        tmp_path / "1", in_orders(), orders=orders, name="one", seconds={"naive": 2.0, "rwm": 4.0}
    )
    swapped = {("ewc", s, o): m for (label, s, o), m in in_orders().items() if label == "rwm"}
    # The other folder names the orders the other way round.
    other = write_levels(
        tmp_path / "2",
        {(label, s, 3 - o): m for (label, s, o), m in swapped.items()},
        orders=orders[::-1], name="other", seconds={"ewc": 1.0},
    )  # fmt: skip
    found = compare([one, other])
    assert {m.label for m in found.methods} == {"naive", "rwm", "ewc"}
    assert found["ewc"].by_order == found["rwm"].by_order
    assert found["ewc"].against == found["rwm"].against
    assert found["ewc"].against["final_average"]["pairs"] == 4
    assert (found["rwm"].times_naive["mean"], found["ewc"].times_naive) == (2.0, None)
    assert "No naive run of the same folder gives a time to compare with: ewc." in found.notes
    twice = write_levels(tmp_path / "3", in_orders(), orders=orders, name="third")
    labels = {m.label for m in compare([one, other, twice]).methods}
    assert labels == {"one/naive", "one/rwm", "third/naive", "third/rwm", "ewc"}
    assert compare([one, twice]).reference == "one/naive"


def test_unlike_folders_are_refused(tmp_path):
    def made(number, **changes):
        levels = {("naive", 0, 1): two_tasks(0.1, 0.1, 0.1)}
        return write_levels(tmp_path / str(number), levels, **{"orders": [TASKS], **changes})

    first = made(1)
    with pytest.raises(RunError, match="tasks: "):
        compare([first, made(2, orders=[("phone", "other")])])
    with pytest.raises(RunError, match="metric: accuracy"):
        compare([first, made(3, metric="accuracy")])
    with pytest.raises(RunError, match="names of their own"):
        compare([first, made(4)])
    with pytest.raises(RunError, match="at least one"):
        compare([])
    other = made(5, name="other")
    told = other.provenance
    told["manifests"]["phone"]["test"]["fingerprint"] = "0" * 64
    (other.path / "provenance.json").write_text(json.dumps(told))
    with pytest.raises(RunError, match="fingerprints of the judged clips"):
        compare([first, other])
    (first.path / "naive" / "seed-0" / "done.json").unlink()
    with pytest.raises(RunError, match="no finished run"):
        compare(first)


# --- formats --------------------------------------------------------------------------------


def test_json_gives_the_comparison_back(compared):
    assert Comparison.from_json(compared.to_json()) == compared
    assert json.loads(compared.to_json())["methods"][0]["label"] == "rwm"


def test_csv_has_a_line_for_every_number(compared):
    rows = list(csv.DictReader(io.StringIO(compared.to_csv())))
    cells = [row for row in rows if row["metric"] == "eer"]
    assert len(cells) == 9 * 6
    told = sum(v is not None for one in compared.methods for vs in one.values.values() for v in vs)
    assert len(rows) == len(cells) + told
    finals = {
        (row["label"], int(row["seed"])): float(row["value"])
        for row in rows
        if row["metric"] == "final_average"
    }
    assert finals["rwm", 2] == pytest.approx(0.1)
    assert rows[0].keys() == {"folder", "label", "seed", "order", "after", "on", "metric", "value"}


def test_everything_is_written_whole_and_the_same_twice(compared, tmp_path):
    names = ("final", "curves", "storage", "time", "trade-off")
    first, again = write(compared, tmp_path / "one"), write(compared, tmp_path / "two")
    assert {path.name for path in first} == {
        *("compare.html", "compare.json", "compare.csv"),
        *(f"compare-{name}.{kind}" for name in names for kind in ("png", "svg")),
    }
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not [path for path in (tmp_path / "one").iterdir() if path.name.startswith(".")]


def test_the_page_loads_nothing(compared):
    page = render(compared)
    assert set(ADDRESS.findall(page)) <= NAMESPACES
    assert not re.search(r"\bsrc\s*=|<link|<script|@import|url\((?!#)", page)
    targets = re.findall(r'href="([^"]*)"', page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(targets) > 8
    assert all(target.startswith("#") and target[1:] in ids for target in targets)
    repeated = {one for one in ids if ids.count(one) > 1}
    assert not [one for one in repeated if not re.fullmatch(r".+-[mhp][0-9a-f]{10}", one)]
    for measure in shown(compared, "summary"):
        assert compared.marks[measure].told in page


def test_names_are_escaped(tmp_path):
    levels = {("<b>x", 0, 1): two_tasks(0.1, 0.2, 0.1), ("naive", 0, 1): two_tasks(0.1, 0.3, 0.1)}
    made = write_levels(tmp_path / "run", levels, orders=[TASKS], name="<script>alert(1)<")
    page = render(compare(made))
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;x" in page


def test_the_least_there_can_be(tmp_path):
    made = write_levels(tmp_path / "run", {("naive", 7, 1): [[0.5], [0.1]]}, orders=[("only",)])
    found = compare(made)
    assert found.marks == {}
    assert found["naive"].means["final_average"] == {"mean": 0.1, "low": None, "high": None}
    assert "forgetting" not in found["naive"].means
    assert {path.suffix for path in write(found, tmp_path / "out")} == {
        *(".html", ".json", ".csv", ".png", ".svg"),
    }
    assert "None" not in (tmp_path / "out" / "compare.html").read_text()
    assert set(draw(found)) == {"final", "curves"}


def test_rows_for_the_terminal(compared):
    told = overview(compared)
    assert told.columns == [
        *("method", "runs", "final average EER", "forgetting", "minus naive", "p", "p, flips"),
        *("kB kept", "time"),
    ]
    rwm, naive, joint = told.rows
    assert rwm[0:2] == ["rwm", "3"]
    assert rwm[2].startswith("15.0 ± 12.4")
    assert rwm[4].startswith("−11.7 [−18.8, −4.5]")
    assert rwm[7:] == ["2.0", "1.5 ×"]
    assert naive[4:7] == ["", "", ""]
    assert (joint[0], joint[7]) == ("(joint)", "all data")
    assert all(len(row) == len(told.columns) for row in told.rows)


def test_the_script_fills_a_page(folder, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- comparison -->\nold\n<!-- /comparison -->\nAfter.\n")
    command = [
        sys.executable,
        str(ROOT / "scripts" / "comparison_tables.py"),
        str(folder.path),
        str(page),
    ]
    for _ in range(2):  # and again over what it wrote
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("Before.\n<!-- comparison -->\n")
        assert text.endswith("<!-- /comparison -->\nAfter.\n")
        assert "\nold\n" not in text
    assert "| rwm | 15.0 ± 12.4 " in text
    assert "| (joint) | 4.2 ± " in text
    for picture in re.findall(r"\]\((\S+\.png)\)", text):
        assert (tmp_path / picture).is_file()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_script_fills_a_part_of_a_page(folder, tmp_path):
    page, other = tmp_path / "page.md", "<!-- comparison -->\nbig\n<!-- /comparison -->\n"
    page.write_text(f"{other}<!-- comparison few -->\nold\n<!-- /comparison -->\n")
    script = str(ROOT / "scripts" / "comparison_tables.py")
    command = [sys.executable, script, str(folder.path), str(page), "--part"]
    subprocess.run([*command, "few"], check=True, capture_output=True, cwd=ROOT)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"{other}<!-- comparison few -->\n\nMean")
    assert "| rwm | 15.0 ± 12.4 " in text
    assert "\nold\n" not in text
    assert not (tmp_path / "page").exists()
    wrong = subprocess.run([*command, "none"], capture_output=True, cwd=ROOT, text=True)
    assert wrong.returncode == 2
    assert "has no <!-- comparison none -->" in wrong.stderr


# --- pictures -------------------------------------------------------------------------------


def drawn_boxes(panel):
    figure = panel.get_figure()
    figure.draw_without_rendering()
    return {text.get_text(): Text.get_window_extent(text) for text in panel.texts}


def test_names_of_thirty_points_hide_neither_each_other_nor_a_point():
    rng = np.random.default_rng(4)
    points = [
        Point(f"method_{n}", float(rng.choice([0, 4e4, 1.3e7])), 0.1 + 0.2 * rng.random())
        for n in range(30)
    ]
    figure = storage_front(points, ["method_3"], {"joint": 0.05}, what="EER", lower=True)
    (panel,) = figure.axes
    boxes = drawn_boxes(panel)
    names = [boxes[p.label] for p in points]
    frame = panel.get_window_extent()
    assert len(names) == 30
    assert not [1 for a, b in itertools.combinations(names, 2) if a.overlaps(b)]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 + 1 for box in names)
    middles = [
        panel.transData.transform((line.get_xdata()[0], line.get_ydata()[0]))
        for line in panel.lines
        if len(line.get_xdata()) == 1
    ]
    assert len(middles) == 30
    assert not [1 for x, y in middles for box in names if box.contains(x, y)]


def test_the_check_of_names_can_fail():
    panel = figures.summary_bars({"a": (0.1, None, None)}, {}).axes[0]
    for _ in range(2):
        panel.annotate("name", (0.1, 0))
        panel.annotate("other", (0.1, 0))
    first, second = list(drawn_boxes(panel).values())
    assert first.overlaps(second)
    name_points(panel, [Named(0.1, 0.0, "here"), Named(0.1, 0.0, "there")])
    boxes = drawn_boxes(panel)
    assert not boxes["here"].overlaps(boxes["there"])


def test_the_front_is_a_staircase_and_bounds_are_lines():
    points = [Point("naive", 0, 0.3), Point("ewc", 1e4, 0.2), Point("bad", 1e5, 0.4)]
    figure = storage_front(points, ["naive", "ewc"], {"joint": 0.1}, what="EER", lower=True)
    _, steps, bound = figure.axes[0].lines[:3]  # behind the line beside what keeps nothing
    assert list(steps.get_ydata()) == pytest.approx([30, 30, 20, 20])
    assert list(bound.get_ydata()) == pytest.approx([10, 10])
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [
        "nothing", "10 kB", "100 kB",
    ]  # fmt: skip


def test_methods_share_a_panel_or_have_one_each(tmp_path, compared):
    assert len(draw(compared)["curves"].axes) == 1
    levels = {(f"s{k}", s, 1): two_tasks(0.1, 0.05 * k, 0.1) for k in range(7) for s in range(2)}
    levels |= {(name, s, 1): two_tasks(0.1, 0.4, 0.1) for name in ("naive", "joint") for s in range(2)}
    many = draw(compare(write_levels(tmp_path / "run", levels, orders=[TASKS])))
    panels = many["curves"].axes
    assert {panel.get_title("left") for panel in panels} == {f"s{k}" for k in range(7)}
    assert len(many["final"].axes[0].get_yticks()) == 9


# --- without torch --------------------------------------------------------------------------


def test_comparing_needs_neither_torch_nor_pyplot(folder):
    code = (
        "import sys\n"
        "from earwitness.comparison import compare, render\nfrom earwitness.runs import RunFolder\n"
        f"render(compare(RunFolder({str(folder.path)!r})))\n"
        "print(sorted({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_reading_is_once_a_file(folder, monkeypatch):
    """Every score file once, and those of the last row again for the pooled value."""
    from earwitness import evaluation

    read, found = evaluation.read_scores, []

    def counting(path):
        found.append(path)
        return read(path)

    monkeypatch.setattr(evaluation, "read_scores", counting)
    compare(RunFolder(folder.path))
    assert len(set(found)) == 9 * 6
    assert len(found) == 9 * (6 + 2)
