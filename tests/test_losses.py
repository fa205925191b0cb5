"""Losses against their formulas in float64, their heads, and learning with them."""

from dataclasses import replace
from math import exp, log

import pytest
import torch
from torch import nn

from earwitness import Detector, Training
from earwitness.backends._heads import CosineHead, OneClassHead, head_kind
from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Windows
from earwitness.errors import SettingsError
from earwitness.losses import LOSSES, cross_entropy, plain_cross_entropy
from earwitness.strategies import STRATEGIES
from earwitness.strategies.flat import rows_of
from earwitness.training import learn

LOGITS = [[2.0, -1.0], [0.3, 0.4], [-1.5, 0.5], [0.1, -0.2], [0.0, 3.0]]
LABELS = [0, 0, 1, 1, 1]


def batch_of(logits: list, labels: list) -> tuple[Output, Batch]:
    n = len(labels)
    values = torch.tensor(logits, dtype=torch.float64)
    batch = Batch(torch.zeros(n, 1), torch.ones(n), torch.tensor(labels), tuple(map(str, range(n))))
    return Output(values, torch.zeros(n, 1)), batch


def softmax(row: list, at: int) -> float:
    return exp(row[at]) / sum(map(exp, row))


def margin(row: list, y: int) -> float:
    moved = [20 * (value - (0.9 if at == y else 0)) for at, value in enumerate(row)]
    return -log(softmax(moved, y))


def one_class(row: list, y: int) -> float:
    return log(1 + exp(20 * ((0.9, 0.2)[y] - row[0]) * (-1) ** y))


def binary(row: list, y: int) -> float:
    chances = [1 / (1 + exp(-value)) for value in row]
    return -sum(log(p if at == y else 1 - p) for at, p in enumerate(chances)) / 2


WRITTEN = {
    "cross_entropy": lambda row, y: -log(softmax(row, y)),
    "binary_cross_entropy": binary,
    "focal": lambda row, y: -((1 - softmax(row, y)) ** 2) * log(softmax(row, y)),
    "am_softmax": margin,
    "oc_softmax": one_class,
}


@pytest.mark.parametrize("name", LOSSES.table)
def test_a_loss_is_its_formula(name) -> None:
    each = [WRITTEN[name](row, y) for row, y in zip(LOGITS, LABELS, strict=True)]
    both = batch_of(LOGITS, LABELS)
    expected = {
        "none": sum(each) / 5,
        "batch": (sum(each[:2]) / 2 + sum(each[2:]) / 3) / 2,
        (0.9, 0.1): (0.9 * sum(each[:2]) + 0.1 * sum(each[2:])) / (2 * 0.9 + 3 * 0.1),
    }
    for weights, value in expected.items():
        found = LOSSES.build(name, weights=weights)(*both)
        assert float(found) == pytest.approx(value, abs=1e-12)
    with pytest.raises(SettingsError, match="one above 0 for each of 2"):
        LOSSES.build(name, weights=(1.0, 1.0, 1.0))(*both)


@pytest.mark.parametrize("name", LOSSES.table)
@pytest.mark.parametrize("weights", ["none", "batch", (0.9, 0.1)])
def test_the_losses_of_the_parts_are_that_of_the_whole(name, weights) -> None:
    loss = LOSSES.build(name, weights=weights)
    output, batch = batch_of(LOGITS, LABELS)
    total = 0.0
    for rows in (torch.tensor([0, 3]), torch.tensor([2, 4]), torch.tensor([1])):
        part = replace(rows_of(batch, rows), whole=batch.label)
        total += float(loss(Output(output.logits[rows], output.embedding[rows]), part)) * len(rows) / 5
    assert total == pytest.approx(float(loss(output, batch)), abs=1e-12)


def test_the_old_names_are_the_same() -> None:
    both = batch_of(LOGITS, LABELS)
    assert torch.equal(cross_entropy(*both), LOSSES.build("cross_entropy")(*both))
    assert float(plain_cross_entropy(*both)) == pytest.approx(
        float(LOSSES.build("cross_entropy", weights="none")(*both)), abs=1e-15
    )
    assert torch.allclose(LOSSES.build("focal", gamma=0)(*both), cross_entropy(*both))


def test_heads() -> None:
    torch.manual_seed(0)
    embedding = torch.randn(3, 5)
    cosine, one = CosineHead(5, 2), OneClassHead(5, 2)
    expected = nn.functional.cosine_similarity(embedding[:, None], cosine.weight[None], dim=2)
    torch.testing.assert_close(cosine(embedding), expected)
    torch.testing.assert_close(cosine(7 * embedding), expected)
    assert one(embedding)[:, 1].tolist() == [0, 0, 0]
    assert [head_kind(h) for h in (cosine, one, nn.Linear(2, 2))] == ["cosine", "one-class", "linear"]
    with pytest.raises(SettingsError, match="not 3 classes"):
        OneClassHead(5, 3)


@pytest.mark.parametrize(("loss", "head"), [("am_softmax", "cosine"), ("oc_softmax", "one-class")])
def test_a_detector_learns_with_margins(loss, head, toy_stream, tmp_path) -> None:
    back_end = {"name": "mlp", "hidden": (8,), "head": head}
    detector = Detector.build("logmel", back_end, windows=Windows(0.5, 0.5))
    losses: list[float] = []
    training = Training(
        epochs=6, batch_size=8, seconds=0.5, loss=loss, learning_rate=0.003, schedule="constant"
    )
    for done in learn(
        detector,
        STRATEGIES.build("naive"),
        toy_stream,
        training=training,
        on_step=lambda r: losses.append(r["loss"]),
    ):
        if done.position == 0:
            break
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    detector.eval().save(tmp_path / "d")
    loaded = Detector.load(tmp_path / "d")
    wave = torch.randn(2, 8000)
    assert torch.equal(loaded(wave).score, detector(wave).score)
    assert loaded(wave).score.abs().max() <= 2


def test_wrong_losses_and_heads(toy_stream) -> None:
    with pytest.raises(SettingsError, match="did you mean 'focal'"):
        Training(loss="fokal")
    with pytest.raises(SettingsError, match="a table with a name"):
        Training(loss={"gamma": 1})
    for name, settings in {
        "focal": {"gamma": -1}, "am_softmax": {"scale": 0}, "oc_softmax": {"scale": 0},
        "cross_entropy": {"smoothing": 1.0},
    }.items():  # fmt: skip
        with pytest.raises(SettingsError, match=name):
            LOSSES.build(name, **settings)
    with pytest.raises(SettingsError, match="did you mean 'cosine'"):
        Detector.build("logmel", {"name": "linear", "head": "cosin"})
    detector = Detector.build("logmel", "linear", windows=Windows(0.5, 0.5))
    with pytest.raises(SettingsError, match="set head = 'cosine'"):
        list(
            learn(
                detector, STRATEGIES.build("naive"), toy_stream,
                training=Training(loss="am_softmax", seconds=0.5),
            )
        )  # fmt: skip
