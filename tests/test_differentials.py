"""Differential detectors against their formulas, their folders, the pairs they see, and their verbs."""

import hashlib
import json
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from earwitness.corpora import vectors
from earwitness.differentials import DIFFERENTIALS, Differential, base
from earwitness.differentials.pairs import pair, read_all, read_split
from earwitness.errors import CheckpointError, MissingExtra, ProtocolError, RunError, SettingsError
from earwitness.scores import Scores
from earwitness.trials import Manifest, Trial

METHODS = {
    "lda_gaussian": {},
    "gmm": {"n_components": 2, "dimensions": 3},
    "svm": {},
}
COVARIANCES = ("full", "tied", "diag", "spherical")
KERNELS = ("linear", "poly", "rbf", "sigmoid")


def toy(bonafide: int = 30, spoof: int = 50, width: int = 5, apart: float = 1.0, seed: int = 0):
    """Differences (trials, width) of two classes that overlap, on axes of very different scale."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width))
    of_bonafide = rng.normal(size=(bonafide, width)) @ mixing
    of_spoof = 1.5 * rng.normal(size=(spoof, width)) @ mixing + apart
    rows = np.concatenate([of_bonafide, of_spoof]) * 10.0 ** np.arange(-1, width - 1) + 3
    return rows, ["bonafide"] * bonafide + ["spoof"] * spoof


def fitted(name: str, rows, labels, **settings) -> Differential:
    return DIFFERENTIALS.build(name, **{**METHODS[name], **settings}).fit(rows, labels)


def standardised(rows, labels):
    """Training differences of both classes, and a map for others: either class weighs the same."""
    of = np.array(labels)
    share = np.where(of == "bonafide", 0.5 / (of == "bonafide").sum(), 0.5 / (of == "spoof").sum())
    mean = share @ rows
    deviation = np.sqrt(share @ (rows - mean) ** 2)
    z = (rows - mean) / deviation
    return z[of == "bonafide"], z[of == "spoof"], lambda others: (others - mean) / deviation


def shrunk_by_ledoit_wolf(z):
    """Their 2004 paper, lemma 3.2 to 3.4, of variables with variance 1; d^2, b^2 by explicit sums."""
    deviation = z.std(0)
    x = (z - z.mean(0)) / deviation
    n, p = x.shape
    sample = sum(np.outer(row, row) for row in x) / n
    mu = np.trace(sample) / p
    d2 = ((sample - mu * np.eye(p)) ** 2).sum()
    b2 = sum(((np.outer(row, row) - sample) ** 2).sum() for row in x) / n**2
    share = min(b2, d2) / d2
    assert 0 < share < 1
    shrunk = share * mu * np.eye(p) + (1 - share) * sample
    return deviation[:, None] * shrunk * deviation


def shrunk(z, share):
    sample = np.cov(z.T, bias=True)
    return (1 - share) * sample + share * np.trace(sample) / len(sample) * np.eye(len(sample))


def gaussian(x: float, mean: float, variance: float) -> float:
    return -0.5 * (math.log(2 * math.pi * variance) + (x - mean) ** 2 / variance)


# Against the formulas.


@pytest.mark.parametrize(
    ("shrinkage", "covariance"),
    [(0.0, lambda z: shrunk(z, 0.0)), (0.3, lambda z: shrunk(z, 0.3)), ("auto", shrunk_by_ledoit_wolf)],
)
def test_lda_gaussian_is_fishers_direction_and_two_gaussians(shrinkage, covariance):
    (rows, labels), (others, _) = toy(), toy(seed=1)
    found = fitted("lda_gaussian", rows, labels, shrinkage=shrinkage).score(others)
    z_b, z_s, onto = standardised(rows, labels)
    within = (covariance(z_b) + covariance(z_s)) / 2
    direction = np.linalg.solve(within, z_b.mean(0) - z_s.mean(0))
    y_b, y_s = z_b @ direction, z_s @ direction
    expected = [
        gaussian(y, y_b.mean(), y_b.var()) - gaussian(y, y_s.mean(), y_s.var())
        for y in onto(others) @ direction
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)  # variances are smoothed: 1e-9


def test_lda_gaussian_gives_the_ratio_of_scikit_learns_posteriors_at_equal_priors():
    from sklearn.naive_bayes import GaussianNB

    rows, labels = toy()
    model = fitted("lda_gaussian", rows, labels)
    seen = ((rows - model.learned["mean"]) / model.learned["scale"]) @ model.learned["direction"]
    bayes = GaussianNB(priors=[0.5, 0.5]).fit(seen[:, None], labels)  # classes in alphabetical order
    told = bayes.predict_log_proba(seen[:, None])
    np.testing.assert_allclose(model.score(rows), told[:, 0] - told[:, 1], rtol=1e-9, atol=1e-9)


def mixture_density(z, learned, name):
    """ln density by scipy, a component at a time, from covariances that are inverted back."""
    parts = []
    for weight, mean, factor in zip(
        *(learned[f"{name}_{part}"] for part in ("weights", "means", "factors")), strict=True
    ):
        whole = np.diag(factor) if factor.ndim == 1 else factor
        covariance = np.linalg.inv(whole @ whole.T)
        parts.append(weight * multivariate_normal.pdf(z, mean, covariance))
    return np.log(np.sum(parts, axis=0))


@pytest.mark.parametrize("covariance_type", COVARIANCES)
@pytest.mark.parametrize("transform", ["nca", "none"])
def test_gmm_is_the_ratio_of_two_mixtures_of_the_same_features(covariance_type, transform):
    rows, labels = toy()
    model = fitted("gmm", rows, labels, covariance_type=covariance_type, transform=transform)
    z_b, z_s, onto = standardised(rows, labels)
    a = model.learned["projection"]
    assert a.shape == ((3, 5) if transform == "nca" else (5, 5))
    some = rows[::7]
    expected = mixture_density(onto(some) @ a.T, model.learned, "bonafide") - mixture_density(
        onto(some) @ a.T, model.learned, "spoof"
    )
    np.testing.assert_allclose(model.score(some), expected, rtol=1e-8, atol=1e-8)
    # Expectation maximisation keeps the mean of what it is fitted on: these are transformed features.
    for name, z in (("bonafide", z_b), ("spoof", z_s)):
        mean = model.learned[f"{name}_weights"] @ model.learned[f"{name}_means"]
        np.testing.assert_allclose(mean, (z @ a.T).mean(0), atol=1e-8)


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_a_mixture_of_one_is_the_sample_mean_and_covariance(covariance_type):
    (rows, labels), (others, _) = toy(), toy(seed=1)
    settings = {"n_components": 1, "transform": "none", "covariance_type": covariance_type}
    found = fitted("gmm", rows, labels, **settings, reg_covar=0.01).score(others)
    z_b, z_s, onto = standardised(rows, labels)
    densities = []
    for z in (z_b, z_s):
        sample = np.cov(z.T, bias=True) + 0.01 * np.eye(5)
        if covariance_type == "diag":
            sample = np.diag(np.diag(sample))
        if covariance_type == "spherical":
            sample = np.trace(sample) / 5 * np.eye(5)
        densities.append(multivariate_normal.logpdf(onto(others), z.mean(0), sample))
    np.testing.assert_allclose(found, densities[0] - densities[1], rtol=1e-8, atol=1e-8)


def test_gmm_scores_as_scikit_learn_does():
    from sklearn.mixture import GaussianMixture

    rows, labels = toy()
    z_b, z_s, onto = standardised(rows, labels)
    in_order = [z[np.lexsort(rows_of.T)] for z, rows_of in ((z_b, rows[:30]), (z_s, rows[30:]))]
    told = [
        GaussianMixture(2, reg_covar=1e-3, max_iter=1000, random_state=0)
        .fit(z)
        .score_samples(onto(rows))
        for z in in_order
    ]
    found = fitted("gmm", rows, labels, transform="none", covariance_type="full").score(rows)
    np.testing.assert_allclose(found, told[0] - told[1], rtol=1e-6, atol=1e-6)


def test_nca_tells_apart_what_is_hidden_among_many_dimensions():
    """One direction beneath louder ones; from scikit-learn's own start 62 % are right."""
    rng = np.random.default_rng(0)
    labels = ["bonafide", "spoof"] * 400
    loud = rng.normal(size=(800, 40)) @ rng.normal(size=(40, 200))
    side = np.where(np.array(labels) == "bonafide", -1.0, 1.0)
    hidden = np.outer(side, 0.6 * rng.normal(size=200))
    rows = loud + 0.5 * rng.normal(size=(800, 200)) + hidden
    model = DIFFERENTIALS.build("gmm", n_components=1).fit(rows[:400], labels[:400])
    right = (model.score(rows[400:]) > 0) == (side[400:] < 0)
    assert right.mean() > 0.85


