"""Every strategy keeps the shelf's contract; each acts as its definition says, on a small network."""

import numpy as np
import pytest
import torch

from earwitness import contracts
from earwitness.batches import Batch, Clips, random_for
from earwitness.detector import Detector
from earwitness.errors import RunError, SettingsError
from earwitness.losses import cross_entropy
from earwitness.strategies import STRATEGIES
from earwitness.strategies.base import Learning, Strategy, quiet
from earwitness.strategies.grouping import Grouping
from earwitness.strategies.projection import in_class_cosine_distance
from earwitness.strategies.protected import find_layers, listen
from earwitness.training import Training, learn

TRAINING = Training(
    epochs=2, batch_size=8, seconds=0.5, learning_rate=0.02, checkpoint_every=2, log_every=1
)
OTHER_FORMS = {
    "replay, reservoir": ("replay", {"balance": "none", "budget": 10}),
    "owm, every batch": ("owm", {"timing": "online_all", "alpha_decay": 0.1}),
    "owm, float32": ("owm", {"precision": "float32"}),
    "rwm, updates": ("rwm", {"project": "update", "bias": True}),
    "rwm, as released": (
        "rwm",
        {
            "timing": "online_t2",
            "layers": ("back_end.head",),
            "denominator": "official",
            "normalise_state": True,
            "complement": "official_solve",
        },
    ),
    "rwm, automatic groups": ("rwm", {"compact": "auto", "direction_norm": "spectral"}),
    "rawm, every batch": ("rawm", {"timing": "online_all"}),
    "lwf and owm, every batch": (
        "chain",
        {"parts": ({"name": "lwf"}, {"name": "owm", "timing": "online_all"})},
    ),
    "rawm, additive": ("rawm", {"regulariser": "additive", "eta": 0.3}),
    "joint, going on": ("joint", {"restart": False}),
}
# distil needs a file of lessons: tests/test_distill.py
FORMS = {name: (name, {}) for name in STRATEGIES.table if name != "distil"} | OTHER_FORMS


def make_detector(back_end: str = "mlp", **settings) -> Detector:
    settings = settings or {"hidden": (12,), "pooling": "attention"}
    return Detector.build({"name": "logmel", "bands": 16}, {"name": back_end, **settings}, seed=1)


def small_resnet() -> Detector:
    return make_detector("resnet", width=4, blocks=(1, 1))


@pytest.mark.parametrize("form", FORMS)
def test_resume_equals_uninterrupted_and_looking_is_inert(form, toy_stream, tmp_path):
    name, settings = FORMS[form]
    contracts.check_strategy(
        lambda: STRATEGIES.build(name, **settings), make_detector, toy_stream, tmp_path, TRAINING
    )


@pytest.mark.parametrize("name", ["naive", "owm", "rwm", "replay"])
def test_resume_with_batch_norm_and_convolutions(name, toy_stream, tmp_path):
    build = lambda: STRATEGIES.build(name)  # noqa: E731
    contracts.check_strategy(build, small_resnet, toy_stream, tmp_path, TRAINING)


@pytest.mark.parametrize("project", ["gradient", "update"])
@pytest.mark.parametrize("name", ["owm", "rawm", "rwm"])
def test_strength_zero_is_naive(name, project, toy_stream):
    contracts.check_strength_zero(
        lambda: STRATEGIES.build(name, strength=0.0, project=project),
        lambda: STRATEGIES.build("naive"),
        small_resnet,
        toy_stream,
        TRAINING,
    )


@pytest.mark.parametrize("settings", [{"share": 0.0}, {"budget": 0}])
def test_replay_of_nothing_is_naive(settings, toy_stream):
    contracts.check_strength_zero(
        lambda: STRATEGIES.build("replay", **settings),
        lambda: STRATEGIES.build("naive"),
        make_detector,
        toy_stream,
        TRAINING,
    )


class ForgetsItsState(Strategy):
    """Cheats: it counts steps, changes gradients by the count, and doesn't save it."""

    def __init__(self):
        self.count = 0

    def edit_gradients(self, learning, batch, output):
        self.count += 1
        for parameter in learning.detector.parameters():
            parameter.grad.mul_(1 / self.count)


