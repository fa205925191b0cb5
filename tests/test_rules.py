"""Decision rules: by hand in numpy, clip by clip, saved with their detector, told by its digest."""

import numpy as np
import pytest
import torch

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import CheckpointError
from earwitness.rules import RULES
from earwitness.rules.affine import Affine
from earwitness.rules.base import UNKNOWN
from earwitness.rules.experts import Experts
from earwitness.rules.prototypes import Prototypes
from earwitness.scoring import score
from earwitness.trials import Manifest, Trial

ANIMALS = ("cat", "cow", "dog", "eel")
SETTINGS = {
    "prototypes": {"classes": 4, "dim": 5, "count": 6},
    "affine": {"classes": 4},
    "experts": {
        "layers": ("back_end.layers.0", "back_end.head"),
        "outputs": (5, 4),
        "inputs": (6, 5),
        "rank": 3,
        "count": 2,
    },
}


@pytest.fixture(autouse=True)
def shelved(monkeypatch):
    monkeypatch.setitem(RULES.table, "experts", "experts:Experts")
    torch.manual_seed(0)


def make(classes=ANIMALS) -> Detector:
    back_end = {"name": "mlp", "hidden": (5,), "pooling": "mean"}
    detector = Detector.build({"name": "vectors", "dim": 6}, back_end, seed=1, classes=classes)
    return detector.eval()


def filled(name, seed=0):
    """The rule as its shelf builds it, with random contents."""
    rule = RULES.build(name, **SETTINGS[name])
    torch.manual_seed(seed)
    for buffer in rule.buffers():
        values = (
            torch.randint(0, 3, buffer.shape)
            if buffer.dtype == torch.long
            else torch.randn_like(buffer)
        )
        buffer.copy_(values)
    return rule


@torch.no_grad()
def judged(detector, wave) -> np.ndarray:
    return detector.judge(wave).logits.double().numpy()


@torch.no_grad()
def features(detector, wave) -> tuple[np.ndarray, np.ndarray]:
    output = detector(wave)
    return output.logits.double().numpy(), output.embedding.double().numpy()


def test_the_table_holds_them_all():
    assert set(RULES.table) >= set(SETTINGS)
    assert [RULES.get(name) for name in SETTINGS] == [Prototypes, Affine, Experts]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_rule_is_saved_with_its_detector_and_told_by_its_digest(name, tmp_path):
    detector, wave = make(), torch.randn(7, 6)
    plain, logits = detector.digest, judged(detector, wave)
    detector.set_rule(filled(name))
    assert detector.digest != plain
    assert np.abs(judged(detector, wave) - logits).max() > 1e-2
    assert np.array_equal(features(detector, wave)[0], logits)  # training goes on by the logits
    detector.save(tmp_path / "a")
    again = Detector.load(tmp_path / "a")
    assert again.digest == detector.digest
    assert type(again.rule) is type(detector.rule)
    assert np.array_equal(judged(again, wave), judged(detector, wave))
    detector.set_rule(filled(name, seed=1))
    assert detector.digest not in (plain, again.digest)
    detector.set_rule(None)
    assert detector.digest == plain
    assert "rule" not in {n.split(".")[0] for n in again.state_dict()}
    assert not [n for n, _ in again.named_parameters() if n.startswith("rule")]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_card_and_a_rule_that_don_t_fit_are_refused(name, tmp_path):
    detector = make()
    detector.set_rule(filled(name))
    detector.save(tmp_path)
    card = tmp_path / "card.json"
    card.write_text(card.read_text().replace(f'"name": "{name}"', '"name": "oracle"'))
    with pytest.raises(CheckpointError, match="no rule is called 'oracle'"):
        Detector.load(tmp_path)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_score_is_its_own_clips(name):
    detector, wave = make(), torch.randn(9, 6)
    detector.set_rule(filled(name))
    alone = np.concatenate([judged(detector, row[None]) for row in wave])
    scale = max(1.0, np.abs(alone).max())
    assert np.abs(judged(detector, wave) - alone).max() < 1e-5 * scale
    assert np.abs(judged(detector, wave.flip(0))[::-1] - alone).max() < 1e-5 * scale
    loud = torch.cat([wave, 1000 * torch.randn(3, 6)])
    assert np.abs(judged(detector, loud)[:9] - alone).max() < 1e-5 * scale


@pytest.mark.parametrize("name", SETTINGS)
def test_unknown_classes_stay_unknown(name):
    detector, wave = make(), torch.randn(9, 6)
    rule = filled(name)
    if name == "prototypes":
        rule.owner.copy_(torch.tensor([0, 0, 1, 1, 1, 0]))
    if name == "affine":
        rule.scale.copy_(torch.tensor([1.0, -2.0, -1.0, 0.0]))
    detector.set_rule(rule)
    detector.know(ANIMALS[:2])
    found = judged(detector, wave)
    assert (found[:, 2:] == UNKNOWN).all()
    assert (found[:, :2] > UNKNOWN).all()
    assert np.isfinite(found).all()


def test_scores_are_made_with_the_rule(tmp_path):
    rows = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    np.save(tmp_path / "v.npy", rows)
    trials = [Trial(str(n), "v.npy", ANIMALS[n % 4], tags={"row": str(n)}) for n in range(8)]
    manifest = Manifest("m", trials, root=tmp_path, classes=ANIMALS)
    detector = make()
    detector.set_rule(filled("prototypes"))
    told = score(detector, manifest).values
    assert np.abs(told - judged(detector, torch.from_numpy(rows))).max() < 1e-6


# Each against numpy.