@pytest.mark.parametrize("kernel", KERNELS)
def test_svm_is_the_sum_over_support_vectors(kernel):
    (rows, labels), (others, _) = toy(), toy(seed=1)
    model = fitted("svm", rows, labels, kernel=kernel, gamma=0.15, degree=2, C=0.7)
    z_b, z_s, onto = standardised(rows, labels)
    of = {
        "linear": lambda s, x: s @ x,
        "poly": lambda s, x: (0.15 * (s @ x)) ** 2,
        "rbf": lambda s, x: math.exp(-0.15 * sum((s - x) ** 2)),
        "sigmoid": lambda s, x: math.tanh(0.15 * (s @ x)),
    }[kernel]
    learned = model.learned

    def decide(x):
        pairs = zip(learned["weights"], learned["vectors"], strict=True)
        return sum(a * of(s, x) for a, s in pairs) + learned["offset"][0]

    expected = [decide(x) for x in onto(others)]
    np.testing.assert_allclose(model.score(others), expected, rtol=1e-9, atol=1e-9)
    # What makes it a solution: weights add up to 0, stay within their class's cost, positive weights
    # are of bonafide trials, and a vector with room on both sides lies on its margin.
    sides = np.concatenate([np.ones(len(z_b)), -np.ones(len(z_s))])
    trained = np.concatenate([z_b, z_s])
    distances = ((trained[:, None] - learned["vectors"]) ** 2).sum(2)
    assert distances.min(0).max() < 1e-18
    side = sides[distances.argmin(0)]
    cost = 0.7 * np.where(side > 0, 80 / (2 * 30), 80 / (2 * 50))
    assert abs(learned["weights"].sum()) < 1e-9
    assert (learned["weights"] * side > 0).all()
    assert (np.abs(learned["weights"]) <= cost * (1 + 1e-9)).all()
    free = np.abs(learned["weights"]) < cost * (1 - 1e-6)
    assert free.any()
    assert not free.all()
    margins = np.array([decide(x) for x in learned["vectors"][free]]) * side[free]
    np.testing.assert_allclose(margins, 1, atol=5e-3)