class Eavesdrops(Strategy):
    """Cheats: what it does depends on the latest forward pass, even when somebody only looked."""

    def __init__(self):
        self.heard = [1.0, 1.0]

    def begin_task(self, learning, task):
        if len(self.heard) == 2:
            learning.detector.back_end.head.register_forward_hook(
                lambda m, i, output: self.heard.append(float(output.detach().abs().mean()))
            )

    def edit_gradients(self, learning, batch, output):
        for parameter in learning.detector.parameters():
            parameter.grad.mul_(self.heard[-2])


def test_the_contract_catches_a_strategy_that_hears_a_look(toy_stream, tmp_path):
    with pytest.raises(AssertionError, match="looking at the detector"):
        contracts.check_strategy(Eavesdrops, make_detector, toy_stream, tmp_path, TRAINING)


def test_the_contract_catches_a_strategy_that_forgets_its_state(toy_stream, tmp_path):
    with pytest.raises(AssertionError, match="other weights"):
        contracts.check_strategy(ForgetsItsState, make_detector, toy_stream, tmp_path, TRAINING)


def test_the_contract_catches_a_strength_zero_that_acts(toy_stream):
    with pytest.raises(AssertionError, match="strength 0"):
        contracts.check_strength_zero(
            lambda: STRATEGIES.build("owm"),
            lambda: STRATEGIES.build("naive"),
            make_detector,
            toy_stream,
            TRAINING,
        )


