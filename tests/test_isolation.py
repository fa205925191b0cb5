"""Frozen, cumulative, CWR*, streaming LDA and ELMA against derivations in float64."""

import copy
import itertools

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from earwitness import contracts
from earwitness.batches import Clips
from earwitness.corpora.vectors import load_vectors, write
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules import RULES
from earwitness.rules.base import UNKNOWN
from earwitness.scoring import score
from earwitness.strategies.cwr_star import CWRStar
from earwitness.strategies.elma import ELMA, cosine, merge
from earwitness.strategies.frozen import Frozen
from earwitness.strategies.joint import Cumulative, Joint
from earwitness.strategies.naive import Naive
from earwitness.strategies.slda import SLDA, StreamingLDA
from earwitness.streams import Stream
from earwitness.training import Training, learn
from earwitness.trials import CLASSES, Trial

ANIMALS = ("cat", "cow", "dog", "eel", "fox", "hen")
TRAINING = Training(
    epochs=2, batch_size=8, seconds=0.5, learning_rate=0.05, checkpoint_every=2, balance="none"
)
FORMS = {
    "frozen": Frozen,
    "cumulative": Cumulative,
    "cwr_star": CWRStar,
    "cwr_star, learning body": lambda: CWRStar(body="learns"),
    "slda": SLDA,
    "slda, published": lambda: SLDA(covariance="published", shrinkage=0.1),
    "elma": ELMA,
    "elma, one expert": lambda: ELMA(rank=2, experts=1),
    "elma, head": lambda: ELMA(rank=1, layers=("back_end.head",)),
}
DIM = 6


def stream_of(folder, classes, tasks, seed=0) -> Stream:
    """Vectors around a corner a class and a place a task; ``tasks`` says the clips of each class."""
    rng = np.random.default_rng(seed)
    corners = 2 * rng.normal(size=(len(classes), DIM))
    rows, trials = [], []
    for number, counts in enumerate(tasks):
        place = rng.normal(size=DIM)
        for label, count in counts.items():
            for n, split in itertools.product(range(count), ("train", "dev", "test")):
                rows.append(corners[classes.index(label)] + place + rng.normal(size=DIM))
                trials.append(Trial(f"{number}-{label}-{n}-{split}", "", label, domain=f"task{number}",
                                    split=split))  # fmt: skip
    return Stream.by(write(folder, rows, trials, classes=classes))


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Stream:
    """Three tasks of the same two classes, the last larger."""
    tasks = [dict.fromkeys(CLASSES, count) for count in (16, 16, 24)]
    return stream_of(tmp_path_factory.mktemp("speech"), CLASSES, tasks)


@pytest.fixture(scope="module")
def animals(tmp_path_factory) -> Stream:
    """Three tasks of new classes; cats come back, in other numbers."""
    tasks = [
        {"cat": 12, "cow": 20},
        {"dog": 16, "eel": 10, "cat": 6},
        {"fox": 16, "hen": 16, "cat": 20, "dog": 4},
    ]
    return stream_of(tmp_path_factory.mktemp("animals"), ANIMALS, tasks)


@pytest.fixture(autouse=True)
def shelved(monkeypatch):
    monkeypatch.setitem(RULES.table, "experts", "experts:Experts")
    torch.manual_seed(0)


def make(classes=CLASSES, hidden=(8,)) -> Detector:
    back_end = {"name": "mlp", "hidden": hidden, "pooling": "mean"}
    return Detector.build({"name": "vectors", "dim": DIM}, back_end, seed=1, classes=classes)


def small_resnet() -> Detector:
    back_end = {"name": "resnet", "width": 4, "blocks": (1, 1)}
    return Detector.build({"name": "logmel", "bands": 16}, back_end, seed=1)


def values(detector) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in detector.state_dict().items()}


def same(one, other) -> bool:
    return list(one) == list(other) and all(torch.equal(one[n], other[n]) for n in one)


def after_each_task(detector, strategy, stream, training=TRAINING) -> list:
    return [values(d.detector) for d in learn(detector, strategy, stream, training=training, seed=2)]