def test_the_svms_own_gamma_is_scikit_learns():
    from sklearn.svm import SVC

    rows, labels = toy()
    z_b, z_s, onto = standardised(rows, labels)
    svc = SVC(class_weight="balanced").fit(np.concatenate([z_b, z_s]), labels)  # bonafide is below 0
    found = fitted("svm", rows, labels).score(rows)
    np.testing.assert_allclose(found, -svc.decision_function(onto(rows)), atol=1e-2)


# What holds for each.


@pytest.mark.parametrize("name", METHODS)
def test_bonafide_scores_higher(name):
    rows, labels = toy(apart=6.0)
    scores = fitted(name, rows, labels).score(rows)
    assert scores[:30].min() > scores[30:].max()
    assert scores[:30].min() > 0 > scores[30:].max()
    swapped = ["spoof" if label == "bonafide" else "bonafide" for label in labels]
    scores = fitted(name, rows, swapped).score(rows)
    assert scores[:30].max() < scores[30:].min()


@pytest.mark.parametrize("name", METHODS)
def test_a_score_is_its_own_rows(name, monkeypatch):
    rows, labels = toy()
    model = fitted(name, rows, labels)
    scores = model.score(rows)
    alone = np.concatenate([model.score(row[None]) for row in rows])
    np.testing.assert_allclose(alone, scores, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.score(rows[::-1]), scores[::-1], rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(base, "_CHUNK", 7)
    np.testing.assert_allclose(model.score(rows), scores, rtol=1e-9, atol=1e-9)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_training_trials_does_not_matter_to_the_bit(name):
    rows, labels = toy()
    order = np.random.default_rng(5).permutation(len(rows))
    one = fitted(name, rows, labels).learned
    other = fitted(name, rows[order], [labels[n] for n in order]).learned
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[part], other[part]) for part in one)


@pytest.mark.parametrize("name", METHODS)
def test_the_scale_of_a_dimension_does_not_matter(name):
    rows, labels = toy()
    factors = np.array([1e-3, 1.0, 7.0, 50.0, 1e4])
    found = fitted(name, rows * factors - 2, labels).score(rows * factors - 2)
    np.testing.assert_allclose(found, fitted(name, rows, labels).score(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lda_gaussian", {"shrinkage": 0.2}),
        ("gmm", {"n_components": 1, "transform": "none"}),
    ],
)
def test_more_trials_of_a_class_do_not_tilt_a_likelihood_ratio(name, settings):
    rows, labels = toy()
    more, of_more = np.concatenate([rows, *[rows[30:]] * 4]), labels + labels[30:] * 4
    found = fitted(name, more, of_more, **settings).score(rows)
    np.testing.assert_allclose(found, fitted(name, rows, labels, **settings).score(rows), rtol=1e-6)


def test_an_svm_is_tilted_only_when_asked():
    rows, labels = toy(bonafide=20, spoof=200)
    balanced = fitted("svm", rows, labels).score(rows)
    tilted = fitted("svm", rows, labels, class_weight="none").score(rows)
    accepted = [(scores[:20] > 0).mean() for scores in (balanced, tilted)]
    assert accepted[0] > 0.7 > accepted[1] + 0.2


