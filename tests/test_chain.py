"""Chains: one part is that part, verbs go in order, what can't be put together is refused."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from test_isolation import (
    ANIMALS,
    CLASSES,
    TRAINING,
    head_of,
    make,
    small_resnet,
    stream_of,
    values,
)

from earwitness import contracts
from earwitness.batches import join_batches
from earwitness.errors import SettingsError
from earwitness.rules import RULES
from earwitness.strategies import STRATEGIES
from earwitness.strategies.base import Storage, Strategy
from earwitness.strategies.chain import Chain
from earwitness.strategies.naive import Naive
from earwitness.streams import Stream
from earwitness.training import learn

MINE = {
    "chain": "chain:Chain",
    "cumulative": "joint:Cumulative",
    "cwr_star": "cwr_star:CWRStar",
    "elma": "elma:ELMA",
    "frozen": "frozen:Frozen",
    "slda": "slda:SLDA",
}
PARTS = {
    "replay": {"budget": 20},
    "joint": {},
    "owm": {},
    "rwm": {"project": "update"},
    "ewc": {},
    "si": {},
    "cwr_star": {},
    "elma": {"rank": 2},
    "frozen": {},
    "slda": {},
}
AR1 = ({"name": "cwr_star", "body": "learns"}, {"name": "si"})
FORMS = {
    "memory and projection": ({"name": "replay", "budget": 20}, {"name": "rwm"}),
    "ar1": AR1,
    "restart, copies and anchor": ({"name": "joint"}, {"name": "cwr_star"}, {"name": "ewc"}),
    "two memories": ({"name": "replay", "budget": 8}, {"name": "replay", "budget": 12, "share": 0.5}),
    "memory and experts": ({"name": "replay", "budget": 20}, {"name": "elma", "experts": 1}),
    "memory, anchor and updates": (
        {"name": "replay", "budget": 20},
        {"name": "ewc", "strength": 3.0},
        {"name": "owm", "project": "update"},
    ),
}


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Stream:
    tasks = [dict.fromkeys(CLASSES, 16)] * 3
    return stream_of(tmp_path_factory.mktemp("speech"), CLASSES, tasks)


@pytest.fixture(autouse=True)
def shelved(monkeypatch):
    monkeypatch.setitem(RULES.table, "experts", "experts:Experts")
    for name, place in MINE.items():
        monkeypatch.setitem(STRATEGIES.table, name, place)


def digests(strategy, stream, make_detector=make) -> list[str]:
    learning = learn(make_detector(), strategy, stream, training=TRAINING, seed=4)
    return [done.detector.digest for done in learning]


@pytest.mark.parametrize("name", PARTS)
def test_a_chain_of_one_or_with_naive_is_that_part_to_the_bit(name, speech):
    part = {"name": name, **PARTS[name]}
    alone = digests(STRATEGIES.build(**part), speech)
    assert digests(Chain(parts=(part,)), speech) == alone
    assert digests(Chain(parts=({"name": "naive"}, part)), speech) == alone
    assert digests(Chain(parts=(part, {"name": "naive"})), speech) == alone
    assert digests(Chain(parts=({"name": "chain", "parts": (part,)},)), speech) == alone
    assert digests(Naive(), speech) != alone


@pytest.mark.parametrize("form", FORMS)
def test_resume_equals_uninterrupted_and_looking_is_inert(form, speech, tmp_path):
    contracts.check_strategy(lambda: Chain(parts=FORMS[form]), make, speech, tmp_path, TRAINING)


@pytest.mark.parametrize("form", ["memory and projection", "ar1", "memory and experts"])
def test_resume_with_batch_norm_and_convolutions(form, toy_stream, tmp_path):
    contracts.check_strategy(
        lambda: Chain(parts=FORMS[form]), small_resnet, toy_stream, tmp_path, TRAINING
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_part_of_a_chain_acts(form, speech):
    whole = digests(Chain(parts=FORMS[form]), speech)[-1]
    for number in range(len(FORMS[form])):
        rest = FORMS[form][:number] + FORMS[form][number + 1 :]
        assert digests(Chain(parts=rest), speech)[-1] != whole


# What is done in which order, told by parts that write it down.


class Tells(Strategy):
    """Writes down each verb, and what it was given, under a letter of its own."""

    log: ClassVar[list] = []

    def __init__(self, *, letter: str = "a", amount: float = 0.0):
        self.letter, self.amount = letter, amount

    def _tell(self, verb, *what):
        self.log.append((verb, self.letter, *what))

    def begin_task(self, learning, task):
        self._tell("begin_task")

    def extend_batch(self, learning, batch):
        self._tell("extend_batch", len(batch))
        return join_batches(batch, batch)

    def penalty(self, learning, batch, output):
        self._tell("penalty", len(batch), len(output.logits))
        return output.logits.sum() * 0 + self.amount if self.amount else None

    def edit_gradients(self, learning, batch, output):
        gradient = learning.detector.back_end.head.bias.grad
        self._tell("edit_gradients", gradient.clone())
        gradient.mul_(2).add_(1)

    def after_step(self, learning):
        self._tell("after_step")

    def end_task(self, learning, task):
        self._tell("end_task")

    def check_optimiser(self, optimiser, weight_decay):
        self._tell("check_optimiser", optimiser)

    def state(self):
        return {"letter": self.letter}

    def load(self, state, detector):
        self._tell("load", state["letter"])

    def storage(self):
        return Storage(bytes=int(self.amount), clips=1, keeps_audio=self.letter == "b")

    def action(self):
        return [{"layer": self.letter}]


class Own(Strategy):
    """Has its own data, objective and rule."""

    def choose_data(self, seen):
        return seen[0].train

    def objective(self, learning, batch, output):
        return output.logits.square().mean()

    def rule(self):
        return RULES.build("affine", classes=2)


class Data(Strategy):
    def choose_data(self, seen):
        return seen[-1].train


class Objective(Strategy):
    def objective(self, learning, batch, output):
        return learning.criterion(output, batch)


class Ruled(Strategy):
    def rule(self):
        return None


@pytest.fixture
def telling(monkeypatch):
    import earwitness.strategies.naive as place

    for kind in (Tells, Own, Data, Objective, Ruled):
        monkeypatch.setattr(place, kind.__name__, kind, raising=False)
        monkeypatch.setitem(STRATEGIES.table, kind.__name__.lower(), f"naive:{kind.__name__}")
    monkeypatch.setattr(Tells, "log", [])
    return Tells.log


def test_verbs_go_through_the_parts_in_their_order(telling, speech):
    parts = ({"name": "tells", "letter": "a", "amount": 2.0}, {"name": "tells", "letter": "b"},
             {"name": "tells", "letter": "c", "amount": 5.0})  # fmt: skip
    chain = Chain(parts=parts)
    records: list = []
    list(learn(make(), chain, Stream([speech[0]]), training=TRAINING, on_step=records.append))
    verbs = [entry[0] for entry in telling]
    assert [entry[1] for entry in telling] == ["a", "b", "c"] * (len(telling) // 3)
    step = ["extend_batch", "penalty", "edit_gradients", "after_step"]
    assert verbs[::3] == ["check_optimiser", "begin_task", *(step * 8), "end_task"]
    assert [e[2] for e in telling if e[0] == "extend_batch"][:3] == [8, 16, 32]
    assert [e[2:] for e in telling if e[0] == "penalty"][:3] == [(64, 64)] * 3
    first, second, third = [e[2] for e in telling if e[0] == "edit_gradients"][:3]
    assert torch.equal(second, 2 * first + 1)
    assert torch.equal(third, 2 * second + 1)
    assert records[0]["action"] == [{"layer": "a"}, {"layer": "b"}, {"layer": "c"}]
    assert chain.storage() == Storage(bytes=7, clips=3, keeps_audio=True)
    del telling[:]
    chain.load(chain.state(), make())
    assert telling == [("load", letter, letter) for letter in "abc"]


def test_penalties_are_added(telling, speech):
    losses = {}
    for amounts in ((0.0, 0.0), (2.0, 0.0), (2.0, 5.0)):
        parts = tuple({"name": "tells", "amount": amount} for amount in amounts)
        records: list = []
        list(learn(make(), Chain(parts=parts), Stream([speech[0]]), training=TRAINING,
                   on_step=records.append))  # fmt: skip
        losses[sum(amounts)] = records[0]["loss"]
    assert losses[2.0] - losses[0.0] == pytest.approx(2.0, abs=1e-6)
    assert losses[7.0] - losses[0.0] == pytest.approx(7.0, abs=1e-6)


def test_the_one_part_with_its_own_answer_gives_it(telling, speech):
    for parts in (({"name": "own"}, {"name": "si"}), ({"name": "naive"}, {"name": "own"})):
        chain = Chain(parts=parts)
        assert chain.choose_data(list(speech)) is speech[0].train
        assert chain.rule().scale.tolist() == [1.0, 1.0]
        records: list = []
        detector = make()
        next(learn(detector, chain, speech, training=TRAINING, on_step=records.append))
        assert records[-1]["loss"] < 0.05 < records[0]["loss"]
        assert detector.rule is not None


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("own", "data"), "Own and Data each have a choose_data of their own"),
        (("joint", "frozen"), "Joint and Frozen each have a choose_data"),
        (("objective", "naive", "own"), "Objective and Own each have a objective"),
        (("elma", "ruled"), "ELMA and Ruled each have a rule"),
    ],
)
def test_what_only_one_can_decide_is_refused_to_two(parts, message, telling):
    with pytest.raises(SettingsError, match=message):
        Chain(parts=tuple({"name": name} for name in parts))


HOLDING = (
    *("lwf", "dfwf", "ewc", "ewc_online", "si", "mas", "owm", "owm_s", "rawm", "rwm", "gpm", "sgp"),
    *("adam_nscl", "gem", "agem", "rego", "cwr_star"),
)
MEMORY_ONLY = ("gdumb", "gdumb_finetune", "reservoir")
RESTARTING = ({"name": "gdumb"}, {"name": "reservoir", "restart": True})


def refused(one, other) -> str:
    """What both orders of two parts are refused with; each part alone is not."""
    pair = [part if isinstance(part, dict) else {"name": part} for part in (one, other)]
    names = sorted(type(STRATEGIES.build(**part)).__name__ for part in pair)
    messages = []
    for parts in (pair, pair[::-1]):
        with pytest.raises(SettingsError) as error:
            Chain(parts=tuple(parts))
        messages.append(str(error.value))
        assert all(name in messages[-1] for name in names)
    return messages[0]


@pytest.mark.parametrize("name", HOLDING)
def test_what_is_about_the_weights_is_refused_beside_elma_and_after_frozen(name):
    assert "which stand still" in refused("elma", name)
    assert "nothing to act on" in refused("frozen", name)
    assert "nothing to act on" in refused("slda", name)


@pytest.mark.parametrize("name", ["icarl", "bic", "cope", "slda", "frozen", "joint"])
def test_elma_is_refused_beside_other_rules_bounds_and_restarts(name):
    assert "ELMA" in refused("elma", name)


@pytest.mark.parametrize("part", RESTARTING, ids=lambda part: part["name"])
def test_a_restart_is_refused_where_it_undoes_the_other_part(part):
    assert "puts back to the first ones" in refused("elma", part)
    assert "doesn't train them again" in refused("frozen", part)
    assert "doesn't train them again" in refused("slda", part)


@pytest.mark.parametrize("name", MEMORY_ONLY)
@pytest.mark.parametrize("other", ["replay", "replay_biased", "der", "derpp", "icarl", "cope"])
def test_what_trains_on_its_memory_alone_is_refused_beside_a_replay(name, other):
    assert "in place of the batch" in refused(name, other)


def test_two_that_train_on_their_memories_alone_are_refused():
    assert "in place of the batch" in refused("gdumb_finetune", "reservoir")


@pytest.mark.parametrize(
    "name", ["replay", "replay_biased", "der", "derpp", "gdumb_finetune", "reservoir"]
)
def test_elma_goes_with_memories_that_don_t_restart(name, speech):
    for other in ({"name": name, "budget": 20}, {"name": "cumulative"}):
        parts = (other, {"name": "elma", "rank": 2})
        ends = [digests(Chain(parts=some), speech)[-1] for some in (parts, parts[:1], parts[1:])]
        assert len(set(ends)) == 3


@pytest.mark.parametrize(
    "parts",
    [
        ("gdumb", "ewc"),
        ("gdumb_finetune", "owm"),
        ("reservoir", "lwf"),
        ("joint", "si"),
        ("cumulative", "gdumb"),
        ("icarl", "slda"),
        ("lwf", "ewc", "rwm"),
        ("replay", "replay_biased", "gem"),
    ],
)
def test_parts_that_don_t_undo_one_another_are_not_refused(parts):
    assert len(Chain(parts=tuple({"name": name} for name in parts)).strategies) == len(parts)


def test_a_chain_decides_by_rule_if_a_part_does():
    def decides(*names):
        return Chain(parts=tuple({"name": name} for name in names)).decides_by_rule

    assert decides("replay", "elma")
    assert decides("icarl")
    assert not decides("replay", "owm")
    nested = {"name": "chain", "parts": [{"name": "cope"}]}
    assert Chain(parts=({"name": "naive"}, nested)).decides_by_rule


def tensors_in(state) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return [tensor for part in inner for tensor in tensors_in(part)]


@pytest.mark.parametrize("part", [{"name": "si"}, {"name": "owm", "timing": "online_all"}])
def test_what_loads_a_state_does_not_change_the_one_who_gave_it(part, speech):
    """``one`` stops within a task; ``two`` takes up its state and makes a step of its own."""
    one, two = (STRATEGIES.build(**part) for _ in range(2))
    given: dict = {}
    detector = make()

    class Takes(Naive):
        """From the second step on, everything that ``two`` does."""

        def edit_gradients(self, learning, batch, output):
            if not given:
                one.edit_gradients(learning, batch, output)
                one.after_step(learning)
                given["state"] = one.state()
                given["before"] = [tensor.clone() for tensor in tensors_in(given["state"])]
                two.load(given["state"], learning.detector)
            two.edit_gradients(learning, batch, output)

        def begin_task(self, learning, task):
            one.begin_task(learning, task)
            two.begin_task(learning, task)

        def after_step(self, learning):
            two.after_step(learning)

    next(learn(detector, Takes(), Stream([speech[0]]), training=TRAINING))
    assert len(given["before"]) > 1
    assert all(map(torch.equal, given["before"], tensors_in(given["state"])))
    assert not all(map(torch.equal, given["before"], tensors_in(two.state())))


def test_a_part_that_is_no_strategy_is_refused():
    with pytest.raises(SettingsError, match="at least one part"):
        Chain(parts=())
    with pytest.raises(SettingsError, match="each part needs the name"):
        Chain(parts=({"budget": 3},))
    with pytest.raises(SettingsError, match="no strategy is called 'reply'.*'replay'"):
        Chain(parts=({"name": "reply"},))
    with pytest.raises(SettingsError, match="'replay' has no setting 'bugdet'"):
        Chain(parts=({"name": "replay", "bugdet": 3},))
    with pytest.raises(SettingsError, match="parts is"):
        STRATEGIES.build("chain", parts="replay")


def test_a_nested_chain_is_laid_flat():
    inner = {"name": "chain", "parts": [{"name": "replay"}, {"name": "owm"}]}
    chain = Chain(parts=(inner, {"name": "si"}))
    assert [type(part).__name__ for part in chain.strategies] == ["Replay", "OWM", "SI"]
    with pytest.raises(SettingsError, match="Joint and Frozen"):
        Chain(parts=({"name": "chain", "parts": [{"name": "joint"}]}, {"name": "frozen"}))


def test_the_parts_are_part_of_what_a_checkpoint_belongs_to(speech, tmp_path):
    from earwitness.errors import CheckpointError

    path = tmp_path / "run"
    build = lambda budget: STRATEGIES.build("chain", parts=[{"name": "replay", "budget": budget}])  # noqa: E731
    next(learn(make(), build(9), speech, training=TRAINING, checkpoint=path))
    with pytest.raises(CheckpointError, match=r"strategy\.parts was"):
        next(learn(make(), build(10), speech, training=TRAINING, checkpoint=path))
    assert len(list(learn(make(), build(9), speech, training=TRAINING, checkpoint=path))) == 3


# AR1.


def test_ar1_consolidates_the_head_and_holds_the_body(tmp_path):
    tasks = [{"cat": 16, "cow": 16}, {"dog": 16, "eel": 16}, {"fox": 16, "hen": 16}]
    stream = stream_of(tmp_path, ANIMALS, tasks)
    moved = {}
    for name, strength in (("free", 0.0), ("held", 1e4)):
        parts = (AR1[0], {"name": "si", "strength": strength})
        seen = [
            (values(done.detector), head_of(done.detector)["weight"])
            for done in learn(make(ANIMALS), Chain(parts=parts), stream, training=TRAINING)
        ]
        (first, head), (last, final) = seen[0], seen[-1]
        body = "back_end.layers.0.weight"
        moved[name] = float((last[body] - first[body]).norm())
        assert np.array_equal(head[:2], final[:2])  # cats and cows are as their task left them
        assert final[2:].any(1).all()
    assert moved["held"] < 0.5 * moved["free"]
    free = Chain(parts=(AR1[0], {"name": "si", "strength": 0.0}))
    copies = Chain(parts=(AR1[0],))
    assert digests(free, stream, lambda: make(ANIMALS)) == digests(
        copies, stream, lambda: make(ANIMALS)
    )


def test_ar1_without_the_chain_is_another_thing(speech):
    ends = [digests(Chain(parts=parts), speech)[-1] for parts in (AR1, AR1[:1], AR1[1:], AR1[::-1])]
    assert len(set(ends)) == 4