@pytest.mark.parametrize("form", FORMS)
def test_resume_equals_uninterrupted_over_three_tasks(form, speech, tmp_path):
    contracts.check_strategy(FORMS[form], make, speech, tmp_path, TRAINING)


@pytest.mark.parametrize("form", FORMS)
def test_resume_with_six_classes_of_which_some_are_unseen(form, animals, tmp_path):
    restore = "last" if FORMS[form]().decides_by_rule else "best"  # a rule has no best epoch
    training = Training(**{**vars(TRAINING), "heads": "seen", "restore": restore})
    contracts.check_strategy(FORMS[form], lambda: make(ANIMALS), animals, tmp_path, training)


@pytest.mark.parametrize("form", ["frozen", "cwr_star", "slda", "elma", "elma, one expert"])
def test_resume_with_batch_norm_and_convolutions(form, toy_stream, tmp_path):
    contracts.check_strategy(FORMS[form], small_resnet, toy_stream, tmp_path, TRAINING)


# The bounds.


def test_frozen_is_naive_at_the_first_task_and_then_stands_still(speech):
    naive = after_each_task(make(), Naive(), speech)
    frozen = after_each_task(make(), Frozen(), speech)
    assert same(frozen[0], naive[0])
    assert same(frozen[0], frozen[1])
    assert same(frozen[0], frozen[2])
    assert not same(naive[0], naive[1])


def test_cumulative_is_joint_that_goes_on(speech):
    cumulative, joint = Cumulative(), Joint()
    seen = after_each_task(make(), cumulative, speech)
    assert same(seen[2], after_each_task(make(), Joint(restart=False), speech)[2])
    assert not same(seen[2], after_each_task(make(), joint, speech)[2])
    assert len(cumulative.choose_data(list(speech))) == 112
    assert (cumulative.storage().bytes, cumulative.storage().clips) == (0, 112)
    assert joint.storage().bytes > 0


# CWR*.


def watched(method, seen):
    """The method, noting the head as it starts (cw or 0) and as it was trained (tw)."""

    class Watched(method):
        def begin_task(self, learning, task):
            super().begin_task(learning, task)
            seen.append({"start": head_of(learning.detector)})

        def end_task(self, learning, task):
            seen[-1] |= {"trained": head_of(learning.detector)}
            super().end_task(learning, task)

    return Watched


def head_of(detector) -> dict[str, np.ndarray]:
    head = detector.back_end.head
    return {n: p.detach().double().numpy().copy() for n, p in head.named_parameters()}


@pytest.mark.parametrize("body", ["frozen", "learns"])
def test_cwr_star_is_the_published_rule_written_out_class_by_class(body, animals):
    heads: list[dict] = []
    strategy = watched(CWRStar, heads)(body=body)
    done = [head_of(d.detector) for d in learn(make(ANIMALS), strategy, animals, training=TRAINING)]
    for part in ("weight", "bias"):
        consolidated = np.zeros_like(done[0][part])
        past = dict.fromkeys(ANIMALS, 0)
        for task, head, after in zip(animals, heads, done, strict=True):
            labels = [trial.label for trial in task.train]
            here = [j for j, name in enumerate(ANIMALS) if name in labels]
            rest = [j for j in range(6) if j not in here]
            assert np.abs(head["start"][part][here] - consolidated[here]).max() < 1e-7
            assert not head["start"][part][rest].any()
            average = np.mean([head["trained"][part][j] for j in here])
            for j in here:
                cur = labels.count(ANIMALS[j])
                wpast = np.sqrt(past[ANIMALS[j]] / cur)
                shifted = head["trained"][part][j] - average
                consolidated[j] = (consolidated[j] * wpast + shifted) / (wpast + 1)
                past[ANIMALS[j]] += cur
            assert np.abs(after[part] - consolidated).max() < 1e-6
    assert past == {"cat": 38, "cow": 20, "dog": 20, "eel": 10, "fox": 16, "hen": 16}
    assert strategy.storage().bytes == 8 * (6 * 8 + 6)
    trained = heads[2]["trained"]["weight"]
    assert np.abs(done[2]["weight"] - (trained - trained.mean())).max() > 1e-2  # not the latest alone