def test_quiet_restores_buffers_modes_and_random_state():
    detector = small_resnet().train()
    detector.back_end.stem.eval()
    before = {n: b.clone() for n, b in detector.named_buffers()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with quiet(detector):
        assert not detector.training
        detector.train()(torch.randn(3, 8000))
        torch.rand(5)
    assert torch.equal(torch.rand(1), expected)
    assert detector.training
    assert not detector.back_end.stem.training
    assert all(torch.equal(b, before[n]) for n, b in detector.named_buffers())


# What the projected family does to a network.


def learning_for(detector: Detector, stream, position: int = 1) -> Learning:
    clips = Clips(stream[0].train, seconds=0.5)

    def data():
        return clips.batches(8, np.random.default_rng(0))

    generator = torch.Generator().manual_seed(0)
    return Learning(detector, cross_entropy, generator, 0.5, position, data, batches=4)


def backward(detector: Detector, batch: Batch):
    output = detector(batch.wave, batch.length)
    detector.zero_grad()
    cross_entropy(output, batch).backward()
    return output


@pytest.mark.parametrize("detector", [make_detector(), small_resnet()], ids=["mlp", "resnet"])
def test_owm_gradients_are_g_p_of_each_layers_own_inputs(detector, toy_stream):
    """P rebuilt here from the definition: (I + sum r r' / alpha)^-1 over one pass's mean inputs."""
    strategy = STRATEGIES.build("owm", alpha=0.5)
    learning = learning_for(detector, toy_stream, 0)
    strategy.begin_task(learning, toy_stream[0])
    strategy.end_task(learning, toy_stream[0])
    information: dict[str, torch.Tensor] = {}
    layers = find_layers(detector, ("*",))
    detector.eval()
    for batch in learning.data():
        with torch.no_grad(), listen(layers, training_only=False) as heard:
            detector(batch.wave, batch.length)
        for name, rows in heard.items():
            start = torch.eye(rows.shape[1], dtype=torch.float64)
            rows = rows.double()  # noqa: PLW2901
            information[name] = information.get(name, start) + rows.T @ rows / 0.5
    learning = learning_for(detector, toy_stream, 1)
    strategy.begin_task(learning, toy_stream[1])
    batch = next(learning.data())
    output = backward(detector, batch)
    before = {layer.name: layer.gradient().double().clone() for layer in layers}
    strategy.edit_gradients(learning, batch, output)
    assert len(before) >= 3
    for layer in layers:
        expected = before[layer.name] @ torch.linalg.inv(information[layer.name])
        scale = float(before[layer.name].abs().max())
        torch.testing.assert_close(
            layer.gradient().double(), expected, atol=1e-6 * scale + 1e-12, rtol=1e-4
        )


def test_patches_of_a_convolution_reproduce_its_output(toy_stream):
    detector = small_resnet().eval()
    layers = [la for la in find_layers(detector, ("*",)) if "conv" in la.name]
    outputs: dict[str, torch.Tensor] = {}
    handles = [
        la.module.register_forward_hook(
            lambda m, i, o, n=la.name: outputs.__setitem__(n, o.detach().mean(0))
        )
        for la in layers
    ]
    with torch.no_grad(), listen(layers, training_only=False) as heard:
        detector(torch.randn(4, 8000))
    for handle in handles:
        handle.remove()
    assert len(layers) == 6
    for layer in layers:
        found = heard[layer.name] @ layer.weight().detach().T
        torch.testing.assert_close(found, outputs[layer.name].flatten(1).T, atol=1e-4, rtol=1e-4)


def test_first_task_is_free_and_old_outputs_move_less_with_owm(toy_stream):
    """SGD on projected gradients changes what old mean inputs evoke less than plain SGD does."""
    moved = {}
    for name in ("naive", "owm"):
        detector = make_detector("linear", pooling="statistics")
        strategy = STRATEGIES.build(name, **({"alpha": 1e-4, "bias": True} if name == "owm" else {}))
        outputs = []
        clips = Clips(toy_stream[0].train, seconds=0.5)
        batch = clips.batch(range(len(clips)))
        for done in learn(detector, strategy, toy_stream, training=TRAINING, seed=0):
            with torch.no_grad():
                outputs.append(done.detector(batch.wave, batch.length).logits.mean(0))
        moved[name] = float((outputs[1] - outputs[0]).norm())
    assert moved["owm"] < 0.1 * moved["naive"]


def test_bias_is_one_more_column(toy_stream):
    detector = make_detector()
    (layer,) = find_layers(detector, ("back_end.head",), bias=True)
    assert layer.dim == 13
    batch = next(learning_for(detector, toy_stream).data())
    with listen([layer], training_only=True) as heard:
        detector.train()
        backward(detector, batch)
    assert heard["back_end.head"][0, -1] == 1
    layer.set_gradient(torch.ones(2, 13) * 3)
    assert torch.equal(detector.back_end.head.bias.grad, torch.tensor([3.0, 3.0]))


def test_a_name_that_matches_nothing_lists_what_exists(toy_stream):
    strategy = STRATEGIES.build("owm", layers=["module.weight"])
    with pytest.raises(SettingsError, match=r"module\.weight.*matches no layer.*back_end\.head"):
        next(learn(make_detector(), strategy, toy_stream, training=TRAINING))


def test_a_strategy_that_changed_nothing_is_an_error(toy_stream):
    """Inputs of zero leave P the identity: OWM would be naive under another name."""
    detector = make_detector("linear", pooling="statistics")
    for parameter in detector.back_end.head.parameters():
        parameter.requires_grad_(False)
    extra = torch.nn.Parameter(torch.zeros(()))
    detector.register_parameter("idle", extra)
    strategy = STRATEGIES.build("owm")

    def criterion(output, batch):
        return cross_entropy(output, batch) + extra.square()

    with pytest.raises(RunError, match="turned no gradient"):
        list(learn(detector, strategy, toy_stream, training=TRAINING, criterion=criterion))


def test_a_change_of_length_alone_is_no_action(toy_stream):
    """RWM with a huge alpha leaves P the identity: it rescales gradients, and that is an error."""
    with pytest.raises(RunError, match="turned no gradient"):
        list(learn(make_detector(), STRATEGIES.build("rwm", alpha=1e30), toy_stream, training=TRAINING))


def test_looking_in_evaluation_mode_is_not_heard():
    detector = make_detector().eval()
    with listen(find_layers(detector, ("*",)), training_only=True) as heard:
        detector(torch.randn(2, 8000))
    assert heard == {}


def test_adam_with_projected_gradients_warns(toy_stream):
    training = Training(epochs=1, seconds=0.5, optimiser="adam", learning_rate=1e-3)
    with pytest.warns(UserWarning, match="project='update'"):
        next(learn(make_detector(), STRATEGIES.build("owm"), toy_stream, training=training))


def test_weight_decay_warns_too(toy_stream):
    training = Training(epochs=1, seconds=0.5, weight_decay=0.1, learning_rate=1e-3)
    with pytest.warns(UserWarning, match="weight decay takes updates out"):
        next(learn(make_detector(), STRATEGIES.build("owm"), toy_stream, training=training))


def test_action_is_reported_with_every_step_after_the_first_task(toy_stream):
    records = []
    strategy = STRATEGIES.build("rwm")
    list(learn(make_detector(), strategy, toy_stream, training=TRAINING, on_step=records.append))
    later = [r for r in records if r["task"] == "high"]
    assert len(later) == 8
    assert [r for r in records if r["task"] == "low" and r["action"]] == []
    for record in later:
        names = {entry["layer"] for entry in record["action"]}
        assert names == {"back_end.pooling.attention", "back_end.layers.0", "back_end.head"}
        for entry in record["action"]:
            assert entry["gradient_ratio"] > 0
            assert 0 <= entry["old_input_ratio"] < 1
            assert 0 < entry["rank_energy"] < 1
            assert 0 <= entry["beta"] <= 100


def test_automatic_groups_follow_the_in_class_cosine_distance():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(3, 0.3, (40, 5)), rng.normal(0, 1, (40, 5))])
    labels = torch.tensor([0] * 40 + [1] * 40)
    tensor = torch.from_numpy(features)
    grouping = Grouping("auto")
    grouping.bind(("bonafide", "spoof"))
    for part in (slice(0, None, 2), slice(1, None, 2)):  # two tasks, pooled
        grouping.observe(tensor[part], labels[part])
    grouping.settle()
    assert grouping.table.tolist() == [True, False]
    distance = in_class_cosine_distance(tensor, labels)
    assert distance[0] < distance.mean() < distance[1]


