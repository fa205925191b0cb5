"""GPM, SGP, Adam-NSCL, GEM, A-GEM and RegO: each against a derivation of its own, in float64."""

import copy
import itertools
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from earwitness import contracts
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import RunError, SettingsError
from earwitness.losses import cross_entropy, plain_cross_entropy
from earwitness.strategies.base import Learning
from earwitness.strategies.flat import as_vector, gradients_on, put_vector, spared_buffers
from earwitness.strategies.gem import AGEM, GEM, dual, gram_of
from earwitness.strategies.gpm import GPM, SGP, new_directions
from earwitness.strategies.naive import Naive
from earwitness.strategies.nscl import NSCL, null_space
from earwitness.strategies.protected import find_layers, hear
from earwitness.strategies.rego import RegO, fading
from earwitness.strategies.subspace import triangle
from earwitness.strategies.turning import length_ratio, turning
from earwitness.streams import Stream
from earwitness.training import Training, learn
from earwitness.trials import Manifest, Trial

TRAINING = Training(
    epochs=2, batch_size=8, seconds=0.5, learning_rate=0.02, checkpoint_every=2, log_every=1
)
ADAM = Training(**{**vars(TRAINING), "optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 1e-3})
FORMS = {
    "gpm": (GPM, {}, TRAINING),
    "gpm, everything": (GPM, {"threshold": 1.0, "growth": 0.1, "clips": 9, "strength": 0.5}, TRAINING),
    "gpm, updates": (GPM, {"project": "update", "bias": False, "rest": "free"}, ADAM),
    "sgp": (SGP, {"scale": 3.0}, TRAINING),
    "nscl": (NSCL, {}, ADAM),
    "nscl, samples": (
        NSCL,
        {"inputs": "samples", "normalise": True, "a": 100.0, "per_clip": 5},
        TRAINING,
    ),
    "gem": (GEM, {"per_task": 6}, TRAINING),
    "gem, adam": (GEM, {"per_task": 100, "margin": 0.0, "ridge": 1e-8}, ADAM),
    "agem": (AGEM, {"per_task": 10, "sample": 7}, TRAINING),
    "rego": (RegO, {}, TRAINING),
    "rego, steps": (RegO, {"old": "step", "layers": ("back_end.*",), "quantile": 0.5}, ADAM),
}
CLASSES = ("cat", "cow", "dog", "hen", "owl", "pig")
DIM = 72  # of vectors: more than three tasks of 20 training clips can fill


def make_detector(back_end: str = "mlp", **settings) -> Detector:
    settings = settings or {"hidden": (12,), "pooling": "attention"}
    return Detector.build({"name": "logmel", "bands": 16}, {"name": back_end, **settings}, seed=1)


def small_resnet() -> Detector:
    return make_detector("resnet", width=4, blocks=(1, 1))


def vectors(tmp_path, rows: np.ndarray, labels, domains, classes) -> Stream:
    np.save(tmp_path / "vectors.npy", rows.astype(np.float32))
    trials = [
        Trial(f"{n}", "vectors.npy", label, domain=domain, tags={"row": f"{n}"},
              split=("train", "train", "dev", "test")[n // 2 % 4])
        for n, (label, domain) in enumerate(zip(labels, domains, strict=True))
    ]  # fmt: skip
    return Stream.by(Manifest("vectors", trials, root=tmp_path, classes=classes))


@pytest.fixture
def animals(tmp_path) -> Stream:
    """Three tasks of two classes each, all six to be told apart in the end."""
    rng = np.random.default_rng(0)
    labels = [name for pair in range(3) for name in CLASSES[2 * pair : 2 * pair + 2] * 20]
    corners = rng.normal(size=(6, DIM)) * 2
    rows = np.array([corners[CLASSES.index(label)] for label in labels])
    return vectors(
        tmp_path, rows + rng.normal(size=rows.shape), labels, np.repeat([*"abc"], 40), CLASSES
    )


@pytest.fixture
def domains(tmp_path) -> Stream:
    """Three tasks of bonafide and spoof, whose difference lies elsewhere in each."""
    rng = np.random.default_rng(1)
    labels = ["bonafide", "spoof"] * 60
    rows = rng.normal(size=(120, DIM))
    for n, label in enumerate(labels):
        rows[n, 24 * (n // 40) : 24 * (n // 40) + 24] += 1.0 if label == "spoof" else -1.0
    return vectors(tmp_path, rows, labels, np.repeat([*"abc"], 40), ("bonafide", "spoof"))


def on_vectors(classes, *hidden: int) -> Detector:
    back_end = {"name": "mlp", "hidden": hidden or (96, 80), "pooling": "mean"}
    return Detector.build({"name": "vectors", "dim": DIM}, back_end, seed=1, classes=classes)


def whole(stream: Stream, task: int) -> Batch:
    """All training clips of a task."""
    from earwitness.batches import Clips

    clips = Clips(stream[task].train, kind="vector")
    return clips.batch(range(len(clips)))


# The shelf's promises.


@pytest.mark.parametrize("form", FORMS)
def test_resume_equals_uninterrupted_and_looking_is_inert(form, toy_stream, tmp_path):
    kind, settings, training = FORMS[form]
    contracts.check_strategy(lambda: kind(**settings), make_detector, toy_stream, tmp_path, training)


@pytest.mark.parametrize("form", ["gpm", "sgp", "nscl", "gem", "agem", "rego"])
def test_resume_with_batch_norm_and_convolutions(form, toy_stream, tmp_path):
    kind, settings, training = FORMS[form]
    contracts.check_strategy(lambda: kind(**settings), small_resnet, toy_stream, tmp_path, training)


NOTHING = {
    "gpm": (GPM, {"strength": 0.0}),
    "gpm, updates": (GPM, {"strength": 0.0, "project": "update"}),
    "sgp": (SGP, {"strength": 0.0}),
    "nscl": (NSCL, {"strength": 0.0}),
    "gem": (GEM, {"per_task": 0}),
    "agem": (AGEM, {"per_task": 0}),
    "rego": (RegO, {"strength": 0.0}),
    "rego, steps": (RegO, {"strength": 0.0, "old": "step"}),
}


@pytest.mark.parametrize("form", NOTHING)
def test_strength_zero_is_naive(form, toy_stream):
    kind, settings = NOTHING[form]
    contracts.check_strength_zero(lambda: kind(**settings), Naive, small_resnet, toy_stream, TRAINING)


@pytest.mark.parametrize("form", FORMS)
def test_three_tasks_and_six_classes(form, animals, domains):
    """Every form learns both streams, says what it did, and differs from naive."""
    kind, settings, training = FORMS[form]
    for stream, heads in ((domains, "all"), (animals, "seen")):
        setup = Training(**{**vars(training), "heads": heads, "epochs": 4})
        ours = {"real": stream.classes[0]} if kind is RegO else {}
        ends = []
        for strategy in (kind(**settings, **ours), Naive()):
            records, detector = [], on_vectors(stream.classes)
            list(learn(detector, strategy, stream, training=setup, on_step=records.append))
            ends.append(detector.digest)
            later = [r for r in records if r["position"] > 0]
            assert all(bool(r["action"]) == isinstance(strategy, kind) for r in later)
            assert not any(r["action"] for r in records if r["position"] == 0)
            for entry in itertools.chain(*(r["action"] for r in later)):
                assert entry["gradient_ratio"] >= 0
                assert 0 <= entry.get("rank_energy", 0.5) <= 1
        assert ends[0] != ends[1]
        assert strategy.storage().bytes == 0


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (GPM, {"threshold": 0.0}),
        (GPM, {"threshold": 1.1}),
        (GPM, {"growth": -0.1}),
        (GPM, {"clips": 0}),
        (GPM, {"strength": 1.5}),
        (GPM, {"per_clip": 0}),
        (SGP, {"scale": -1.0}),
        (NSCL, {"a": 0.5}),
        (NSCL, {"floor": 1.0}),
        (GEM, {"per_task": -1}),
        (GEM, {"margin": -0.1}),
        (GEM, {"ridge": 0.0}),
        (AGEM, {"sample": 0}),
        (RegO, {"quantile": 1.5}),
        (RegO, {"release": -1.0}),
    ],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(SettingsError, match="expected"):
        kind(**settings)


def test_source_and_what_is_kept_are_said():
    for kind in (GPM, SGP, NSCL, GEM, AGEM, RegO):
        assert kind.source
        assert kind.keeps != "nothing"


# The arithmetic of GPM and SGP.

matrices = st.tuples(st.integers(2, 9), st.integers(1, 14), st.integers(1, 6), st.integers(0, 10**6))


def low_rank(rng, n: int, d: int, rank: int) -> np.ndarray:
    return rng.normal(size=(n, rank)) @ np.diag(0.5 ** np.arange(rank)) @ rng.normal(size=(rank, d))


def leading(basis: np.ndarray, columns: np.ndarray, share: float) -> np.ndarray:
    """By trial: the fewest left singular vectors of what M misses of R (d, n), until R is inside."""
    u = np.linalg.svd(columns - basis @ basis.T @ columns)[0]
    for count in range(len(columns) - basis.shape[1] + 1):
        q = np.linalg.qr(np.hstack([basis, u[:, :count]]))[0]
        if np.linalg.norm(q.T @ columns) ** 2 >= share * np.linalg.norm(columns) ** 2 * (1 - 1e-12):
            return q
    raise AssertionError("not even the whole space holds R")


@settings(max_examples=60, deadline=None)
@given(matrices, st.sampled_from([0.5, 0.9, 0.97, 0.999]))
def test_bases_hold_the_share_of_energy_with_the_fewest_directions(shape, share):
    d, n, rank, seed = shape
    rng = np.random.default_rng(seed)
    ours, theirs = torch.zeros(d, 0).double(), np.zeros((d, 0))
    for _ in range(3):
        rows = low_rank(rng, n, d, rank)
        fresh, sizes = new_directions(ours, triangle(torch.from_numpy(rows)), share)
        ours, theirs = torch.cat([ours, fresh], 1), leading(theirs, rows.T, share)
        assert ours.shape == theirs.shape
        assert len(sizes) == fresh.shape[1]
        torch.testing.assert_close(ours.T @ ours, torch.eye(ours.shape[1]).double(), atol=1e-12, rtol=0)
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(matrices)
def test_outside_the_kept_space_old_answers_stay(shape):
    """Steps along turned gradients leave W x as it was, for every x of any earlier task."""
    d, n, rank, seed = shape
    rng = np.random.default_rng(seed)
    strategy, old = GPM(threshold=1.0), []
    for task in range(2):
        old.append(low_rank(rng, n, d, min(rank, max(1, d // 3))))
        strategy.learn("layer", triangle(torch.from_numpy(old[-1])), task)
    weight = torch.from_numpy(rng.normal(size=(4, d)))
    basis, changed = strategy.tensors()["bases"]["layer"], weight.clone()
    for _ in range(10):
        turned = strategy.turn("layer", torch.from_numpy(rng.normal(size=(4, d))))
        assert (turned @ basis).abs().max() < 1e-12
        changed -= turned
    inputs = torch.from_numpy(np.vstack(old)).T
    torch.testing.assert_close(changed @ inputs, weight @ inputs, atol=1e-10, rtol=0)
    if basis.shape[1] < d:
        assert (changed - weight).abs().max() > 1e-3  # it did learn


def test_rank_is_not_noise():
    """With threshold 1 a rank-2 task takes two directions, not the rounding beside them."""
    rows = torch.from_numpy(low_rank(np.random.default_rng(0), 50, 9, 2))
    strategy = GPM(threshold=1.0)
    for task in range(2):
        strategy.learn("layer", triangle(rows), task)
        assert strategy.tensors()["bases"]["layer"].shape == (9, 2)
    assert strategy.share("layer") == 2 / 9


def test_a_full_space_lets_nothing_through():
    strategy = GPM(threshold=1.0)
    strategy.learn("layer", torch.eye(3).double(), 0)
    strategy.learn("layer", torch.ones(5, 3).double(), 1)
    assert strategy.turn("layer", torch.ones(2, 3).double()).abs().max() < 1e-12


def test_the_threshold_grows_with_tasks_and_never_beyond_one():
    rows = torch.diag(torch.tensor([10.0, 3.0, 1.0, 0.1])).double()  # shares .909, .991, .9999, 1
    counts = []
    for position in range(4):
        strategy = GPM(threshold=0.9, growth=0.05)
        strategy.learn("layer", rows, position)
        counts.append(strategy.tensors()["bases"]["layer"].shape[1])
    assert counts == [1, 2, 4, 4]


@settings(max_examples=40, deadline=None)
@given(matrices, st.sampled_from([0.0, 1.0, 10.0]))
def test_importance_by_the_papers_own_way(shape, scale):
    """On old directions it is found there by an SVD of the projected inputs; here by a norm."""
    d, n, rank, seed = shape
    rng = np.random.default_rng(seed)
    strategy = SGP(threshold=0.9, growth=0.0, scale=scale)
    earlier = np.zeros(0)
    for task in range(3):
        rows = low_rank(rng, n, d, rank)
        old = strategy.tensors()["bases"].get("layer", torch.zeros(d, 0).double()).numpy()
        strategy.learn("layer", triangle(torch.from_numpy(rows)), task)
        basis = strategy.tensors()["bases"]["layer"].numpy()
        u, s, _ = np.linalg.svd(old @ old.T @ rows.T, full_matrices=False)
        on_old = np.sqrt((old.T @ u) ** 2 @ s**2)
        fresh = basis[:, old.shape[1] :]
        sizes = np.concatenate([on_old, np.linalg.norm(rows @ fresh, axis=1 - 1)])
        now = (scale + 1) * sizes / (scale * sizes + sizes.max())
        expected = np.minimum(1, now + np.pad(earlier, (0, len(now) - len(earlier))))
        earlier = strategy.tensors()["importance"]["layer"].numpy()
        np.testing.assert_allclose(earlier, expected, atol=1e-7)
        gradient = rng.normal(size=(3, d))
        turned = strategy.turn("layer", torch.from_numpy(gradient)).numpy()
        np.testing.assert_allclose(
            turned, gradient @ (np.eye(d) - basis @ np.diag(earlier) @ basis.T), atol=1e-12
        )


def test_sgp_of_infinite_scale_is_gpm():
    rows = torch.from_numpy(low_rank(np.random.default_rng(3), 20, 6, 4))
    gradient = torch.ones(2, 6).double()
    turned = []
    for strategy in (GPM(), SGP(scale=1e15), SGP(scale=1.0)):
        strategy.learn("layer", rows, 0)
        turned.append(strategy.turn("layer", gradient))
    torch.testing.assert_close(turned[0], turned[1], atol=1e-12, rtol=0)
    assert (turned[0] - turned[2]).abs().max() > 1e-3


# What they do to a network.


def learning_for(
    detector: Detector, batches: list[Batch], position: int, criterion=cross_entropy
) -> Learning:
    generator = torch.Generator().manual_seed(0)
    return Learning(detector, criterion, generator, 0.5, position, lambda: iter(batches), len(batches))


def noise_batches(detector: Detector, count: int, size: int = 6, seed: int = 0) -> list[Batch]:
    """Noise in the detector's own precision and kind."""
    generator = torch.Generator().manual_seed(seed)
    samples = DIM if detector.front_end.eats == "vector" else 4000
    kind = next(detector.parameters()).dtype
    labels = torch.tensor([0, 1] * (size // 2))
    return [
        Batch(
            torch.randn(size, samples, generator=generator, dtype=kind),
            torch.full((size,), samples),
            labels.clone(),
            tuple(f"{seed}-{n}-{i}" for i in range(size)),
        )
        for n in range(count)
    ]


def step(detector: Detector, strategy, learning: Learning, batch: Batch, optimiser) -> None:
    output = detector(batch.wave, batch.length)
    optimiser.zero_grad()
    cross_entropy(output, batch).backward()
    strategy.edit_gradients(learning, batch, output)
    optimiser.step()
    strategy.after_step(learning)


@pytest.mark.parametrize("most", [1000, 7])
def test_samples_of_a_layer_evoke_its_outputs(most):
    """W x of each kept frame or patch is the layer's output for that clip there."""
    detector = make_detector("resnet", width=4, blocks=(1, 1), pooling="attention").eval()
    layers = find_layers(detector, ("*",), bias=True)
    outputs, found = {}, {}
    handles = [
        layer.module.register_forward_hook(lambda m, i, o, n=layer.name: outputs.__setitem__(n, o))
        for layer in layers
    ]
    with torch.no_grad(), hear(layers, lambda la, x: found.__setitem__(la.name, la.samples(x, most))):
        detector(torch.randn(3, 8000))
    for handle in handles:
        handle.remove()
    assert len(layers) == len(found) >= 8
    for layer in layers:
        expected = outputs[layer.name]
        if not isinstance(layer.module, nn.Linear):
            expected = expected.flatten(2).transpose(1, 2)
        expected = expected.reshape(3, -1, expected.shape[-1])
        every = -(-expected.shape[1] // most)
        expected = expected[:, ::every].flatten(0, 1)
        assert len(expected) <= 3 * most
        torch.testing.assert_close(
            found[layer.name] @ layer.weight().detach().T, expected, atol=1e-4, rtol=1e-4
        )


def test_gpm_on_a_network_is_the_formula_on_each_layers_own_inputs():
    """Bases rebuilt by eigenvectors of the covariance of inputs gathered by other hooks."""
    detector = on_vectors(("bonafide", "spoof"), 10, 7).double()
    strategy, batches = GPM(threshold=0.9, clips=15), noise_batches(detector, 4)
    strategy.begin_task(learning_for(detector, batches, 0), None)
    strategy.end_task(learning_for(detector, batches, 0), None)
    linear = {n: m for n, m in detector.named_modules() if isinstance(m, nn.Linear)}
    inputs = {}
    handles = [
        m.register_forward_pre_hook(lambda m, i, n=n: inputs.__setitem__(n, i[0].detach()))
        for n, m in linear.items()
    ]
    with torch.no_grad():
        detector(torch.cat([b.wave for b in batches])[:15])
    for handle in handles:
        handle.remove()
    detector.train()
    batch = noise_batches(detector, 1, seed=5)[0]
    output = detector(batch.wave, batch.length)
    cross_entropy(output, batch).backward()
    before = {n: torch.cat([m.weight.grad, m.bias.grad[:, None]], 1) for n, m in linear.items()}
    strategy.edit_gradients(learning_for(detector, batches, 1), batch, output)
    assert len(linear) == 3
    for name, module in linear.items():
        rows = torch.cat([inputs[name].flatten(0, -2), torch.ones(15, 1).double()], 1)
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        values, vectors = values.flip(0), vectors.flip(1)
        count = int((values.cumsum(0) < 0.9 * values.sum()).sum()) + 1
        assert 1 <= count < len(values)
        expected = before[name] - before[name] @ vectors[:, :count] @ vectors[:, :count].T
        found = torch.cat([module.weight.grad, module.bias.grad[:, None]], 1)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
        assert (found - before[name]).norm() > 0.01 * before[name].norm()


PROTECTING = {
    "gpm": (GPM, {"threshold": 1.0}, "sgd"),
    "gpm, no bias": (GPM, {"threshold": 1.0, "bias": False}, "sgd"),
    "gpm, updates": (GPM, {"threshold": 1.0, "project": "update"}, "adam"),
    "sgp": (SGP, {"threshold": 1.0, "scale": 1e12}, "sgd"),
    "nscl": (NSCL, {"inputs": "samples", "a": 1.0, "floor": 1e-12}, "adam"),
}
OPEN = {
    "naive": (Naive, {}, "sgd"),
    "gpm, gradients with adam": (GPM, {"threshold": 1.0}, "adam"),
    "gpm, biases free": (GPM, {"threshold": 1.0, "bias": False, "rest": "free"}, "sgd"),
}


@pytest.mark.parametrize("form", PROTECTING | OPEN)
def test_old_answers_stay_while_there_is_room(form, domains):
    """20 training clips a task are fewer than inputs: nothing they evoke may change, in 3 tasks."""
    kind, settings, optimiser = (PROTECTING | OPEN)[form]
    detector, strategy = on_vectors(("bonafide", "spoof")), kind(**settings)
    rate = 0.05 if optimiser == "sgd" else 3e-3
    training = Training(epochs=15, batch_size=10, optimiser=optimiser, learning_rate=rate)
    clips, first, moved = [whole(domains, task) for task in range(3)], {}, 0.0
    with pytest.warns(UserWarning, match="adam takes") if "gradients" in form else nullcontext():
        for done in learn(detector, strategy, domains, training=training):
            with torch.no_grad():
                for task in range(done.position + 1):
                    now = detector(clips[task].wave).logits
                    first.setdefault(task, now)
                    moved = max(moved, float((now - first[task]).abs().max()))
            assert float((now.argmax(1) == clips[task].label).double().mean()) > 0.9  # it learns
    assert (moved < 2e-5) if form in PROTECTING else (moved > 0.02)


def test_a_half_strength_goes_half_way():
    batches = noise_batches(on_vectors(("bonafide", "spoof")).double(), 2)
    gradients = {}
    for strength in (0.0, 0.5, 1.0):
        detector = on_vectors(("bonafide", "spoof")).double()
        strategy = GPM(strength=strength)
        for position in (0, 1):
            learning = learning_for(detector, batches, position)
            strategy.begin_task(learning, None)
            if position == 0:
                strategy.end_task(learning, None)
        output = detector(batches[1].wave)
        cross_entropy(output, batches[1]).backward()
        strategy.edit_gradients(learning, batches[1], output)
        gradients[strength] = detector.back_end.head.weight.grad
    half = (gradients[0.0] + gradients[1.0]) / 2
    torch.testing.assert_close(gradients[0.5], half, atol=1e-15, rtol=0)
    assert (gradients[0.0] - gradients[1.0]).abs().max() > 1e-4


def test_frozen_layers_are_left_out_and_the_rest_stands_still(toy_stream):
    detector = small_resnet()
    detector.back_end.stem.requires_grad_(False)
    strategy, seen = GPM(layers=("back_end.stages.*", "back_end.head")), {}
    for done in learn(detector, strategy, toy_stream, training=TRAINING):
        for name, value in done.detector.named_parameters():
            seen.setdefault(name, []).append(value.detach().clone())
    names = set(strategy.tensors()["bases"])
    assert names == {n for n in names if ".stages." in n or n == "back_end.head"}
    held = {n for n, (after_one, after_two) in seen.items() if torch.equal(after_one, after_two)}
    scales = {n for n in seen if "norm" in n}
    assert len(scales) >= 8
    assert scales < held
    room = {n for n, b in strategy.tensors()["bases"].items() if b.shape[1] < b.shape[0]}
    assert len(names - room) == 1  # the shortcut's 4 inputs are all taken: it stands still too
    assert held & {f"{n}.weight" for n in names} == {f"{n}.weight" for n in names - room}
    for parameter in detector.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(SettingsError, match="all frozen"):
        GPM().begin_task(learning_for(detector, [], 0), None)


def test_inputs_of_zero_protect_nothing_and_that_is_an_error(domains, tmp_path):
    quiet_task = vectors(tmp_path, np.zeros((120, DIM)), ["bonafide", "spoof"] * 60,
                         np.repeat([*"abc"], 40), ("bonafide", "spoof"))  # fmt: skip
    strategy = GPM(layers=("back_end.layers.0",), bias=False)
    with pytest.raises(RunError, match="turned no gradient"):
        list(learn(on_vectors(("bonafide", "spoof")), strategy, quiet_task, training=TRAINING))


def test_a_layer_that_is_never_called_is_an_error():
    detector = on_vectors(("bonafide", "spoof"))
    detector.spare = nn.Linear(3, 3)
    learning = learning_for(detector, noise_batches(detector, 1), 0)
    strategy = GPM()
    strategy.begin_task(learning, None)
    with pytest.raises(RunError, match="spare were never called"):
        strategy.end_task(learning, None)


def test_turning_sees_a_change_of_direction_only():
    one, none = torch.tensor([3.0, 4.0]), torch.zeros(2)
    for other, ratio, turned in (
        (one * 0.1, 0.1, 0.0),
        (torch.tensor([-4.0, 3.0]), 1.0, 1.0),
        (none, 0.0, 1.0),
    ):
        assert length_ratio(one, other) == pytest.approx(ratio, abs=1e-7)
        assert turning(one, other) == pytest.approx(turned, abs=1e-9)
    assert (length_ratio(none, none), turning(none, none)) == (1.0, 0.0)


# Adam-NSCL.


@settings(max_examples=40, deadline=None)
@given(matrices, st.sampled_from([1.0, 10.0, 100.0]))
def test_null_space_by_the_covariances_own_eigenvalues(shape, a):
    """Two tasks, the covariance added up by numpy; and an update projected with it."""
    d, n, rank, seed = shape
    rng = np.random.default_rng(seed)
    strategy, covariance = NSCL(a=a, floor=1e-6), np.zeros((d, d))
    for task in range(2):
        rows = low_rank(rng, n, d, rank)
        covariance += rows.T @ rows
        strategy.learn("layer", triangle(torch.from_numpy(rows)), task)
    values, eigen = np.linalg.eigh(covariance)
    limit = a * max(values[0], 1e-6 * values[-1])
    if np.abs(values / limit - 1).min() < 1e-6:
        return  # on the edge, where rounding decides
    null = eigen[:, values <= limit]
    update = rng.normal(size=(4, d))
    turned = strategy.turn("layer", torch.from_numpy(update)).numpy()
    np.testing.assert_allclose(turned, update @ null @ null.T, atol=1e-8)
    assert strategy.share("layer") == pytest.approx(1 - null.shape[1] / d)
    halved = NSCL(a=a, floor=1e-6, normalise=True)
    halved.load({"kept": strategy.tensors(), "moved": 0.0}, _Anywhere(d))
    projector = null @ null.T
    np.testing.assert_allclose(
        halved.turn("layer", torch.from_numpy(update)),
        update @ projector / np.linalg.norm(projector),
        atol=1e-8,
    )


class _Anywhere(nn.Module):
    """Enough of a detector to load a state for one layer."""

    def __init__(self, d: int):
        super().__init__()
        self.layer, self.device = nn.Linear(d, 4), "cpu"


def test_the_floor_is_what_leaves_room_in_float64():
    """Three directions all but unused, at 1e-9, 1e-10, 1e-12 of the largest: a = 10 takes one."""
    rows = torch.diag(torch.tensor([1.0, 1e-9, 1e-10, 1e-12]).double().sqrt())
    assert null_space(rows, 10.0, 0.0)[1].shape[1] == 1
    assert null_space(rows, 10.0, 1e-7)[1].shape[1] == 3


def test_the_update_is_projected_after_adam_and_not_the_gradient():
    detector = on_vectors(("bonafide", "spoof")).double()
    batches, strategy = noise_batches(detector, 6), NSCL(bias=False)
    strategy.begin_task(learning_for(detector, batches, 0), None)
    strategy.end_task(learning_for(detector, batches, 0), None)
    twin, start = copy.deepcopy(detector), copy.deepcopy(detector)
    optimisers = [torch.optim.Adam(d.parameters(), 1e-2, weight_decay=0.1) for d in (detector, twin)]
    learning = learning_for(detector, batches, 1)
    strategy.begin_task(learning, None)
    step(detector, strategy, learning, batches[0], optimisers[0])
    step(twin, Naive(), learning, batches[0], optimisers[1])
    ours, plain, old = (dict(d.named_parameters()) for d in (detector, twin, start))
    for name, null in strategy.tensors()["null"].items():
        weight = f"{name}.weight"
        update = plain[weight] - old[weight]
        torch.testing.assert_close(
            ours[weight] - old[weight], update @ null @ null.T, atol=1e-12, rtol=0
        )
        assert (ours[weight] - plain[weight]).abs().max() > 1e-3
        assert torch.equal(ours[f"{name}.bias"], old[f"{name}.bias"])  # of the rest, which is frozen


# RegO.


def test_fading_is_the_forgetting_curve_that_sums_to_one():
    """q = exp(-1/k) is the one root of q + ... + q^n = 1 in [0.5, 1]: by numpy's companion matrix."""
    assert fading(0) == []
    assert fading(1) == [1.0]
    for tasks in (2, 3, 7, 20, 80):
        weights = fading(tasks)
        assert sum(weights) == pytest.approx(1, abs=1e-13)
        if tasks <= 20:
            roots = np.roots([*[1.0] * tasks, -1.0])
            (root,) = [r.real for r in roots if abs(r.imag) < 1e-9 and 0.4 < r.real <= 1.0001]
            np.testing.assert_allclose(weights, root ** np.arange(1, tasks + 1), atol=1e-10)


def clip_gradients(
    detector: Detector, batches: list[Batch]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Gradients of each clip's own -log p(y|x): name -> (clips, weights), and the labels."""
    detector = copy.deepcopy(detector).eval()
    waves, labels = torch.cat([b.wave for b in batches]), torch.cat([b.label for b in batches])
    found: dict[str, list[np.ndarray]] = {n: [] for n, _ in detector.named_parameters()}
    for wave, label in zip(waves, labels, strict=True):
        detector.zero_grad()
        F.nll_loss(detector(wave[None]).logits.log_softmax(1), label[None]).backward()
        for name, parameter in detector.named_parameters():
            found[name].append(parameter.grad.numpy().ravel().copy())
    return {n: np.stack(g) for n, g in found.items()}, labels.numpy()


def marked(gradients: np.ndarray, quantile: float) -> np.ndarray:
    fisher = (gradients**2).mean(0)
    return (fisher >= np.quantile(fisher, quantile) * (1 - 1e-6)) & (fisher > 0)


@pytest.mark.parametrize("classes", [("spoof", "bonafide"), ("spoof", "bonafide", "edited")])
@pytest.mark.parametrize("size", [6, 2])
def test_rego_is_the_formula_in_each_region(size, classes):
    """Three tasks: marks from clips' own gradients, fading, and the four ways to learn, by numpy."""
    detector = on_vectors(classes, 9).double()
    strategy, marks = RegO(quantile=0.6, release=0.4), []
    for task in range(2):
        batches = noise_batches(detector, 12 // size, size, seed=task)
        batches[1].label[0] = len(classes) - 1 if len(classes) > 2 else 0
        learning = learning_for(detector, batches, task, plain_cross_entropy)
        strategy.begin_task(learning, None)
        if task:
            strategy._moved = 1.0  # no step was made, and none is asked for
        strategy.end_task(learning, None)
        gradients, labels = clip_gradients(detector, batches)
        marks.append({n: (marked(g[labels == 1], 0.6), marked(g[labels != 1], 0.6))
                      for n, g in gradients.items()})  # fmt: skip
        old = {n: g.mean(0) for n, g in gradients.items()}
        with torch.no_grad():  # as if the next task had been learned
            for number, parameter in enumerate(detector.parameters()):
                parameter.add_(0.1 * (number + 1))
    batches = noise_batches(detector, 1, 6, seed=9)
    batch = Batch(batches[0].wave[:5], batches[0].length[:5], batches[0].label[:5], batches[0].ids[:5])
    strategy.begin_task(learning_for(detector, batches, 2), None)
    output = detector(batch.wave)
    cross_entropy(output, batch).backward()
    before = {n: p.grad.numpy().ravel().copy() for n, p in detector.named_parameters()}
    strategy.edit_gradients(learning_for(detector, batches, 2), batch, output)
    records, seen = {r["layer"]: r for r in strategy.action()}, set()
    for name, parameter in detector.named_parameters():
        g, h = before[name], old[name]
        along = (g @ h) / (h @ h) * h
        expected, regions = g.copy(), [0, 0, 0, 0]
        for i in range(len(g)):
            weight = 0.381966011 * (marks[0][name][0][i] or marks[0][name][1][i])
            weight += 0.618033989 * (marks[1][name][0][i] or marks[1][name][1][i])
            real = weight > 0.4 and any(m[name][0][i] for m in marks)
            fake = weight > 0.4 and any(m[name][1][i] for m in marks)
            regions[real + 2 * fake] += 1
            if real and fake:
                expected[i] = 0.4 * along[i] + 0.6 * (g - along)[i]  # 2 bonafide of 5
            elif real or fake:
                expected[i] = along[i] if real else (g - along)[i]
        np.testing.assert_allclose(parameter.grad.numpy().ravel(), expected, atol=1e-12)
        record = records[name]
        assert [record[k] for k in ("neither", "real", "fake", "both")] == regions
        assert record["beta"] == 0.4
        assert record["rank_energy"] == pytest.approx(1 - regions[0] / len(g))
        assert record["gradient_ratio"] == pytest.approx(np.linalg.norm(expected) / np.linalg.norm(g))
        seen |= {k for k in range(4) if regions[k]}
    assert seen == {0, 1, 2, 3}


def test_marks_fade_and_weights_are_free_again():
    detector = on_vectors(("bonafide", "spoof"), 4)
    strategy = RegO(release=0.1)
    strategy._set_up(detector)
    nothing = {n: torch.zeros_like(p, dtype=torch.uint8) for n, p in detector.named_parameters()}
    strategy._marks = [{**nothing, "back_end.head.bias": torch.tensor([1, 0], dtype=torch.uint8)}]
    free_after = None
    for tasks in range(1, 8):
        strategy._set_up(detector)
        assert not strategy._regions["back_end.head.weight"].any()
        held = strategy._regions["back_end.head.bias"].tolist() == [1, 0]
        assert held == (fading(tasks)[-1] > 0.1)
        free_after = free_after or (None if held else tasks)
        strategy._marks.append(nothing)
    assert free_after == 4  # 1, .382, .161, .074


def test_the_released_form_takes_the_previous_steps_gradient():
    detector = on_vectors(("bonafide", "spoof"), 9).double()
    batches = noise_batches(detector, 4)
    strategy = RegO(
        old="step", release=0.0, quantile=0.0
    )  # with no quantile all that learned is marked
    strategy.begin_task(learning_for(detector, batches, 0), None)
    optimiser = torch.optim.SGD(detector.parameters(), 0.1)
    step(detector, strategy, learning_for(detector, batches, 0), batches[0], optimiser)
    previous = detector.back_end.head.weight.grad.clone()
    strategy.end_task(learning_for(detector, batches, 0), None)
    for batch in batches[1:3]:  # beta is 1/2, and all is marked for both: half of g each time
        learning = learning_for(detector, batches, 1)
        output = detector(batch.wave)
        optimiser.zero_grad()
        cross_entropy(output, batch).backward()
        g = detector.back_end.head.weight.grad.clone()
        along = (g * previous).sum() / previous.square().sum() * previous
        strategy.edit_gradients(learning, batch, output)
        found = detector.back_end.head.weight.grad
        torch.testing.assert_close(found, 0.5 * along + 0.5 * (g - along), atol=1e-12, rtol=0)
        previous = found.clone()
        batch.label.zero_()  # from now on only real clips: along the old gradient alone
        strategy.edit_gradients(learning, batch, output)
        cosine = torch.cosine_similarity(found.flatten(), previous.flatten(), dim=0)
        assert cosine.item() == pytest.approx(1)
        previous = detector.back_end.head.weight.grad.clone()


def test_rego_needs_its_class_and_some_weights(domains):
    detector = on_vectors(CLASSES)
    with pytest.raises(SettingsError, match="'bonafide' is not a class"):
        RegO().begin_task(learning_for(detector, [], 0), None)
    with pytest.raises(
        SettingsError, match=r"'module.weight' matches no trainable parameter; they are back_end"
    ):
        RegO(real="cat", layers=("module.weight",)).begin_task(learning_for(detector, [], 0), None)
    strategy = RegO(real="cat", layers=("back_end.head",))
    batch = noise_batches(detector, 1, 6)[0]
    batch.label.fill_(3)
    strategy.begin_task(learning_for(detector, [batch], 0), None)
    strategy.end_task(learning_for(detector, [batch], 0), None)
    (marks,) = strategy.state()["marks"]
    assert set(marks) == {"back_end.head.weight", "back_end.head.bias"}
    assert set(marks["back_end.head.weight"].unique().tolist()) == {0, 2}  # no real clip, no real mark
    with pytest.raises(RunError, match="no gradient was changed"):
        list(learn(on_vectors(("bonafide", "spoof")), RegO(release=1.0), domains, training=TRAINING))


def test_a_quantile_is_numpys():
    from earwitness.strategies.rego import _quantile

    values = np.random.default_rng(0).normal(size=(7, 9))
    for share in (0.0, 0.1, 0.75, 1.0):
        found = float(_quantile(torch.from_numpy(values), share))
        assert found == pytest.approx(np.quantile(values, share), abs=1e-15)


# GEM and A-GEM.

NAMED = [SimpleNamespace(name=name) for name in "abc"]  # all they want of a task

problems = st.tuples(
    st.integers(1, 6), st.integers(0, 10**6), st.sampled_from([0.0, 0.5]), st.sampled_from([1e-3, 1e-8])
)


def by_active_sets(hessian, linear, margin):
    """Every set of coordinates held at the bound; the feasible point with the least value."""
    best, least = None, np.inf
    for held in itertools.product([False, True], repeat=len(linear)):
        held = np.array(held)  # noqa: PLW2901
        v = np.full(len(linear), margin)
        free = ~held
        if free.any():
            right = -linear[free] - hessian[np.ix_(free, held)] @ v[held]
            v[free] = np.linalg.solve(hessian[np.ix_(free, free)], right)
        value = 0.5 * v @ hessian @ v + linear @ v
        if (v >= margin - 1e-9).all() and value < least:
            best, least = v, value
    return best


@settings(max_examples=80, deadline=None)
@given(problems)
def test_the_dual_by_all_active_sets_and_by_slsqp(problem):
    from scipy.optimize import minimize

    count, seed, margin, ridge = problem
    rng = np.random.default_rng(seed)
    past, gradient = rng.normal(size=(count, 9)), rng.normal(size=9)
    hessian, linear = past @ past.T + ridge * np.eye(count), past @ gradient
    found = dual(past @ past.T, linear, margin, ridge)
    np.testing.assert_allclose(found, by_active_sets(hessian, linear, margin), atol=1e-9)
    other = minimize(
        lambda v: 0.5 * v @ hessian @ v + linear @ v,
        np.full(count, margin + 1.0),
        jac=lambda v: hessian @ v + linear,
        bounds=[(margin, None)] * count,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found, other.x, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_without_a_margin_it_is_the_nearest_gradient_with_no_conflict(count, seed):
    """The primal, min ||g' - g|| with G g' >= 0, by alternating projections (Dykstra)."""
    rng = np.random.default_rng(seed)
    past, gradient = rng.normal(size=(count, 12)), rng.normal(size=12)
    strategy = GEM(margin=0.0, ridge=1e-12)
    rows = torch.from_numpy(np.vstack([gradient, past]))
    found = strategy.project(rows, rows @ rows.T).numpy()
    assert (past @ found > -1e-8).all()
    point, taken = gradient.copy(), np.zeros((count, 12))
    for _ in range(3000):
        for k, row in enumerate(past):
            start = point + taken[k]
            point = start - min(0.0, row @ start) / (row @ row) * row
            taken[k] = start - point
    np.testing.assert_allclose(found, point, atol=1e-5)


def test_agem_with_one_past_task_is_gem_without_margin():
    rng = torch.Generator().manual_seed(3)
    past = torch.randn(1, 30, generator=rng).double()
    gradient = torch.randn(30, generator=rng).double() - 0.3 * past[0]
    rows = torch.cat([gradient[None], past])
    gem = GEM(margin=0.0, ridge=1e-12).project(rows, rows @ rows.T)
    agem = AGEM().project(rows, rows @ rows.T)
    torch.testing.assert_close(gem, agem, atol=1e-9, rtol=0)
    assert abs(float(agem @ past[0])) < 1e-12
    assert float(gradient @ past[0]) < 0


def test_products_of_a_million_weights_are_as_exact_as_in_float64():
    rows = torch.randn(3, 1_000_001, generator=torch.Generator().manual_seed(0)) + 1.0
    exact = rows.double() @ rows.double().T
    torch.testing.assert_close(gram_of(rows), exact, rtol=1e-6, atol=0)


def old_gradient(detector: Detector, batch: Batch) -> torch.Tensor:
    """On a copy in training mode, by a plain backward."""
    twin = copy.deepcopy(detector).train()
    twin.zero_grad()
    cross_entropy(twin(batch.wave, batch.length), batch).backward()
    return torch.cat([p.grad.flatten() for p in twin.parameters()])


@pytest.mark.parametrize("kind", [GEM, AGEM])
def test_a_step_is_held_against_each_tasks_last_clips(kind):
    """Gradients of both memories by another way, and the formula; buffers and .grad left alone."""
    detector = make_detector("resnet", width=4, blocks=(1, 1)).double().train()
    strategy = GEM(per_task=6, ridge=1e-6) if kind is GEM else AGEM(per_task=6, sample=100)
    memories = []
    for task in range(2):
        batches = noise_batches(detector, 3, 4, seed=task)
        strategy.end_task(learning_for(detector, batches, task), NAMED[task])
        joined = [torch.cat([getattr(b, n) for b in batches])[-6:] for n in ("wave", "length", "label")]
        memories.append(Batch(*joined, sum((b.ids for b in batches), ())[-6:]))
    assert strategy.storage().clips == 12
    assert strategy.storage().keeps_audio
    assert [b.ids for b in GEM.remembered(strategy, learning_for(detector, [], 2))] == [
        memory.ids for memory in memories
    ]
    batch = noise_batches(detector, 1, 6, seed=1)[0]
    output = detector(batch.wave, batch.length)
    cross_entropy(output, batch).backward()
    g = torch.cat([p.grad.flatten() for p in detector.parameters()])
    if kind is GEM:
        past = torch.stack([old_gradient(detector, memory) for memory in memories])
    else:
        both = [torch.cat([getattr(m, n) for m in memories]) for n in ("wave", "length", "label")]
        past = old_gradient(detector, Batch(*both, memories[0].ids + memories[1].ids))[None]
    g = g - 3 * past[0]  # a conflict
    put_vector(g, [p.grad for p in detector.parameters()])
    buffers = {n: b.clone() for n, b in detector.named_buffers()}
    strategy.edit_gradients(learning_for(detector, [], 2), batch, output)
    assert all(torch.equal(b, buffers[n]) for n, b in detector.named_buffers())
    assert detector.training
    found = torch.cat([p.grad.flatten() for p in detector.parameters()])
    products = past @ g
    assert (products < 0).any()
    if kind is GEM:
        hessian = (past @ past.T + 1e-6 * torch.eye(2)).numpy()
        v = by_active_sets(hessian, products.numpy(), 0.5)
        expected = g + torch.from_numpy(v) @ past
    else:
        expected = g - products[0] / past[0].square().sum() * past[0]
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    (record,) = strategy.action()
    assert record["constraints"] == len(past)
    assert record["conflicts"] == int((products < 0).sum())
    assert record["gradient_ratio"] == pytest.approx(float(found.norm() / g.norm()))


def test_without_conflict_the_gradient_is_left_to_the_bit():
    detector = on_vectors(("bonafide", "spoof"))
    batch = noise_batches(detector, 1)[0]
    for strategy in (GEM(per_task=6), AGEM(per_task=6, sample=6)):
        strategy.end_task(learning_for(detector, [batch], 0), NAMED[0])
        output = detector(batch.wave)
        detector.zero_grad()
        cross_entropy(output, batch).backward()
        before = [p.grad.clone() for p in detector.parameters()]
        strategy.edit_gradients(learning_for(detector, [], 1), batch, output)
        assert all(torch.equal(p.grad, b) for p, b in zip(detector.parameters(), before, strict=True))
        assert strategy.action()[0]["conflicts"] == 0
        assert strategy.action()[0]["gradient_ratio"] == 1.0


def test_agem_draws_from_every_task_and_anew_each_step():
    detector, strategy, drawn = on_vectors(("bonafide", "spoof")), AGEM(per_task=5, sample=6), []
    for task in range(3):
        learning = learning_for(detector, noise_batches(detector, 2, seed=task), task)
        strategy.end_task(learning, NAMED[task])
    for seed in range(60):
        learning = learning_for(detector, [], 3)
        learning.generator.manual_seed(seed)
        (batch,) = strategy.remembered(learning)
        assert len(set(batch.ids)) == len(batch) == 6
        drawn += batch.ids
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 15
    assert counts.min() > 10  # 24 expected


def test_vectors_and_tensors_are_the_same_entries():
    tensors = [torch.randn(2, 3), torch.randn(4), torch.randn(())]
    places = [torch.zeros_like(t) for t in tensors]
    put_vector(as_vector(tensors), places)
    assert all(torch.equal(a, b) for a, b in zip(tensors, places, strict=True))


def test_a_weight_that_the_memory_does_not_reach_has_gradient_zero():
    detector = on_vectors(("bonafide", "spoof"))
    detector.spare = nn.Linear(3, 3)
    batch = noise_batches(detector, 1)[0]
    weights = list(detector.parameters())
    with spared_buffers(detector):
        found = gradients_on(learning_for(detector, [], 0), batch, weights)
    assert not found[-2].any()
    assert found[0].any()
    assert all(p.grad is None for p in weights)