def test_with_the_same_classes_cwr_star_averages_the_heads_of_equal_tasks(speech):
    """w = sqrt(16 / 16) at the second task: the plain mean of two centred heads."""
    heads: list[dict] = []
    learning = learn(make(), watched(CWRStar, heads)(), speech, training=TRAINING)
    next(learning)
    second = head_of(next(learning).detector)["weight"]
    tws = [head["trained"]["weight"] for head in heads]
    assert np.abs(second - np.mean([tw - tw.mean() for tw in tws], 0)).max() < 1e-6


@pytest.mark.parametrize(("method", "changes"), [("frozen", False), ("learns", True)])
def test_a_frozen_body_stands_still_with_its_running_statistics(method, changes, toy_stream):
    detector = small_resnet()
    first, second = after_each_task(detector, CWRStar(body=method), toy_stream)
    body = [name for name in first if not name.startswith("back_end.head")]
    assert any("running_mean" in name for name in body)
    assert same({n: first[n] for n in body}, {n: second[n] for n in body}) is not changes
    assert not torch.equal(first["back_end.head.weight"], second["back_end.head.weight"])
    assert all(p.requires_grad for p in detector.parameters())


def test_without_the_hold_statistics_would_move(toy_stream):
    class Loose(CWRStar):
        def extend_batch(self, learning, batch):
            return batch

    first, second = after_each_task(small_resnet(), Loose(), toy_stream)
    moved = [name for name in first if not torch.equal(first[name], second[name])]
    assert any("running_mean" in name for name in moved)


# Streaming LDA.