def test_presets_and_tables():
    grouping = Grouping(("spoof",))
    grouping.bind(("bonafide", "spoof"))
    assert grouping.table.tolist() == [False, True]
    with pytest.raises(SettingsError, match="did you mean 'genuine-fake'"):
        Grouping("genuine-fakes")
    with pytest.raises(SettingsError, match="'baseball' is not a class"):
        Grouping("clear10-rwm").bind(("bonafide", "spoof"))


# Replay's memory.


@pytest.mark.parametrize(
    ("balance", "groups"), [("none", 1), ("class", 2), ("task", 2), ("class-task", 4)]
)
def test_memory_keeps_its_budget_and_its_balance(balance, groups, toy_stream):
    strategy = STRATEGIES.build("replay", budget=12, balance=balance)
    list(learn(make_detector(), strategy, toy_stream, training=TRAINING))
    memory = strategy.state()["memory"]
    assert len(memory["columns"]["wave"]) == strategy.storage().clips == 12
    assert strategy.storage().keeps_audio
    counts = [len(places) for places in memory["places"].values()]
    assert len(counts) == groups
    assert set(counts) == {12 // groups}
    assert len(set(memory["ids"])) == 12


def test_a_budget_too_small_for_its_groups_is_an_error(toy_stream):
    strategy = STRATEGIES.build("replay", budget=3)
    with pytest.raises(RunError, match="can't hold one of each of 4 groups"):
        list(learn(make_detector(), strategy, toy_stream, training=TRAINING))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("owm", {"alpha_decay": 0.0}),
        ("owm", {"positions": 0}),
        ("rwm", {"beta_max": -1.0}),
        ("rawm", {"temperature": 0.0}),
        ("rawm", {"regulariser": "additive", "eta": -1.0}),
        ("replay", {"budget": -1}),
    ],
)
def test_impossible_settings_are_refused(name, settings):
    with pytest.raises(SettingsError, match="expected"):
        STRATEGIES.build(name, **settings)