def test_prototypes_give_the_nearest_ones_half_squared_distance():
    detector, wave, rule = make(), torch.randn(9, 6), filled("prototypes")
    rule.points.copy_(torch.nn.functional.normalize(rule.points, dim=1))
    rule.owner.copy_(torch.tensor([0, 0, 1, 1, 1, 3]))
    detector.set_rule(rule)
    embedding = features(detector, wave)[1]
    points, owner = rule.points.double().numpy(), rule.owner.tolist()
    found = judged(detector, wave)
    for row, clip in zip(found, embedding, strict=True):
        unit = clip / np.linalg.norm(clip)
        for k in range(4):
            mine = [p for p, o in zip(points, owner, strict=True) if o == k]
            # for unit vectors half the squared distance is one less the cosine
            expected = max((unit @ p - 1 for p in mine), default=UNKNOWN)
            assert row[k] == pytest.approx(expected, abs=1e-6)


def test_affine_scales_and_shifts_each_class():
    detector, wave, rule = make(), torch.randn(9, 6), filled("affine")
    detector.set_rule(rule)
    expected = features(detector, wave)[0] * rule.scale.double().numpy() + rule.shift.double().numpy()
    assert np.abs(judged(detector, wave) - expected).max() < 1e-6
    detector.set_rule(Affine(classes=4))
    assert np.array_equal(judged(detector, wave), features(detector, wave)[0])


def forward(weights, wave, updates) -> np.ndarray:
    """The two-layer network in numpy; class probabilities."""
    first, second = (weights[n] + u for n, u in zip(("first", "second"), updates, strict=True))
    hidden = np.maximum(wave @ first.T + weights["first bias"], 0)
    logits = hidden @ second.T + weights["second bias"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def test_experts_are_weighed_by_the_variance_of_their_probabilities():
    detector, wave, rule = make(), torch.randn(9, 6), filled("experts")
    detector.set_rule(rule)
    state = {n: v.double().numpy() for n, v in detector.state_dict().items()}
    names = ("first", "first bias", "second", "second bias")
    places = ("layers.0.weight", "layers.0.bias", "head.weight", "head.bias")
    weights = {n: state[f"back_end.{p}"] for n, p in zip(names, places, strict=True)}
    factors = {n: v.double().numpy() for n, v in rule.state_dict().items()}
    updates = [(0.0, 0.0)]
    updates += [tuple(factors[f"b{n}"][i] @ factors[f"a{n}"][i] for n in range(2)) for i in range(2)]
    told = np.stack([forward(weights, wave.double().numpy(), update) for update in updates])
    combined = np.zeros((9, 4))
    for clip in range(9):
        variances = [np.var(told[i, clip]) for i in range(3)]
        for i in range(3):
            combined[clip] += variances[i] / sum(variances) * told[i, clip]
    found = judged(detector, wave)
    assert np.abs(found - np.log(combined)).max() < 1e-4
    assert np.abs(np.exp(found).sum(1) - 1).max() < 1e-6
    assert np.abs(np.exp(found) - told.mean(0)).max() > 1e-2  # not the plain mean
    whole = np.array([np.var(told[i]) for i in range(3)])  # the released code's: over all clips
    assert np.abs(np.exp(found) - np.tensordot(whole / whole.sum(), told, 1)).max() > 1e-2


def test_experts_without_updates_are_the_detector():
    detector, wave = make(), torch.randn(9, 6)
    detector.set_rule(RULES.build("experts", **SETTINGS["experts"]))
    with torch.no_grad():
        expected = detector(wave).logits.log_softmax(1).double().numpy()
    assert np.abs(judged(detector, wave) - expected).max() < 1e-6


def test_experts_that_know_nothing_or_everything_give_finite_numbers():
    detector = make()
    with torch.no_grad():
        detector.back_end.head.weight.zero_()
        detector.back_end.head.bias.zero_()
    rule = RULES.build("experts", **SETTINGS["experts"])
    detector.set_rule(rule)
    assert np.abs(judged(detector, torch.randn(3, 6)) + np.log(4)).max() < 1e-6
    with torch.no_grad():
        detector.back_end.head.weight.normal_().mul_(1e3)
    found = judged(detector, torch.randn(9, 6))
    assert np.isfinite(found).all()
    assert found.min() < -200  # a float32 probability would be zero, and its logarithm infinite


def test_a_rules_bonafide_score_is_the_difference_of_its_logits():
    detector, wave = make(("bonafide", "spoof")), torch.randn(4, 6)
    rule = RULES.build("affine", classes=2)
    rule.shift.copy_(torch.tensor([0.5, -0.25]))
    detector.set_rule(rule)
    with torch.no_grad():
        gap = detector.judge(wave).score - detector(wave).score
    assert torch.allclose(gap, torch.full((4,), 0.75), atol=1e-6)


def test_the_contract_catches_a_rule_that_looks_at_batch_mates():
    from earwitness import contracts

    class Relative(Affine):
        def forward(self, detector, wave, length):
            output = super().forward(detector, wave, length)
            return Output(output.logits - output.logits.mean(0), output.embedding)

    detector = Detector.build({"name": "logmel", "bands": 8}, "linear")
    detector.set_rule(Affine(classes=2))
    contracts.check_detector(detector)
    detector.set_rule(Relative(classes=2))
    with pytest.raises(AssertionError, match="depends on batch mates"):
        contracts.check_detector(detector)


def test_a_batch_moves_with_its_reference():
    wave = torch.zeros(1, 4)
    batch = Batch(wave, torch.tensor([4]), torch.tensor([0]), ("a",), reference=wave)
    assert batch.to("meta").reference.device.type == "meta"
    assert Batch(wave, batch.length, batch.label, ("a",)).to("meta").reference is None