def clusters(count=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return rng.normal(size=(count, 4)) @ rng.normal(size=(4, 4)) + 2 * labels[:, None], labels


def lda_of(rows, labels, *, published=False, block=7) -> StreamingLDA:
    lda = StreamingLDA(3, rows.shape[1], published=published)
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        lda.learn(torch.from_numpy(rows[part]), torch.from_numpy(labels[part]))
    return lda


def test_the_exact_covariance_is_the_pooled_one_in_any_order_and_any_blocks():
    rows, labels = clusters()
    means = np.stack([rows[labels == k].mean(0) for k in range(3)])
    pooled = sum((labels == k).sum() * np.cov(rows[labels == k].T, bias=True) for k in range(3))
    order = np.random.default_rng(1).permutation(len(rows))
    for lda in (
        lda_of(rows, labels),
        lda_of(rows[order], labels[order]),
        lda_of(rows, labels, block=1),
    ):
        assert np.abs(lda.mean.numpy() - means).max() < 1e-12
        assert np.abs(lda.scatter.numpy() - pooled).max() < 1e-10 * np.abs(pooled).max()
        assert lda.count.tolist() == np.bincount(labels).tolist()


def test_the_published_covariance_is_the_papers_recursion():
    rows, labels = clusters()
    sigma, mean, count = np.zeros((4, 4)), np.zeros((3, 4)), np.zeros(3)
    for t, (row, label) in enumerate(zip(rows, labels, strict=True)):
        gap = row - mean[label]
        delta = t * np.outer(gap, gap) / (t + 1)
        sigma = (t * sigma + delta) / (t + 1)
        mean[label] = (count[label] * mean[label] + row) / (count[label] + 1)
        count[label] += 1
    lda = lda_of(rows, labels, published=True)
    assert np.abs(lda.scatter.numpy() / len(rows) - sigma).max() < 1e-12 * len(rows)
    assert np.abs(lda.mean.numpy() - mean).max() < 1e-12
    order = np.random.default_rng(1).permutation(len(rows))
    other = lda_of(rows[order], labels[order], published=True)
    assert np.abs((other.mean - lda.mean).numpy()).max() < 1e-12
    assert np.abs((other.scatter - lda.scatter).numpy()).max() > 1  # its covariance knows the order
    assert np.abs(lda_of(rows, labels).scatter.numpy() / len(rows) - sigma).max() > 1e-2


def test_logits_are_log_densities_of_normals_that_share_a_covariance():
    rows, labels = clusters()
    lda = lda_of(rows, labels)
    weight, bias = (t.numpy() for t in lda.layer(0.05))
    sigma = 0.95 * lda.scatter.numpy() / len(rows) + 0.05 * np.eye(4)
    points = np.random.default_rng(2).normal(size=(9, 4)) * 3
    logits = points @ weight.T + bias
    densities = np.stack([multivariate_normal(m, sigma).logpdf(points) for m in lda.mean.numpy()], 1)
    expected = densities - densities[:, :1]
    assert np.abs(logits - logits[:, :1] - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("covariance", ["exact", "published"])
def test_slda_writes_the_discriminant_of_all_embeddings_into_the_head(covariance, animals):
    detector, strategy = make(ANIMALS), SLDA(shrinkage=0.01, covariance=covariance)
    rows, labels, last = [], [], None
    for done in learn(detector, strategy, animals, training=TRAINING):
        clips = Clips(done.task.train, kind="vector")
        with torch.no_grad():
            rows.append(detector(torch.from_numpy(load_vectors(done.task.train))).embedding.double())
        labels.append(clips.labels)
        body = {n: v for n, v in values(detector).items() if "head" not in n}
        assert last is None or same(body, last)
        last = body
        if covariance == "exact":
            x, y = torch.cat(rows).numpy(), np.concatenate(labels)
            seen = np.unique(y)
            means = np.stack([x[y == k].mean(0) for k in seen])
            around = x - means[np.searchsorted(seen, y)]
            sigma = 0.99 * around.T @ around / len(x) + 0.01 * np.eye(8)
            weight = means @ np.linalg.inv(sigma)
            bias = -0.5 * (means * weight).sum(1)
            head = head_of(detector)
            assert np.abs(head["weight"][seen] - weight).max() < 1e-4 * np.abs(weight).max()
            assert np.abs(head["bias"][seen] - bias).max() < 1e-4 * np.abs(bias).max()
            unseen = [k for k in range(6) if k not in seen]
            assert (head["bias"][unseen] == UNKNOWN).all()
            assert not head["weight"][unseen].any()
    assert strategy.storage().bytes == 8 * (6 * 8 + 6 + 64)
    assert strategy.storage().clips == 0


def test_slda_remembers_classes_that_naive_forgets(animals):
    right = {}
    for strategy in (Naive(), SLDA()):
        *_, done = learn(make(ANIMALS, hidden=(32,)), strategy, animals, training=TRAINING)
        right[type(strategy).__name__] = score(done.detector, animals[0].test).right.mean()
    assert right["SLDA"] > 0.8 > right["Naive"]


def test_slda_needs_a_bias(animals):
    detector = make(ANIMALS)
    detector.back_end.head.bias = None
    with pytest.raises(SettingsError, match="writes a bias into the detector's head"):
        next(learn(detector, SLDA(), animals, training=TRAINING))


# ELMA.


def dense(expert) -> dict[str, np.ndarray]:
    return {name: (b.double() @ a.double()).numpy() for name, (a, b) in expert.items()}


def by_hand(detector, expert, wave) -> np.ndarray:
    """An expert's class probabilities, from a copy of the detector whose weights are changed."""
    changed = copy.deepcopy(detector)
    changed.set_rule(None)
    with torch.no_grad():
        for name, update in dense(expert).items():
            weight = changed.get_parameter(f"{name}.weight")
            weight += torch.from_numpy(update).reshape(weight.shape).to(weight)
        logits = changed(wave).logits.double().numpy()
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


@pytest.mark.parametrize("kind", ["vectors", "audio"])
def test_all_experts_judge_and_the_confident_weigh_more(kind, speech, toy_stream):
    detector, stream = (make(), speech) if kind == "vectors" else (small_resnet(), toy_stream)
    strategy = ELMA(rank=2)
    states, rules = [], []
    training = Training(**{**vars(TRAINING), "later_learning_rate": 1.0})
    for done in learn(detector, strategy, stream, training=training):
        states.append(values(done.detector))
        rules.append(done.detector.rule)
    assert all(same(state, states[0]) for state in states)  # the base, running statistics included
    assert all(p.requires_grad for p in detector.parameters())
    assert rules[0] is None
    assert rules[-1].count == len(stream) - 1
    experts = strategy.state()["experts"]
    assert all(update.any() for e in experts for update in dense(e).values())
    wave = torch.randn(5, DIM) if kind == "vectors" else torch.randn(5, 8000)
    told = [by_hand(detector.eval(), expert, wave) for expert in ({}, *experts)]
    variance = np.stack([p.var(1) for p in told])
    share = variance / variance.sum(0)
    combined = sum(w[:, None] * p for w, p in zip(share, told, strict=True))
    with torch.no_grad():
        found = detector.judge(wave).logits.double().numpy()
    assert np.abs(found - np.log(combined)).max() < 2e-6 * max(1, np.abs(found).max())
    assert np.abs(np.exp(found) - np.mean(told, 0)).max() > 2e-5  # not the plain mean


def test_updates_are_learned_by_the_gradients_of_their_factors(speech):
    """The second task by hand in float64, for logistic regression: dA = B'G, dB = G A', momentum."""
    seen: list[tuple[np.ndarray, np.ndarray, float]] = []
    first: dict[str, np.ndarray] = {}

    class Watched(ELMA):
        def begin_task(self, learning, task):
            super().begin_task(learning, task)
            if learning.position:
                update = learning.detector.back_end.head.parametrizations.weight[0]
                first["a"] = update.a.detach().double().numpy().copy()

        def edit_gradients(self, learning, batch, output):
            if learning.position:
                seen.append((batch.wave.double().numpy(), batch.label.numpy(), learning.rate))

    back_end = {"name": "linear", "pooling": "mean"}
    detector = Detector.build({"name": "vectors", "dim": DIM}, back_end, seed=1)
    training = Training(**{**vars(TRAINING), "clip_norm": 0.0, "later_learning_rate": 0.5})
    strategy = Watched(rank=1)
    list(learn(detector, strategy, Stream(list(speech)[:2]), training=training))
    weight, bias = head_of(detector).values()
    a, b = first["a"], np.zeros((2, 1))
    assert 0.5 / np.sqrt(DIM) < np.abs(a).max() <= 1 / np.sqrt(DIM)
    speed = [np.zeros_like(a), np.zeros_like(b)]
    for wave, label, rate in seen:
        logits = wave @ (weight + b @ a).T + bias
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        g = (p - np.eye(2)[label]).T @ wave / len(wave)
        speed = [0.9 * v + slope for v, slope in zip(speed, (b.T @ g, g @ a.T), strict=True)]
        a, b = a - rate * speed[0], b - rate * speed[1]
    (expert,) = strategy.state()["experts"]
    found_a, found_b = (t.double().numpy() for t in expert["back_end.head"])
    assert len(seen) == 8
    assert np.abs(found_a - a).max() < 1e-6
    assert np.abs(found_b - b).max() < 1e-6
    assert np.abs(b).max() > 0.1


def random_expert(seed, rank=2):
    rng = np.random.default_rng(seed)
    shapes = {"one": (5, 7), "two": (2, 5), "narrow": (1, 9)}
    return {
        name: tuple(torch.from_numpy(rng.normal(size=s))
                    for s in ((min(rank, *shape), shape[1]), (shape[0], min(rank, *shape))))
        for name, shape in shapes.items()
    }  # fmt: skip


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_merged_expert_is_the_best_low_rank_mean(share):
    one, other = random_expert(0), random_expert(1)
    merged = merge(one, other, share)
    for name in one:
        mean = (1 - share) * dense(one)[name] + share * dense(other)[name]
        u, s, v = np.linalg.svd(mean, full_matrices=False)
        k = len(one[name][0])
        assert np.abs(dense(merged)[name] - u[:, :k] * s[:k] @ v[:k]).max() < 1e-12
        assert merged[name][0].shape == one[name][0].shape
        assert merged[name][1].shape == one[name][1].shape
    assert np.abs(dense(merged)["one"] - mean_of(one, other)["one"]).max() > 1e-2  # cut, not whole


def mean_of(one, other):
    return {name: (dense(one)[name] + dense(other)[name]) / 2 for name in one}


def test_cosine_is_that_of_the_whole_matrices():
    one, other = random_expert(0), random_expert(1)
    x, y = (np.concatenate([m.ravel() for m in dense(e).values()]) for e in (one, other))
    assert cosine(one, other) == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-12)
    assert cosine(one, one) == pytest.approx(1.0, abs=1e-12)
    nothing = {name: (a, torch.zeros_like(b)) for name, (a, b) in one.items()}
    assert cosine(one, nothing) == 0.0


def test_a_bounded_number_of_experts_merges_the_closest_and_keeps_its_size():
    one, far, close = random_expert(0), random_expert(1), random_expert(0)
    close["one"] = (1.1 * close["one"][0], close["one"][1])
    strategy = ELMA(rank=2, experts=2)
    strategy.load({"experts": [one, far, close], "tasks": [3, 1, 1]}, make())
    strategy._merge_closest()
    experts, tasks = strategy.state().values()
    assert tasks == [4, 1]
    expected = 0.75 * dense(one)["two"] + 0.25 * dense(close)["two"]
    assert np.abs(dense(experts[0])["two"] - expected).max() < 1e-12
    assert same_expert(experts[1], far)


def same_expert(one, other) -> bool:
    return all(torch.equal(x, y) for n in one for x, y in zip(one[n], other[n], strict=True))


def test_storage_counts_the_factors_and_is_bounded(speech):
    floats = 4 * (2 * (DIM + 8) + 2 * (8 + 2))  # A and B of two layers, rank 2
    for strategy, sizes in ((ELMA(rank=2), (0, 1, 2)), (ELMA(rank=2, experts=1), (0, 1, 1))):
        done = learn(make(), strategy, speech, training=TRAINING)
        assert [d.strategy.storage().bytes for d in done] == [n * floats for n in sizes]


@pytest.mark.parametrize("experts", [None, 1])
def test_a_killed_run_ends_with_the_same_experts(experts, speech, tmp_path):
    """The weights don't move after the first task, so the contract alone would see nothing."""

    def build():
        return ELMA(rank=2, experts=experts)

    class Killed(Exception):
        pass

    def kill_at(step):
        def on_step(record):
            if (record["position"], record["step"]) == step:
                raise Killed

        return on_step

    *_, whole = learn(make(), build(), speech, training=TRAINING)
    path = tmp_path / "run"
    for step in ((0, 3), (1, 2), (2, 0), (2, 6)):
        with pytest.raises(Killed):
            list(
                learn(
                    make(), build(), speech, training=TRAINING, checkpoint=path, on_step=kill_at(step)
                )
            )
    *_, resumed = learn(make(), build(), speech, training=TRAINING, checkpoint=path)
    assert resumed.detector.digest == whole.detector.digest
    first = next(learn(make(), build(), speech, training=TRAINING))
    assert first.detector.digest != whole.detector.digest
    again = next(learn(make(), build(), speech, training=TRAINING, checkpoint=path))
    assert again.detector.digest == whole.detector.digest  # finished: the rule comes from the state


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SLDA(shrinkage=0.0), "expected above 0"),
        (lambda: ELMA(rank=0), "rank >= 1"),
        (lambda: ELMA(experts=0), "experts >= 1"),
    ],
)
def test_impossible_settings_are_refused(build, message):
    with pytest.raises(SettingsError, match=message):
        build()


def test_a_layer_that_is_not_there_is_named_at_the_first_task(speech):
    with pytest.raises(SettingsError, match=r"'back_end\.tail' matches no layer"):
        next(learn(make(), ELMA(layers=("back_end.tail",)), speech, training=TRAINING))