def test_reservoir_keeps_every_clip_equally_often():
    from earwitness.strategies.memory import groups_of
    from earwitness.strategies.replay import Replay

    times = np.zeros(20)
    rounds = 400
    wave = torch.zeros(20, 4)
    batch = Batch(
        wave, torch.full((20,), 4), torch.zeros(20, dtype=torch.long), tuple(map(str, range(20)))
    )
    for seed in range(rounds):
        replay = Replay(budget=5, balance="none")
        generator = torch.Generator().manual_seed(seed)
        replay.policy.offer(batch, groups_of(batch, "task", "none"), generator)
        times[[int(i) for i in replay.memory.ids]] += 1
    expected, deviation = rounds / 4, (rounds * 0.25 * 0.75) ** 0.5
    assert times.sum() == 5 * rounds
    assert np.abs(times - expected).max() < 4 * deviation


def test_joint_sees_all_data_and_starts_again(toy_stream):
    strategy = STRATEGIES.build("joint")
    seen = strategy.choose_data(list(toy_stream))
    assert len(seen) == sum(len(task.train) for task in toy_stream) == 64
    detector = make_detector()
    first = {n: v.clone() for n, v in detector.state_dict().items()}
    strategy.begin_task(learning_for(detector, toy_stream, 0), toy_stream[0])
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(1)
    strategy.begin_task(learning_for(detector, toy_stream, 1), toy_stream[1])
    assert all(torch.equal(v, first[n]) for n, v in detector.state_dict().items())


# P from samples.


def test_p_of_samples_is_the_ridge_of_their_second_moments(toy_stream):
    """P = (I + S/alpha)^-1, S = sum over batches of the mean of x x', by numpy from the raw inputs."""
    detector = make_detector("mlp", hidden=(6,), pooling="statistics")
    strategy = STRATEGIES.build("owm_s", alpha=0.3)
    done = next(learn(detector, strategy, toy_stream, training=TRAINING, seed=4))
    kept = strategy.state()["projectors"]["back_end.head"]["p"].numpy()
    inputs = []
    layer = detector.back_end.head
    handle = layer.register_forward_pre_hook(lambda module, given: inputs.append(given[0].numpy()))
    clips = Clips(done.task.train, seconds=TRAINING.seconds)
    with torch.no_grad():
        for batch in clips.batches(TRAINING.batch_size, random_for(4, 0, 1)):  # the pass of the task
            detector(batch.wave, batch.length)
    handle.remove()
    rows = [np.concatenate([x, np.ones((len(x), 1))], 1).astype(np.float64) for x in inputs]
    moment = sum(x.T @ x / len(x) for x in rows)
    expected = np.linalg.inv(np.eye(len(moment)) + moment / 0.3)
    assert np.abs(kept - expected).max() < 1e-6
    means = sum(np.outer(x.mean(0), x.mean(0)) for x in rows)
    assert np.abs(kept - np.linalg.inv(np.eye(len(means)) + means / 0.3)).max() > 1e-3  # not OWM's


@pytest.mark.parametrize("other", ["derpp", "gem", "lwf", "agem"])
def test_p_hears_the_steps_batch_and_no_memory(other, toy_stream):
    """Other strategies of a chain look at memories in training mode; P must not learn those."""
    parts = ({"name": "owm", "timing": "online_all"}, {"name": other})
    strategy = STRATEGIES.build("chain", parts=parts)
    heard, inputs = [], []

    class Noting(type(strategy)):
        def extend_batch(self, learning, batch):
            inputs.append(super().extend_batch(learning, batch))
            return inputs[-1]

        def edit_gradients(self, learning, batch, output):
            rows = self.strategies[0]._heard["back_end.layers.0"]
            with quiet(learning.detector) as detector:
                frames = detector.front_end(batch.wave, batch.length)
                pooled = detector.back_end.pooling(frames.values, frames.length)
            heard.append((rows, pooled.mean(0)))
            super().edit_gradients(learning, batch, output)

    strategy.__class__ = Noting
    list(learn(make_detector(), strategy, toy_stream, training=TRAINING))
    for rows, expected in heard:
        assert torch.allclose(rows[0], expected, atol=1e-5)
    assert max(float(expected.norm()) for _, expected in heard) > 0.01  # and not all of them nothing
