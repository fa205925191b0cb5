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
    with pytest.raises(CheckpointError, match="strategy was"):
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
