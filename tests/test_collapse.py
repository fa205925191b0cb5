"""Collapse metrics against their formulas written out, in hard places, in any order and parts."""

import copy
import json
import math
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from earwitness.collapse import (
    CollapseAccumulator,
    Undefined,
    describe,
    nc1_by_projection,
    nc4_mismatch,
    nc5,
    relabel,
)
from earwitness.errors import CheckpointError, ProtocolError, SettingsError
from earwitness.trials import Manifest, Trial

EPS = 2.220446049250313e-16
SCALARS = (
    *("nc1", "nc1_quotient", "nc1_quotient_balanced", "cdnv"),
    *("nc2_equinorm", "nc2_equiangular", "nc2_max_angle", "nc2_etf_error"),
    *("within_variance", "within_variance_balanced", "between_variance"),
    *("nc2_equinorm_weight", "nc2_equiangular_weight", "nc2_max_angle_weight", "nc2_etf_error_weight"),
    *("weight_cosine", "nc3", "wg_plus_b"),
)

# The formulas once more, in two passes, with full matrices and loops; the package has no part in them.


def cosine(a, b):
    return a @ b / math.sqrt((a @ a) * (b @ b))


def of_pairs(rows):
    return [cosine(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]


def etf_distance(rows):
    k = len(rows)
    gram = rows @ rows.T
    ideal = np.eye(k) - np.ones((k, k)) / k
    return np.sqrt(((gram / np.sqrt((gram**2).sum()) - ideal / math.sqrt(k - 1)) ** 2).sum())


def nc2(rows):
    lengths = np.array([math.sqrt(row @ row) for row in rows])
    cosines = np.array(of_pairs(rows))
    return {
        "nc2_equinorm": math.sqrt(((lengths - lengths.mean()) ** 2).mean()) / lengths.mean(),
        "nc2_equiangular": math.sqrt(((cosines - cosines.mean()) ** 2).mean()),
        "nc2_max_angle": np.mean([abs(one + 1 / (len(rows) - 1)) for one in cosines]),
        "nc2_etf_error": etf_distance(rows),
    }


def by_hand(h, y, weight, bias):
    h, classes = np.asarray(h, dtype=np.float64), sorted(set(y.tolist()))
    k, dim, n = len(classes), h.shape[1], len(h)
    means = []
    for c in classes:
        first = h[y == c].mean(0)
        means.append(first + (h[y == c] - first).mean(0))
    means = np.array(means)
    g = means.mean(0)
    centred = means - g
    centred -= centred.mean(0)
    of_class = [(h[y == c] - means[c]).T @ (h[y == c] - means[c]) / (y == c).sum() for c in classes]
    within = sum((y == c).sum() * of_class[c] for c in classes) / n
    balanced = sum(of_class) / k
    between = centred.T @ centred / k
    inverse = np.linalg.pinv(between, rcond=max(k, dim) * EPS, hermitian=True)
    variances = [np.trace(one) for one in of_class]
    cdnv = [
        (variances[i] + variances[j]) / (2 * ((means[i] - means[j]) ** 2).sum())
        for i in range(k)
        for j in range(i + 1, k)
    ]
    apart = weight / np.sqrt((weight**2).sum()) - centred / np.sqrt((centred**2).sum())
    return {
        "nc1": np.trace(within @ inverse) / k,
        "nc1_balanced": np.trace(balanced @ inverse) / k,
        "nc1_quotient": np.trace(within) / np.trace(between),
        "nc1_quotient_balanced": np.trace(balanced) / np.trace(between),
        "cdnv": np.mean(cdnv),
        **nc2(centred),
        **{f"{name}_weight": value for name, value in nc2(weight).items()},
        "weight_cosine": np.mean(of_pairs(weight)),
        "nc3": (apart**2).sum(),
        "wg_plus_b": np.sqrt(((weight @ g + bias) ** 2).sum()),
        "class_variances": variances,
        "within_variance": np.trace(within),
        "within_variance_balanced": np.mean(variances),
        "between_variance": np.trace(between),
    }


def mismatch_by_hand(h, means, weight, bias):
    wrong = 0
    for one in np.asarray(h, dtype=np.float64):
        logits = [w @ one + b for w, b in zip(weight, bias, strict=True)]
        distances = [((one - mean) ** 2).sum() for mean in means]
        wrong += logits.index(max(logits)) != distances.index(min(distances))
    return wrong / len(h)


def toy(counts, dim, offset=0.0, spread=0.5, seed=0):
    """Embeddings on a grid of 2^-20, so that an offset that is a whole number is added exactly."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    means = rng.normal(size=(len(counts), dim))
    h = means[y] + spread * rng.normal(size=(len(y), dim)) @ rng.normal(size=(dim, dim))
    h = np.round(h * 2**20) / 2**20 + offset
    return h, y, rng.normal(size=(len(counts), dim)), rng.normal(size=len(counts))


def seen(h, y, classes, **settings):
    return CollapseAccumulator(classes, np.shape(h)[1], **settings).update(h, y)


def agree(found, expected, names, rel=1e-9):
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=rel, abs=1e-12), name


CASES = {
    "three classes": ((40, 50, 60), 5),
    "1:9": ((30, 270), 8),
    "1:9 of several": ((900, 20, 20, 20, 20, 20), 12),
    "singletons among them": ((1, 30, 1, 40), 6),
    "K - 1 > D": ((20, 30, 10, 40, 15, 1, 25, 30, 20), 3),
    "K - 1 = D": ((20, 30, 10, 40), 3),
    "one dimension": ((20, 30), 1),
    "one dimension, several classes": ((20, 30, 10), 1),
    "several blocks of the triangle": ((60, 90, 50), 600),
}


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6, -1e6])
@pytest.mark.parametrize("case", CASES)
def test_every_metric_is_its_formula(case, offset):
    counts, dim = CASES[case]
    h, y, weight, bias = toy(counts, dim, offset)
    acc = seen(h, y, len(counts))
    found, expected = acc.metrics(weight, bias), by_hand(h, y, weight, bias)
    if case == "one dimension, several classes":  # cosines are 1 and -1, so angles have a spread
        assert found["nc2_equiangular"] > 0.5
    agree(found, expected, SCALARS)
    assert found["class_variances"] == pytest.approx(expected["class_variances"], rel=1e-9, abs=1e-12)
    assert found["counts"] == counts
    assert found["dim"] == dim
    again = nc1_by_projection([(h[:7], y[:7]), (h[7:], y[7:])], acc)
    agree(again, expected, ("nc1", "nc1_balanced"))


def test_no_metric_is_left_out_of_that():
    found = seen(*toy((5, 5), 2)[:2], 2).metrics(np.eye(2), np.zeros(2))
    assert set(found) == {*SCALARS, "class_variances", "counts", "dim", "d_prime", "predicted_eer"}


@pytest.mark.parametrize("offset", [1e6, -(2.0**30)])
@pytest.mark.parametrize("case", CASES)
def test_an_offset_changes_nothing(case, offset):
    """The offset is added exactly, so the values without it are the true ones."""
    counts, dim = CASES[case]
    h, y, weight, _ = toy(counts, dim)
    found = seen(h + offset, y, len(counts)).metrics(weight)
    agree(
        found, seen(h, y, len(counts)).metrics(weight), [n for n in SCALARS if n != "wg_plus_b"], 1e-11
    )


def test_these_cases_are_hard():
    """Moments about 0, in float64, are wrong by more than what the tests above allow."""
    h, y, *head = toy((30, 270), 8, offset=1e6)
    naive = sum(
        (h[y == c] ** 2).sum() - (y == c).sum() * (h[y == c].mean(0) ** 2).sum() for c in (0, 1)
    )
    assert abs(naive / 300 / by_hand(h, y, *head)["within_variance"] - 1) > 1e-7


def test_all_singletons_and_classes_at_a_point():
    h, y, weight, bias = toy((1, 1, 1, 1), 5)
    agree(seen(h, y, 4).metrics(weight, bias), by_hand(h, y, weight, bias), SCALARS)
    repeated = np.repeat(h, 7, axis=0), np.repeat(y, 7)
    found = seen(*repeated, 4).metrics()
    assert found["nc1"] == found["cdnv"] == found["nc1_quotient"] == 0
    assert found["class_variances"] == (0, 0, 0, 0)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_directions_that_are_rounding_are_left_out(offset):
    """Three means on a line: a second direction would be noise, and divide by about 0."""
    rng = np.random.default_rng(1)
    line, y = rng.normal(size=40), np.repeat([0, 1, 2], 50)
    noise = rng.normal(size=(150, 40))
    h = np.array([-1.0, 0.3, 1.1])[y, None] * line + 0.1 * noise + offset
    for c in range(3):
        h[y == c] += np.array([-1.0, 0.3, 1.1])[c] * line + offset - h[y == c].mean(0)
    acc = seen(h, y, 3)
    along = line / np.linalg.norm(line)
    centred = (acc.means - acc.means.mean(0)) @ along
    within = np.mean([((h[y == c] - h[y == c].mean(0)) @ along) ** 2 for c in range(3)])
    expected = within / (centred**2).sum()  # (1/K) q^T Sigma_W q / lambda
    assert acc.metrics()["nc1"] == pytest.approx(expected, rel=1e-8 if offset else 1e-11)


def test_a_simplex_etf_is_at_zero():
    classes, rng = 7, np.random.default_rng(2)
    turned = np.linalg.qr(rng.normal(size=(12, classes)))[0]
    frame = 3 * (np.eye(classes) - 1 / classes) @ turned.T
    acc = seen(frame + 5, np.arange(classes), classes)
    found = acc.metrics(2 * frame, -2 * frame @ np.full(12, 5.0))
    zero = [n for n in SCALARS if n not in ("weight_cosine", "between_variance")]
    assert {name: found[name] for name in zero} == pytest.approx(dict.fromkeys(zero, 0.0), abs=1e-12)
    assert found["weight_cosine"] == pytest.approx(-1 / 6)
    assert acc.metrics(-frame)["nc3"] == pytest.approx(4)
    assert acc.metrics(frame[::-1])["nc3"] > 1


def test_the_global_mean_does_not_weigh_clips():
    """1:9: the values that a weighted global mean gives are others."""
    h, y, *_ = toy((30, 270), 8, seed=3)
    found = seen(h, y, 2).metrics()
    means = np.array([h[y == c].mean(0) for c in (0, 1)])
    weighted = h.mean(0)
    other = np.mean([((mean - weighted) ** 2).sum() for mean in means])
    assert found["between_variance"] == pytest.approx(((means[0] - means[1]) ** 2).sum() / 4)
    assert abs(other / found["between_variance"] - 1) > 0.3


# Two classes.


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_of_two_classes_nc1_is_separability(offset):
    h, y, *_ = toy((60, 540), 6, offset, seed=4)
    found = seen(h, y, 2).metrics()
    means = [h[y == c].mean(0) for c in (0, 1)]
    line = (means[1] - means[0]) / np.linalg.norm(means[1] - means[0])
    left = np.concatenate([(h[y == c] - means[c]) @ line for c in (0, 1)])
    d_prime = np.linalg.norm(means[1] - means[0]) / left.std()
    assert found["d_prime"] == pytest.approx(d_prime, rel=1e-9)
    assert found["nc1"] == pytest.approx(2 / d_prime**2, rel=1e-9)
    assert found["predicted_eer"] == pytest.approx(norm.cdf(-1 / math.sqrt(2 * found["nc1"])))
    nc2_of_means = [found[n] for n in SCALARS if n.startswith("nc2") and not n.endswith("weight")]
    assert len(nc2_of_means) == 4
    assert nc2_of_means == pytest.approx([0] * 4, abs=1e-12)


def test_the_predicted_eer_is_that_of_gaussians():
    rng, y = np.random.default_rng(5), np.repeat([0, 1], 100_000)
    h = rng.normal(size=(len(y), 2)) * [1.0, 3.0] + y[:, None] * [1.5, 1.0]
    acc = seen(h, y, 2)
    nearer_to_1 = ((h - acc.means[0]) ** 2).sum(1) > ((h - acc.means[1]) ** 2).sum(1)
    errors = [nearer_to_1[y == 0].mean(), 1 - nearer_to_1[y == 1].mean()]
    assert acc.metrics()["predicted_eer"] == pytest.approx(np.mean(errors), abs=0.004)


def test_collapsed_classes_have_no_d_prime():
    found = seen([[0.0], [1.0]], [0, 1], 2).metrics()
    assert found["nc1"] == found["predicted_eer"] == 0
    assert "no variance" in found["d_prime"].why


# In parts, in any order, on several processes.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e6, -3e5]), st.data())
def test_order_and_parts_and_merging_change_nothing(seed, offset, data):
    rng = np.random.default_rng(seed)
    classes = data.draw(st.integers(2, 5))
    dim = data.draw(st.integers(1, 6))
    counts = rng.integers(1, 30, classes)
    h, y, weight, _ = toy(counts, dim, offset, seed=seed)
    whole = seen(h, y, classes).metrics(weight)
    order = rng.permutation(len(h))
    cuts = np.sort(rng.integers(0, len(h) + 1, data.draw(st.integers(0, 12))))
    parts = [CollapseAccumulator(classes, dim) for _ in range(data.draw(st.integers(1, 4)))]
    for some in np.split(order, cuts):
        parts[rng.integers(len(parts))].update(h[some], y[some])
    while len(parts) > 1:  # in a random tree
        one, other = (parts.pop(rng.integers(len(parts))) for _ in range(2))
        parts.append(one.merge(other))
    found = parts[0].metrics(weight)
    assert found["counts"] == tuple(counts)
    defined = [name for name in SCALARS if isinstance(whole[name], float)]
    assert len(defined) >= 13
    for name in SCALARS:
        if name in defined:
            assert found[name] == pytest.approx(whole[name], rel=1e-12, abs=1e-14), name
        else:
            assert found[name] == whole[name]


def test_one_at_a_time_is_all_at_once():
    h, y, weight, bias = toy((9, 30, 1), 4, 1e6, seed=6)
    acc = CollapseAccumulator(3, 4)
    for one, of in zip(h, y, strict=True):
        acc.update(one[None], [of])
    agree(acc.metrics(weight, bias), seen(h, y, 3).metrics(weight, bias), SCALARS, rel=1e-12)


def test_more_rows_than_are_read_at_a_time():
    h, y, weight, bias = toy((4000, 6000), 2, seed=7)
    agree(seen(h, y, 2).metrics(weight, bias), by_hand(h, y, weight, bias), SCALARS)


def test_merging_leaves_the_other_and_takes_itself_and_nothing():
    h, y, *_ = toy((9, 30), 4, 1e6, seed=8)
    one, other = seen(h[:20], y[:20], 2), seen(h[20:], y[20:], 2)
    before = other.metrics()
    one.merge(other).merge(CollapseAccumulator(2, 4))
    assert other.metrics() == before
    agree(one.metrics(), seen(h, y, 2).metrics(), ("nc1", "cdnv", "within_variance"), rel=1e-12)
    one.merge(one)
    assert one.counts.tolist() == [18, 60]
    agree(one.metrics(), seen(h, y, 2).metrics(), ("nc1", "cdnv", "within_variance"), rel=1e-12)


@pytest.mark.parametrize(("classes", "dim", "scatter"), [(3, 4, True), (2, 5, True), (2, 4, False)])
def test_merging_what_is_of_another_kind_is_refused(classes, dim, scatter):
    acc, other = CollapseAccumulator(2, 4), CollapseAccumulator(classes, dim, scatter=scatter)
    with pytest.raises(
        SettingsError, match=r"of 2 class\(es\), 4 dimension\(s\), with scatter, the other"
    ):
        acc.merge(other)
    with pytest.raises(SettingsError, match="the other of 'text'"):
        acc.merge("text")


@pytest.mark.parametrize("scatter", [True, False])
def test_the_state_goes_through_a_file(tmp_path, scatter):
    h, y, weight, bias = toy((9, 30, 4), 300, 1e6, seed=9)
    acc = seen(h[:20], y[:20], 3, scatter=scatter)
    np.savez(tmp_path / "state.npz", **acc.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        again = CollapseAccumulator.from_state(state)
    assert again.metrics(weight, bias) == acc.metrics(weight, bias)
    again.update(h[20:], y[20:])  # and it goes on, apart from what it was made of
    assert acc.counts.sum() == 20
    agree(
        again.metrics(weight), seen(h, y, 3).metrics(weight), ("cdnv", "nc3", "nc1_quotient"), rel=1e-12
    )


def test_a_state_stays_what_it_was():
    h, y, *_ = toy((9, 30), 4)
    acc = seen(h[:20], y[:20], 2)
    before, state = acc.metrics(), acc.state()
    acc.update(h[20:], y[20:])
    assert CollapseAccumulator.from_state(state).metrics() == before != acc.metrics()
    counts = acc.counts
    counts[:] = 0
    assert acc.counts.sum() == 39


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", None, "no array 'mean'"),
        ("version", np.array(2), "version 2, expected 1"),
        ("mean", np.zeros(3), "mean has the shape"),
        ("lost", np.zeros((2, 4)), "lost is float64 of the shape"),
        ("counts", np.array([1.0, 2.0]), "counts is float64"),
        ("counts", np.array([1, -2]), "counts holds numbers that can't be"),
        ("scatter", np.full(9, np.nan), "scatter holds numbers that can't be"),
    ],
)
def test_a_state_that_is_none_is_refused(name, value, message):
    state = seen(*toy((3, 3), 3)[:2], 2).state()
    state = {n: value if n == name else v for n, v in state.items() if n != name or value is not None}
    with pytest.raises(CheckpointError, match=message):
        CollapseAccumulator.from_state(state)


# What has no value.


def undefined(metrics, *names):
    """Those that are undefined, with the reason; nothing is inf or NaN."""
    values = [v for v in metrics.values() if not isinstance(v, tuple)]
    assert all(isinstance(v, Undefined) or math.isfinite(v) for v in values)
    assert all(isinstance(metrics[name], Undefined) for name in names), metrics
    return {metrics[name].why for name in names}


BETWEEN = ("nc1", "nc1_quotient", "nc1_quotient_balanced", "cdnv", "between_variance", "nc3", "d_prime")
NC2 = ("nc2_equinorm", "nc2_equiangular", "nc2_max_angle", "nc2_etf_error")


def test_without_clips():
    found = CollapseAccumulator(2, 3).metrics(np.ones((2, 3)))
    whys = undefined(found, *BETWEEN, *NC2, "within_variance", "within_variance_balanced", "wg_plus_b")
    assert whys == {"there are no clips yet"}
    assert [str(v) for v in found["class_variances"]] == ["undefined: the class has no clip"] * 2


def test_with_one_class():
    found = seen([[1.0, 2.0], [3.0, 5.0]], [0, 0], 1).metrics([[1.0, 1.0]], [0.5])
    assert undefined(found, *BETWEEN[:-1], *NC2) == {"there is one class, and nothing between classes"}
    assert undefined(found, "nc2_equinorm_weight", "weight_cosine") == {
        "there is one class, and no pair of them"
    }
    assert found["wg_plus_b"] == 6.0
    assert found["within_variance"] == 3.25


def test_with_an_empty_class():
    found = seen([[1.0, 2.0], [3.0, 5.0]], [0, 2], 4).metrics(np.eye(4, 2))
    whys = undefined(found, *BETWEEN[:-1], *NC2, "within_variance_balanced", "wg_plus_b")
    assert whys == {"class(es) 1, 3 have no clip, so no mean"}
    assert found["class_variances"][0] == found["within_variance"] == 0
    assert isinstance(found["class_variances"][1], Undefined)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6, 1e6 + 0.1])
def test_with_means_that_coincide(offset):
    """Also where rounding leaves a difference: its inverse would look like a number."""
    rng = np.random.default_rng(10)
    one = rng.normal(size=(500, 3))
    h = np.concatenate([one, one[::-1], 2 * one - one.mean(0)]) + offset
    y = np.repeat([0, 1, 2], 500)
    found = seen(h, y, 3).metrics(np.eye(3))
    assert undefined(found, *BETWEEN[:-1], *NC2) == {"the means of all classes coincide"}
    again = nc1_by_projection([(h, y)], seen(h, y, 3))
    assert undefined(again, "nc1", "nc1_balanced") == {"the means of all classes coincide"}


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_with_two_of_several_means_that_coincide(offset):
    rng = np.random.default_rng(11)
    one = rng.normal(size=(500, 3))
    h = np.concatenate([one, one + 1, one[::-1]]) + offset
    found = seen(h, np.repeat([0, 1, 2], 500), 3).metrics()
    assert undefined(found, "cdnv") == {"the means of classes 0 and 2 coincide"}
    assert found["nc1"] > 0


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6])
def test_with_a_mean_on_the_global_mean(offset):
    h = np.array([[-1.0, -0.3], [0, 0], [1, 0.3]]) + offset
    found = seen(h, [0, 1, 2], 3).metrics()
    whys = undefined(found, "nc2_equiangular", "nc2_max_angle")
    assert whys == {"the mean of class 1 is the global mean, so it has no angle"}
    assert found["nc2_equinorm"] == pytest.approx(math.sqrt(0.5))


def test_with_a_weight_of_zeros():
    h, y, *_ = toy((5, 6), 3)
    acc = seen(h, y, 2)
    weights = ("nc2_equinorm_weight", "nc2_etf_error_weight", "weight_cosine", "nc3")
    assert undefined(acc.metrics(np.zeros((2, 3))), *weights) == {"all rows of the weight are 0"}
    found = acc.metrics([[0, 0, 0], [1, 0, 0]])
    assert undefined(found, "weight_cosine") == {"row 0 of the weight is 0, so it has no angle"}
    assert found["nc2_equinorm_weight"] == 1


def test_without_scatter_all_but_nc1():
    h, y, weight, bias = toy((5, 60), 3, 1e6)
    acc = seen(h, y, 2, scatter=False)
    found, whole = acc.metrics(weight, bias), seen(h, y, 2).metrics(weight, bias)
    assert "nc1_by_projection" in undefined(found, "nc1", "d_prime").pop()
    assert {n: v for n, v in found.items() if n in SCALARS and n != "nc1"} == {
        n: v for n, v in whole.items() if n in SCALARS and n != "nc1"
    }
    assert sum(v.nbytes for v in acc.state().values()) < 200


def test_the_largest_and_the_smallest_numbers():
    h = np.array([[1.0], [3.0], [-1.0], [2.0]])
    for scale in (1e99, 1e-99):
        agree(
            seen(scale * h, [0, 0, 1, 1], 2).metrics(),
            seen(h, [0, 0, 1, 1], 2).metrics(),
            ("nc1", "cdnv"),
        )
    with pytest.raises(ProtocolError, match="1 of 4 rows.*beyond 1e100, first row 1"):
        seen(4e99 * h, [0, 0, 1, 1], 2)
    assert undefined(seen(1e-200 * h, [0, 0, 1, 1], 2).metrics(), "nc1", "cdnv")


def test_undefined_is_no_number():
    found = Undefined("why not")
    assert str(found) == f"{found}" == "undefined: why not"
    for attempt in (float, math.sqrt, np.isnan, lambda v: v + 1, lambda v: v * 2, lambda v: 2 * v,
                    lambda v: v < 1, lambda v: max(v, 1.0), lambda v: f"{v:.3f}", lambda v: sum([v]),
                    lambda v: np.array([v], dtype=float)):  # fmt: skip
        with pytest.raises((TypeError, ValueError)):
            attempt(found)
    for again in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert again == found
        assert again.why == "why not"
    assert json.loads(json.dumps({"nc1": found})) == {"nc1": "undefined: why not"}


# What comes in.


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
def test_torch_tensors(kind):
    h, y, weight, bias = (torch.from_numpy(np.asarray(one)) for one in toy((9, 30), 4, seed=12))
    h = h.to(getattr(torch, kind)).requires_grad_()
    head = torch.nn.Linear(4, 2).double()
    with torch.no_grad():
        head.weight.copy_(weight), head.bias.copy_(bias)
    found = CollapseAccumulator(2, 4).update(h, y).metrics(head.weight, head.bias)
    plain = h.detach().double().numpy()
    assert found == seen(plain, y.numpy(), 2).metrics(weight.numpy(), bias.numpy())
    agree(found, by_hand(plain, y.numpy(), weight.numpy(), bias.numpy()), SCALARS)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int16, np.uint8])
def test_arrays_of_other_numbers(kind):
    h, y, weight, bias = toy((9, 30), 4, seed=13)
    h = np.abs(10 * h).astype(kind)
    agree(seen(h, y.astype(np.uint8), 2).metrics(weight, bias), by_hand(h, y, weight, bias), SCALARS)
    assert seen(h.tolist(), y.tolist(), 2).metrics() == seen(h, y, 2).metrics()


def test_what_came_in_is_not_changed(tmp_path):
    h, y, *_ = toy((9, 30), 4)
    kept = np.memmap(tmp_path / "h", dtype=np.float64, mode="w+", shape=h.shape)
    kept[:] = h
    kept.flush()
    read_only = np.memmap(tmp_path / "h", dtype=np.float64, mode="r", shape=h.shape)
    assert seen(read_only, y, 2).metrics() == seen(h, y, 2).metrics()
    np.testing.assert_array_equal(h, toy((9, 30), 4)[0])


def test_no_clips_in_a_part():
    acc = seen(*toy((9, 30), 4)[:2], 2)
    before = acc.metrics()
    assert acc.update(np.zeros((0, 4)), []).metrics() == before


GOOD_H, GOOD_Y = [[1.0, 2.0], [3.0, 4.0]], [0, 1]


@pytest.mark.parametrize(
    ("h", "y", "message"),
    [
        ([1.0, 2.0], [0], r"h has the shape \(2,\); expected \(clips, 2\)"),
        ([[1.0], [2.0]], GOOD_Y, r"h has the shape \(2, 1\)"),
        (torch.zeros(2, 3, 2), GOOD_Y, r"h has the shape \(2, 3, 2\).*frames are to be pooled"),
        ([[1.0, 2.0], [3.0]], GOOD_Y, "h: not an array of numbers"),
        ([["a", "b"], ["c", "d"]], GOOD_Y, "h: found the type <U1; expected real numbers"),
        (np.array(GOOD_H) * 1j, GOOD_Y, "h: found the type complex128"),
        ([[1.0, 2.0], [3.0, np.nan]], GOOD_Y, r"1 of 2 rows.*first row 1, column 1 \(nan\)"),
        (torch.tensor([[1.0, -np.inf], [3.0, 4.0]]), GOOD_Y, r"first row 0, column 1 \(-inf\)"),
        (GOOD_H, [0], r"y has the shape \(1,\); expected \(2,\)"),
        (GOOD_H, [[0], [1]], r"y has the shape \(2, 1\)"),
        (GOOD_H, [0.0, 1.0], "y: found the type float64; expected whole numbers from 0 to 1"),
        (GOOD_H, [True, False], "y: found the type bool"),
        (GOOD_H, ["bonafide", "spoof"], "y: found the type <U8.*relabel"),
        (GOOD_H, [0, 2], "1 of 2 classes are out of range, first 2 in row 1; expected 0 to 1"),
        (GOOD_H, torch.tensor([-1, 5]), "2 of 2 classes are out of range, first -1 in row 0"),
    ],
)
def test_what_is_wrong_is_refused_and_leaves_nothing(h, y, message):
    acc = CollapseAccumulator(2, 2).update(GOOD_H, GOOD_Y)
    before = acc.state()
    with pytest.raises(ProtocolError, match=message):
        acc.update(h, y)
    after = acc.state()
    assert all((before[name] == after[name]).all() for name in before)


def test_nan_far_down_leaves_nothing_either():
    h, y, *_ = toy((5000, 5000), 2)
    h[9000] = np.nan
    acc = CollapseAccumulator(2, 2)
    with pytest.raises(ProtocolError, match="first row 9000, column 0"):
        acc.update(h, y)
    assert acc.counts.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (np.zeros((1, 2)), None, r"weight has the shape \(1, 2\); expected \(2, 2\): one row"),
        (np.full((2, 2), np.nan), None, r"weight: 4 number\(s\) are NaN"),
        (np.eye(2), np.zeros(3), r"bias has the shape \(3,\); expected \(2,\)"),
        (np.eye(2), [0, np.inf], r"bias: 1 number\(s\) are NaN, infinite or beyond 1e100"),
        (None, np.zeros(2), "a bias was given without a weight"),
    ],
)  # fmt: skip
def test_a_wrong_head_is_refused(weight, bias, message):
    acc = seen(GOOD_H, GOOD_Y, 2)
    with pytest.raises(ProtocolError, match=message):
        acc.metrics(weight, bias)


@pytest.mark.parametrize(("classes", "dim"), [(0, 2), (2, 0), (2.0, 2), (True, 2), ("2", 2)])
def test_sizes_that_can_not_be_are_refused(classes, dim):
    with pytest.raises(SettingsError, match="expected 1 or more"):
        CollapseAccumulator(classes, dim)


def test_means_of_an_empty_class_are_refused():
    with pytest.raises(ProtocolError, match=r"class\(es\) 2 have no clip"):
        _ = seen(GOOD_H, GOOD_Y, 3).means
    np.testing.assert_array_equal(seen(GOOD_H, GOOD_Y, 2).means, GOOD_H)


# NC4, the second pass, NC5.


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize(("counts", "dim"), [((30, 270), 8), ((40, 50, 60, 1), 3), ((2000, 4000), 2)])
def test_nc4_on_training_and_held_out_clips(counts, dim, offset):
    h, y, _, bias = toy(counts, dim, offset, spread=1.0, seed=14)
    held_out = toy(counts, dim, offset, spread=1.0, seed=15)[0][:500]
    means = seen(h, y, len(counts)).means
    weight = means - means.mean(0) + np.random.default_rng(0).normal(size=means.shape) / 3
    bias = bias - weight @ means.mean(0)
    for clips in (h[:500], held_out):
        expected = mismatch_by_hand(clips, means, weight, bias)
        assert 0 < expected < 1
        assert nc4_mismatch(clips, means, weight, bias) == expected
    assert nc4_mismatch(torch.from_numpy(held_out), torch.from_numpy(means), weight, bias) == expected


def test_nc4_counts_the_bias_and_the_first_of_equals():
    h, means, weight = [[-0.5], [0.5]], [[-1.0], [1.0]], [[-1.0], [1.0]]
    assert nc4_mismatch(h, means, weight) == nc4_mismatch(h, means, weight, [0, 0]) == 0
    assert nc4_mismatch(h, means, weight, [0.0, 2.0]) == 0.5
    assert nc4_mismatch([[0.0]], means, weight) == 0  # two ties
    assert nc4_mismatch([[0.0]], means, weight, [0.0, 1e-9]) == 1


def test_nc4_through_many_parts():
    h, y, weight, bias = toy((5000, 5000), 2, spread=1.0, seed=16)
    means = seen(h, y, 2).means
    logits = h @ weight.T + bias
    distances = np.stack([((h - mean) ** 2).sum(1) for mean in means], axis=1)
    expected = (logits.argmax(1) != distances.argmin(1)).mean()
    assert nc4_mismatch(h, means, weight, bias) == pytest.approx(expected, abs=1e-15)


def test_nc4_without_value_and_with_errors():
    means = np.eye(2)
    assert nc4_mismatch(np.zeros((0, 2)), means, means) == "undefined: there are no clips"
    assert "one class" in nc4_mismatch([[1.0]], [[1.0]], [[1.0]])
    for args, message in (
        ((GOOD_H, [1.0, 2.0], means), r"means has the shape \(2,\)"),
        ((GOOD_H, [[1.0, np.nan], [0, 0]], means), r"means: 1 number\(s\) are NaN"),
        ((GOOD_H, means, np.eye(3)), "weight has the shape"),
        ((GOOD_H, means, means, [0.0]), "bias has the shape"),
        ((GOOD_H, means, None), "no weight"),
        (([[1.0]], means, means), "h has the shape"),
        (([[1.0, np.nan]], means, means), "first row 0, column 1"),
    ):
        with pytest.raises(ProtocolError, match=message):
            nc4_mismatch(*args)


def test_a_second_pass_over_other_clips_is_refused():
    h, y, *_ = toy((30, 40), 4, 1e6)
    acc = seen(h, y, 2)
    with pytest.raises(ProtocolError, match=r"\[30, 39\] clips by class|\[29, 40\] clips by class"):
        nc1_by_projection([(h[1:], y[1:])], acc)
    with pytest.raises(ProtocolError, match="another scatter about its mean"):
        nc1_by_projection([(h + 0.1, y)], acc)
    with pytest.raises(ProtocolError, match="first row 0"):
        nc1_by_projection([(h * np.nan, y)], acc)


def test_a_second_pass_takes_what_the_first_took():
    h, y, *_ = toy((5000, 3000), 3, seed=17)
    found = nc1_by_projection([(torch.from_numpy(h), y)], seen(h, y, 2, scatter=False))
    assert found["nc1"] == pytest.approx(seen(h, y, 2).metrics()["nc1"], rel=1e-12)
    h[y == 0] *= 2
    found = nc1_by_projection([(h, y)], seen(h, y, 2))
    assert found["nc1_balanced"] < 0.97 * found["nc1"]  # class 0 is wider, and has more clips


def test_nc5():
    rng = np.random.default_rng(18)
    means, outside = rng.normal(size=(5, 3)), rng.normal(size=3)
    assert nc5(means, torch.from_numpy(outside)) == pytest.approx(
        np.mean([abs(cosine(mean, outside)) for mean in means]), rel=1e-12
    )
    assert nc5(np.eye(3), np.zeros(3)) == "undefined: a mean is 0, so it has no direction"
    with pytest.raises(ProtocolError, match=r"outside has the shape \(2,\); expected \(3,\)"):
        nc5(means, [1.0, 2.0])


# Classes of a manifest.


def manifest(*rows):
    return Manifest("toy", [Trial(f"t{n}", "x.wav", *row) for n, row in enumerate(rows)])


def test_bonafide_and_one_class_a_generator():
    train = manifest(("spoof", "A03"), ("bonafide", "-"), ("spoof", "A01"), ("spoof", "A03"))
    names, codes = relabel(train)
    assert names == ("bonafide", "A01", "A03")
    assert codes.tolist() == [2, 0, 1, 2]
    assert codes.dtype == np.int64
    test = manifest(("spoof", "A03"), ("spoof", "A03"))
    assert relabel(test, names).codes.tolist() == [2, 2]
    assert relabel(test).codes.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rows", "names", "error", "message"),
    [
        ([("unknown", "-")], None, ProtocolError, r"1 of 1 trial\(s\) of unknown label, first 't0'"),
        ([("bonafide", "-"), ("spoof", "-")], None, ProtocolError, "spoofs without an attack.*'t1'"),
        ([("spoof", "bonafide")], None, ProtocolError, "by the attack bonafide"),
        (
            [("spoof", "A19")],
            ["bonafide", "A18"],
            ProtocolError,
            r"names \('A19'; did you mean 'A18'\)",
        ),
        ([("spoof", "A1")], ["A1", "bonafide"], SettingsError, "expected bonafide first"),
        ([("spoof", "A1")], ["bonafide", "A1", "A1"], SettingsError, "each generator once"),
    ],
)
def test_what_has_no_class_is_refused(rows, names, error, message):
    with pytest.raises(error, match=message):
        relabel(manifest(*rows), names)


def test_manifests_of_other_classes_are_refused():
    with pytest.raises(ProtocolError, match="is of cat, dog"):
        relabel(Manifest("toy", [Trial("a", "a.png", "cat")], classes=("cat", "dog")))


# Words.


def test_two_classes_in_words():
    h, y, weight, bias = toy((30, 270), 8)
    acc = seen(h, y, 2)
    found = acc.metrics(weight, bias) | {
        "nc4_train": 0.02,
        "nc4_held_out": Undefined("there are no clips"),
    }
    told = describe(found, ["bonafide", "spoof"])
    assert told.startswith("2 classes, 300 clips in 8 dimension(s): bonafide 30, spoof 270\n")
    assert "NC1: of two classes it is 2/d'^2" in told
    assert "no evidence beyond that" in told
    assert "NC2: not informative with two classes" in told
    assert "NC2 of means" not in told  # no row of zeros to be read as evidence
    assert "NC2 of the weight, angles" not in told  # of a single pair
    assert "cosine of the weight's rows" in told
    assert "spoof has 90 % of the clips" in told
    assert f"{found['nc1']:.4g}" in told
    assert f"{100 * found['predicted_eer']:.3g} % by the nearest mean" in told
    assert "undefined: there are no clips" in told
    assert "remarkable only as far as this is rare" in told
    assert "no second opinion" in told
    assert describe(json.loads(json.dumps(found)), ["bonafide", "spoof"]) == told


def test_several_classes_in_words():
    h, y, *_ = toy((20, 30, 10, 40, 1), 3)
    told = describe(seen(h, y, 5).metrics())
    assert "NC2 of means, angles" in told
    assert "d', " not in told
    assert "NC2 of the weight" not in told  # none was given, which needs no seven lines
    assert "simplex ETF of 5 classes needs 4 dimensions and there are 3" in told
    assert "0 says nothing there: class 4" in told
    assert "not informative" not in told
    assert "Imbalance: class 3 has 40 %" in told
    assert "Imbalance" not in describe(seen(*toy((20, 30, 25), 3)[:2], 3).metrics())


def test_what_is_undefined_is_said_so():
    told = describe(CollapseAccumulator(2, 3).metrics())
    assert told.count("undefined: there are no clips yet") > 5
    assert "Gaussians of equal variance that far" not in told
    assert "Imbalance" not in told
    assert "undefined: there is one class" in describe(seen([[1.0]], [0], 1).metrics())


def test_words_for_unknown_metrics_are_refused():
    found = seen(GOOD_H, GOOD_Y, 2).metrics()
    with pytest.raises(SettingsError, match="no metric 'nc4_trian'; did you mean 'nc4_train'"):
        describe({**found, "nc4_trian": 0.1})
    with pytest.raises(SettingsError, match="1 names for 2 classes"):
        describe(found, ["bonafide"])
    with pytest.raises(SettingsError, match="no counts"):
        describe({"nc1": 1.0})


# What it takes.


def test_it_needs_no_torch():
    code = "import sys, earwitness.collapse; assert not {'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_memory_beside_the_embeddings():
    """D = 4096 under 200 MB: an update, a merge of two, a state, metrics; more clips take no more."""
    rng = np.random.default_rng(0)
    h, y, weight = rng.normal(size=(600, 4096)), rng.integers(0, 7, 600), rng.normal(size=(7, 4096))
    tracemalloc.start()
    try:
        acc = CollapseAccumulator(7, 4096).update(h, y)
        acc.merge(CollapseAccumulator(7, 4096).update(h, y))
        acc.state()
        found = acc.metrics(weight)
        nc4_mismatch(h, acc.means, weight)
        nc1_by_projection([(h, y), (h, y)], acc)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found["nc1"], float)
    assert 140e6 < peak < 200e6