@pytest.mark.parametrize(
    "settings",
    [{"n_components": 4, "transform": "none"}, {"n_components": 1, "nca_trials": 20}],
    ids=["mixture", "trials drawn for nca"],
)
def test_another_seed_gives_another_draw_and_the_same_seed_the_same(settings):
    rows, labels = toy()
    one, same, other = (
        fitted("gmm", rows, labels, seed=seed, **settings).score(rows) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_a_dimension_that_stands_still_changes_nothing():
    rows, labels = toy()
    wider = np.insert(rows, 2, 5.0, axis=1)
    for name in METHODS:
        settings = {"shrinkage": 0.0} if name == "lda_gaussian" else {}
        settings |= {"gamma": 0.1} if name == "svm" else {}
        found = fitted(name, wider, labels, **settings).score(wider)
        expected = fitted(name, rows, labels, **settings).score(rows)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# What is refused.


ROWS, LABELS = toy()
HOLED = np.where(np.arange(80)[:, None] == 4, np.nan, ROWS)
BAD_TRAINING = {
    "one class": ((ROWS[:30], LABELS[:30]), "'spoof': 0"),
    "one trial of a class": ((ROWS[29:], LABELS[29:]), "'bonafide': 1"),
    "NaN": ((HOLED, LABELS), "1 of 80 .* first row 4"),
    "infinite": ((np.where(np.isnan(HOLED), np.inf, HOLED), LABELS), "NaN or infinite"),
    "labels too few": ((ROWS, LABELS[:-1]), "80 differences and 79 labels"),
    "unknown label": ((ROWS, [*LABELS[:-1], "unknown"]), r"1 of 80 .* 'unknown' \(row 79\)"),
    "one dimension": ((ROWS[:, 0], LABELS), r"shape \(80,\)"),
    "no dimension": ((ROWS[:, :0], LABELS), r"shape \(80, 0\)"),
    "words": (([["a"], ["b"]], LABELS[:2]), "no array of numbers"),
    "ragged": (([[1.0], [1.0, 2.0]], LABELS[:2]), "no array of numbers"),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("what", BAD_TRAINING)
def test_what_cannot_be_learned_from(name, what):
    (rows, labels), message = BAD_TRAINING[what]
    with pytest.raises(ProtocolError, match=message):
        fitted(name, rows, labels)


@pytest.mark.parametrize("name", METHODS)
def test_what_cannot_be_scored(name):
    model = fitted(name, ROWS, LABELS)
    with pytest.raises(ProtocolError, match="of 4 numbers; the detector was fitted on 5"):
        model.score(ROWS[:, :4])
    with pytest.raises(ProtocolError, match="NaN or infinite"):
        model.score(HOLED)
    with pytest.raises(ProtocolError, match="shape"):
        model.score(ROWS[:0])
    with pytest.raises(RunError, match="fit it first"):
        DIFFERENTIALS.build(name).score(ROWS)


def test_scores_beyond_floats_are_refused():
    model = fitted("svm", ROWS, LABELS, kernel="poly", degree=9)
    with pytest.raises(ProtocolError, match="1 of 2 score.* first row 1"):
        model.score([ROWS[0], ROWS[0] * 1e80])


def test_differences_that_say_nothing_are_refused():
    for name in METHODS:
        with pytest.raises(ProtocolError, match="all the same"):
            fitted(name, np.ones((6, 2)), ["bonafide", "spoof"] * 3)
    with pytest.raises(ProtocolError, match="the same mean"):
        fitted(
            "lda_gaussian", [[1.0], [-1.0], [1.0], [-1.0]], ["bonafide", "bonafide", "spoof", "spoof"]
        )


def test_a_mixture_that_cannot_be_is_refused():
    with pytest.raises(RunError, match="31 fits the 30 bonafide differences"):
        fitted("gmm", ROWS, LABELS, n_components=31)
    same = np.concatenate([np.repeat(ROWS[:2], 15, axis=0), ROWS[30:]])
    with pytest.raises(RunError, match="distinct clusters"):
        fitted("gmm", same, LABELS, n_components=4, transform="none")
    with pytest.raises(RunError, match="did not converge"):
        fitted("gmm", ROWS, LABELS, n_components=4, max_iter=1)


WRONG_SETTINGS = [
    ("lda_gaussian", {"shrinkage": 1.5}, "0 to 1"),
    ("lda_gaussian", {"shrinkage": "automatic"}, "auto"),
    ("gmm", {"n_components": 0}, "n_components is 0, expected 1"),
    ("gmm", {"dimensions": 0}, "dimensions is 0"),
    ("gmm", {"nca_trials": 3}, "nca_trials is 3, expected 4"),
    ("gmm", {"max_iter": 0}, "max_iter is 0"),
    ("gmm", {"seed": -1}, "seed is -1"),
    ("gmm", {"reg_covar": 0.0}, "reg_covar is 0.0"),
    ("gmm", {"covariance_type": "fill"}, "did you mean 'full'"),
    ("gmm", {"components": 3}, "did you mean 'n_components'"),
    ("svm", {"C": 0.0}, "C is 0.0"),
    ("svm", {"C": float("inf")}, "C is inf"),
    ("svm", {"gamma": -1.0}, "gamma is -1.0"),
    ("svm", {"degree": 0}, "degree is 0"),
    ("svm", {"kernel": "rfb"}, "did you mean 'rbf'"),
]


@pytest.mark.parametrize(("name", "settings", "message"), WRONG_SETTINGS)
def test_wrong_settings(name, settings, message):
    with pytest.raises(SettingsError, match=message):
        DIFFERENTIALS.build(name, **settings)


def test_without_scikit_learn_fitting_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"earwitness\[differential\]"):
        fitted("svm", ROWS, LABELS)


# On disk.


@pytest.fixture
def saved(tmp_path) -> Path:
    model = fitted("gmm", ROWS, LABELS)
    model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {}) for name in METHODS]
    + [("gmm", {"covariance_type": one}) for one in COVARIANCES]
    + [("svm", {"kernel": one, "degree": 2, "gamma": 0.3}) for one in KERNELS],
)
def test_a_loaded_detector_gives_the_same_bits(name, settings, tmp_path):
    model = fitted(name, ROWS, LABELS, **settings)
    model.fitted_on = {"labels": {"bonafide": 30, "spoof": 50}}
    model.save(tmp_path / "one")
    again = Differential.load(tmp_path / "one")
    assert np.array_equal(again.score(ROWS), model.score(ROWS))
    assert (again.built_from, again.fitted_on) == (model.built_from, model.fitted_on)
    again.save(tmp_path / "two")
    for file in ("arrays.npz", "card.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def rewrite(folder: Path, arrays=None, content: bytes | None = None, **card) -> None:
    """Change what is saved, with a digest that fits: somebody meant it."""
    path = folder / "arrays.npz"
    if arrays is not None:
        np.savez(path, **arrays)
    if content is not None:
        path.write_bytes(content)
    told = json.loads((folder / "card.json").read_text())
    told["arrays_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps({**told, **card}))


def test_a_changed_byte_is_noticed(saved):
    content = bytearray((saved / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (saved / "arrays.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="corrupted"):
        Differential.load(saved)


def test_what_is_no_differential_detector(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r"no card\.json"):
        Differential.load(tmp_path)
    (tmp_path / "card.json").write_text('{"format": "earwitness-detector", "format_version": 1}')
    with pytest.raises(CheckpointError, match="not the card of a differential"):
        Differential.load(tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        Differential.load(tmp_path)
    (saved / "arrays.npz").unlink()
    with pytest.raises(CheckpointError, match=r"arrays\.npz: no such file"):
        Differential.load(saved)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_unpickled(saved, tmp_path):
    sprung = tmp_path / "sprung"
    arrays = dict(np.load(saved / "arrays.npz"))
    held = np.empty(1, dtype=object)
    held[0] = Trap(sprung)
    pickle.dumps(held)  # it can be pickled: the trap is set
    rewrite(saved, {**arrays, "mean": held})
    with pytest.raises(CheckpointError, match="not arrays that numpy can open"):
        Differential.load(saved)
    rewrite(saved, content=pickle.dumps(Trap(sprung)))
    with pytest.raises(CheckpointError, match="not arrays that numpy can open"):
        Differential.load(saved)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung))).close()
    assert sprung.exists()  # and it works


def test_arrays_and_card_that_do_not_fit_together(saved):
    arrays = dict(np.load(saved / "arrays.npz"))
    whole = json.loads((saved / "card.json").read_text())
    changes = [
        ("missing or unexpected: scale", {n: v for n, v in arrays.items() if n != "scale"}),
        ("missing or unexpected: more", {**arrays, "more": np.zeros(2)}),
        ("float32", {**arrays, "mean": arrays["mean"].astype(np.float32)}),
        ("finite", {**arrays, "mean": arrays["mean"] * np.nan}),
        ("make no detector", {**arrays, "projection": arrays["projection"][:, :4]}),
        ("make no detector", {**arrays, "spoof_means": arrays["spoof_means"][:1]}),
        ("make no detector", {**arrays, "mean": np.zeros(())}),
        ("beyond what floats hold", {**arrays, "scale": np.zeros(5)}),
        ("beyond what floats hold", {**arrays, "spoof_weights": -arrays["spoof_weights"]}),
    ]
    for message, changed in changes:
        rewrite(saved, changed)
        with pytest.raises(CheckpointError, match=message):
            Differential.load(saved)
    rewrite(saved, arrays)
    assert Differential.load(saved).score(ROWS).shape == (80,)
    cards = {
        "expected format version 1, found 2": {"format_version": 2},
        r"missing \['differential'\]": {"differential": "gmm"},
        "no differential detector is called 'ggm'; did you mean 'gmm'": {
            "differential": {**whole["differential"], "name": "ggm"}
        },
        "make no detector": {"differential": {"seed": 1}},
        "no setting 'sed'": {"differential": {**whole["differential"], "sed": 1}},
        "missing or unexpected": {"differential": {"name": "svm"}},
    }
    for message, changed in cards.items():
        rewrite(saved, **whole | changed)
        with pytest.raises(CheckpointError, match=message):
            Differential.load(saved)


def test_what_cannot_be_saved(tmp_path):
    model = DIFFERENTIALS.build("svm")
    with pytest.raises(RunError, match="fit it first"):
        model.save(tmp_path)
    with pytest.raises(SettingsError, match="built again"):
        DIFFERENTIALS.get("svm")().fit(ROWS, LABELS).save(tmp_path)
    card = '{"format": "earwitness-detector"}'
    (tmp_path / "card.json").write_text(card)
    with pytest.raises(SettingsError, match="choose another folder"):
        model.fit(ROWS, LABELS).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]
    assert (tmp_path / "card.json").read_text() == card
    model.save(tmp_path / "free")
    model.save(tmp_path / "free")  # over one of its own kind


# Pairs.


def write_corpus(folder: Path, *, speakers=4, each=4, offset=2.0, seed=0, splits=("train", "test")):
    """Vectors of speakers far apart; a spoof is ``offset`` beside its speaker, on the first axis."""
    rng = np.random.default_rng(seed)
    rows, trials = [], []
    for split in splits:
        for number in range(speakers):
            speaker, centre = f"{split}-{number}", 20 * rng.normal(size=4)
            for label in ("bonafide", "spoof"):
                for clip in range(each):
                    moved = centre + 0.1 * rng.normal(size=4)
                    moved[0] += offset * (label == "spoof")
                    rows.append(moved)
                    id_ = f"{speaker}-{label}-{clip}"
                    trials.append(Trial(id_, "", label, speaker=speaker, split=split))
    return vectors.write(folder, rows, trials)


def test_a_difference_is_the_reference_minus_the_trial(tmp_path):
    made = write_corpus(tmp_path)
    rows = {trial.id: row for trial, row in zip(made, np.load(tmp_path / "vectors.npy"), strict=True)}
    speakers = {trial.id: trial.speaker for trial in made}
    found = pair(made)
    assert (found.ids, found.missing) == ([trial.id for trial in made], ())
    assert found.labels == [trial.label for trial in made]
    assert found.differences.dtype == np.float64
    for trial, reference, difference in zip(
        found.trials, found.references, found.differences, strict=True
    ):
        assert reference != trial.id
        assert speakers[reference] == trial.speaker
        assert "bonafide" in reference
        expected = rows[reference].astype(float) - rows[trial.id].astype(float)
        assert np.array_equal(difference, expected)
    assert len(set(found.references)) > 16  # not always the first one


def test_a_reference_depends_on_the_trial_and_the_seed_alone(tmp_path):
    made = write_corpus(tmp_path)
    chosen = dict(zip(pair(made).ids, pair(made).references, strict=True))
    backward = Manifest("m", made.trials[::-1], root=made.root)
    assert dict(zip(pair(backward).ids, pair(backward).references, strict=True)) == chosen
    other = pair(made, seed=1)
    assert dict(zip(other.ids, other.references, strict=True)) != chosen
    half = read_split(tmp_path, "test")
    assert all(chosen[i] == r for i, r in zip(pair(half).ids, pair(half).references, strict=True))


def lonely(folder: Path) -> Manifest:
    """``solo`` has one bonafide recording and a spoof, ``gone`` a spoof alone, one trial no speaker."""
    trials = [
        *(Trial(f"b{n}", "", "bonafide", speaker="s") for n in range(2)),
        Trial("solo-b", "", "bonafide", speaker="solo"),
        Trial("solo-s", "", "spoof", speaker="solo"),
        Trial("gone-s", "", "spoof", speaker="gone"),
        Trial("nobody", "", "bonafide"),
    ]
    return vectors.write(folder, np.arange(12.0).reshape(6, 2), trials)


def test_trials_without_a_reference_are_refused_or_named(tmp_path):
    made = lonely(tmp_path)
    with pytest.raises(ProtocolError, match=r"3 of 6 .*\(solo-b, gone-s, nobody\)"):
        pair(made)
    found = pair(made, without="leave-out")
    assert found.missing == ("solo-b", "gone-s", "nobody")
    assert found.ids == ["b0", "b1", "solo-s"]
    assert found.references == ("b1", "b0", "solo-b")
    spoofs = made.where(lambda trial: trial.label == "spoof")
    with pytest.raises(ProtocolError, match="2 of 2 trials have no reference"):
        pair(spoofs, without="leave-out")


def test_references_from_another_folder(tmp_path):
    made = lonely(tmp_path / "trials")
    enrolled = [
        *(Trial(f"e-{speaker}", "", "bonafide", speaker=speaker) for speaker in ("gone", "solo", "s")),
        Trial("b0", "", "bonafide", speaker="s"),
        Trial("e-spoof", "", "spoof", speaker="gone"),
    ]
    pool = vectors.write(tmp_path / "pool", 100.0 + np.arange(10).reshape(5, 2), enrolled)
    known = made.where(lambda trial: trial.speaker != "-")
    found = pair(known, pool)
    assert set(found.references[1:2]) <= {"b0", "e-s"}
    assert [found.references[n] for n in (0, 2, 3, 4)] == ["e-s", "e-solo", "e-solo", "e-gone"]
    assert found.differences[4].tolist() == [100.0 - 8.0, 101.0 - 9.0]


def test_embeddings_that_cannot_be_subtracted(tmp_path):
    made, wide = write_corpus(tmp_path / "a"), tmp_path / "wide"
    trials = [replace(trial, tags={}) for trial in made]
    vectors.write(wide, np.ones((len(made), 3)), trials)
    with pytest.raises(ProtocolError, match="of 4 numbers and references of 3"):
        pair(made, read_all(wide))
    write_corpus(tmp_path / "b")
    for folder, digest in (("a", "1" * 64), ("b", "2" * 64)):
        (tmp_path / folder / "embedding.json").write_text(json.dumps({"detector": digest}))
    assert pair(made).embedded_by == "1" * 64
    with pytest.raises(ProtocolError, match="different detectors"):
        pair(made, read_all(tmp_path / "b"))
    (tmp_path / "b" / "embedding.json").unlink()
    assert pair(made, read_all(tmp_path / "b")).embedded_by == "1" * 64
    (tmp_path / "a" / "embedding.json").write_text("[]")
    with pytest.raises(ProtocolError, match=r"embedding\.json: not what"):
        pair(made)


def test_which_split(tmp_path):
    write_corpus(tmp_path)
    assert {trial.split for trial in read_split(tmp_path, "test")} == {"test"}
    with pytest.raises(SettingsError, match="holds train, test"):
        read_split(tmp_path)
    with pytest.raises(SettingsError, match="no split 'tets'; did you mean 'test'"):
        read_split(tmp_path, "tets")
    assert len(read_all(tmp_path)) == 64
    write_corpus(tmp_path / "one", splits=("dev",))
    assert len(read_split(tmp_path / "one")) == 32


# The verbs.


@pytest.fixture
def call(monkeypatch, capsys):
    from earwitness.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["earwitness", "differential", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "vectors")
    return tmp_path


@pytest.mark.parametrize("name", METHODS)
def test_fit_and_score(name, place, call):
    settings = [f"--set={key}={value}" for key, value in METHODS[name].items()]
    code, out, err = call("fit", "vectors", "--split", "train", "-m", name, *settings, "-o", "model")
    assert (code, err) == (0, "")
    assert "16 bonafide and 16 spoof differences of 4 numbers" in out
    code, out, err = call("score", "vectors", "--split", "test", "-d", "model", "-o", "scores.csv")
    assert (code, err) == (0, "")
    assert "wrote 32 scores to scores.csv" in out
    scores = Scores.read(place / "scores.csv")
    assert scores.bonafide.min() > scores.spoof.max()
    model, pairs = Differential.load("model"), pair(read_split("vectors", "test"))
    assert scores.ids == pairs.ids
    assert np.array_equal(scores.values, model.score(pairs.differences))
    assert model.fitted_on["labels"] == {"bonafide": 16, "spoof": 16}
    side = json.loads((place / "scores.csv.json").read_text())
    assert side["detector"] == hashlib.sha256((place / "model" / "arrays.npz").read_bytes()).hexdigest()
    assert side["differential"]["name"] == name
    assert METHODS[name].items() <= side["differential"].items()
    assert side["orientation"] == "higher = more bonafide"
    assert side["coverage"] == {"trials": 32, "scored": 32, "failed": []}
    assert side["manifest"]["fingerprint"] == read_split("vectors", "test").fingerprint()
    assert side["references"]["policy"] == "same-speaker"
    assert side["references"]["seed"] == 0


def test_trials_without_a_reference_are_named_where_they_are_left_out(place, call):
    call("fit", "vectors", "--split", "train", "-o", "model")
    trials = [
        *(Trial(f"{label}-{n}", "", label, speaker="s") for label in ("bonafide", "spoof")
          for n in range(2)),
        Trial("alone", "", "spoof", speaker="t"),
    ]  # fmt: skip
    vectors.write(place / "few", np.arange(20.0).reshape(5, 4), trials)
    code, _, err = call("score", "few", "-d", "model", "-o", "few.csv")
    assert (code, "1 of 5 trial(s) have no reference" in err, "alone" in err) == (1, True, True)
    assert not (place / "few.csv").exists()
    code, _, err = call("score", "few", "-d", "model", "-o", "few.csv", "--leave-out")
    assert (code, err) == (0, "left out 1 of 5 trial(s) without a reference: alone\n")
    side = json.loads((place / "few.csv.json").read_text())
    failed = [{"id": "alone", "reason": "no reference"}]
    assert side["coverage"] == {"trials": 5, "scored": 4, "failed": failed}
    assert side["references"]["without"] == 1
    code, _, _ = call("fit", "few", "-o", "of-few")
    assert code == 1
    code, _, _ = call("fit", "few", "-o", "of-few", "--leave-out")
    assert code == 0
    assert Differential.load("of-few").fitted_on["without_reference"] == ["alone"]
    enrolled = [Trial("e-t", "", "bonafide", speaker="t"), Trial("e-s", "", "bonafide", speaker="s")]
    vectors.write(place / "enrolled", np.ones((2, 4)), enrolled)
    code, _, err = call("score", "few", "-d", "model", "-o", "all.csv", "--references", "enrolled")
    assert (code, err, len(Scores.read(place / "all.csv"))) == (0, "", 5)
    assert json.loads((place / "all.csv.json").read_text())["references"]["from"]["name"] == "enrolled"


def test_another_seed_takes_other_references(place, call):
    call("fit", "vectors", "--split", "train", "-o", "model")
    for seed in (0, 1):
        code, _, _ = call(
            "score", "vectors", "--split", "test", "-d", "model", "-o", f"{seed}.csv", "--seed", seed
        )
        assert code == 0
    one, other = (Scores.read(place / f"{seed}.csv").values for seed in (0, 1))
    assert not np.allclose(one, other)


def test_scores_of_trials_whose_label_is_not_known(place, call):
    call("fit", "vectors", "--split", "train", "-o", "model")
    made = read_split("vectors", "test")
    asked = [replace(trial, label="unknown", tags={}) for trial in made]
    vectors.write(place / "asked", vectors.load_vectors(made), asked)
    code, _, err = call("score", "asked", "-d", "model", "-o", "u.csv", "--references", "vectors")
    assert (code, err) == (0, "")
    assert set(Scores.read(place / "u.csv").labels) == {"unknown"}
    code, _, err = call("fit", "asked", "-o", "no", "--references", "vectors")
    assert (code, "neither bonafide nor spoof" in err) == (1, True)


WRONG = {
    ("fit", "vectors", "-o", "m"): (2, "holds train, test"),
    ("fit", "vectors", "-o", "m", "--split", "dev"): (2, "no split 'dev'"),
    ("fit", "absent", "-o", "m"): (1, "no such file"),
    ("fit", "vectors", "-o", "m", "--split", "train", "-m", "gmn"): (2, "did you mean 'gmm'"),
    ("fit", "vectors", "-o", "m", "--split", "train", "--set", "C=1"): (2, "no setting 'C'"),
    ("fit", "vectors", "-o", "m", "--split", "train", "--set", "C"): (2, "setting=value"),
    ("fit", "vectors", "-o", "m", "--split", "train", "--references", "absent"): (1, "absent"),
    ("fit", "vectors", "-o", "other", "--split", "train"): (2, "choose another folder"),
    ("fit", "absent", "-o", "other"): (2, "choose another folder"),  # before anything is learned
    ("fit", "vectors", "--split", "train"): (2, "--out"),
    ("fit", "vectors", "-o", "m", "--split", "train", "-m", "gmm", "-s", "n_components=17"): (
        1,
        "of 17",
    ),
    ("score", "vectors", "-d", "absent", "-o", "s.csv", "--split", "test"): (1, "no card.json"),
    ("score", "vectors", "-d", "other", "-o", "s.csv", "--split", "test"): (1, "not the card"),
    ("score", "vectors", "-d", "model", "-o", "s.csv"): (2, "holds train, test"),
    ("score", "narrow", "-d", "model", "-o", "s.csv"): (1, "of 3 numbers"),
    ("score", "vectors", "-d", "model", "-o", "vectors/vectors.npy"): (2, "is an input"),
    ("score", "elsewhere", "-d", "model", "-o", "s.csv"): (1, "embed the recordings with the same"),
}


def test_wrong_usage_and_wrong_data(place, call):
    (place / "vectors" / "embedding.json").write_text(json.dumps({"detector": "1" * 64}))
    assert call("fit", "vectors", "--split", "train", "-o", "model")[0] == 0
    (place / "other").mkdir()
    (place / "other" / "card.json").write_text('{"format": "earwitness-detector"}')
    made = write_corpus(place / "elsewhere", splits=("test",))
    (place / "elsewhere" / "embedding.json").write_text(json.dumps({"detector": "2" * 64}))
    trials = [replace(trial, tags={}) for trial in made]
    vectors.write(place / "narrow", np.ones((len(made), 3)), trials)
    before = (place / "vectors" / "vectors.npy").read_bytes()
    for words, (expected, message) in WRONG.items():
        code, _, err = call(*words)
        assert (code, message in err) == (expected, True), f"{words}: {code} {err}"
        assert "Traceback" not in err
    assert not (place / "s.csv").exists()
    assert not (place / "m").exists()
    assert (place / "vectors" / "vectors.npy").read_bytes() == before


REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'safetensors', 'sklearn'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Refuse())
sys.argv = 'earwitness differential score vectors --split test -d model -o s.csv'.split()
from earwitness.cli import main
main()
"""


def test_scoring_needs_neither_torch_nor_scikit_learn(place, call):
    call("fit", "vectors", "--split", "train", "-o", "model", "-m", "gmm", "-s", "n_components=2")
    told = subprocess.run([sys.executable, "-c", REFUSE], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    scores = Scores.read(place / "s.csv")
    assert scores.bonafide.min() > scores.spoof.max()
