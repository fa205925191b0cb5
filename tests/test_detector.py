"""Components keep their contracts; a detector's score, its windows, and its files."""

import json
import os

import librosa_free as oracle
import numpy as np
import pytest
import torch

from earwitness import contracts
from earwitness.backends import BACKENDS
from earwitness.backends.base import BackEnd
from earwitness.backends.pooling import Pooling
from earwitness.detector import Detector, Windows
from earwitness.errors import AudioError, CheckpointError, SettingsError
from earwitness.frontends import FRONTENDS
from earwitness.frontends.base import Frames, FrontEnd
from earwitness.frontends.spectra import unit_level

FRONT_END_SETTINGS = {"vectors": {"dim": 12}, "ssl": {"config": {"shape": "tiny"}}}
VARIANTS = [
    ("resnet", {"norm": "clip", "width": 4}),
    ("resnet", {"norm": "none", "width": 4, "pooling": "attention", "blocks": (2, 1)}),
    ("lcnn", {"norm": "clip", "width": 8, "pooling": "mean"}),
    ("mlp", {"pooling": "statistics", "hidden": (6,)}),
    ("linear", {"pooling": "attention"}),
    ("linear", {"pooling": "attentive"}),
    *[
        ("ff_pair", {"how": how})
        for how in ("none", "concat2", "concat3", "abs", "quadratic", "product", "dot", "lstm")
    ],
    ("rat", {"variant": "selfattn"}),
    ("rat", {"variant": "baseline"}),
]


FEATURES = {"aasist": 1, "rawnet2": 1, "nes2net": 64}  # others take any number
REFUSED = {  # what is said of front ends whose frames a back end can't use
    "lcnn": {"wave": "at least 16 features .*'logmel'", "vectors": "16 frames .*'linear' or 'mlp'"},
    "ssl_aasist": {"wave": "at least 2 features .*'ssl'", "vectors": "6 frames .*'linear' or 'mlp'"},
    "rat": {"wave": "4 heads don't divide 1 features"},
    "ff_pair": {"wave": "take more features"},
    "nes2net": dict.fromkeys(("wave", "lfcc", "vectors", "ssl"), "must be a multiple of groups"),
    **dict.fromkeys(
        ("aasist", "rawnet2"),
        dict.fromkeys(set(FRONTENDS.table) - {"wave"}, "take the front end 'wave'"),
    ),
}


@pytest.mark.parametrize("name", FRONTENDS.table)
def test_front_ends_keep_their_contract(name):
    contracts.check_front_end(FRONTENDS.build(name, **FRONT_END_SETTINGS.get(name, {})))


@pytest.mark.parametrize(("name", "settings"), [(n, {}) for n in BACKENDS.table] + VARIANTS)
def test_back_ends_keep_their_contract(name, settings):
    contracts.check_back_end(
        lambda features: BACKENDS.build(name, features=features, **settings),
        features=FEATURES.get(name, 20),
    )


@pytest.mark.parametrize("front_end", FRONTENDS.table)
@pytest.mark.parametrize("back_end", BACKENDS.table)
def test_every_pair_makes_a_detector_whose_scores_are_their_clips_own_or_is_refused(
    front_end, back_end
):
    settings = {"name": front_end, **FRONT_END_SETTINGS.get(front_end, {})}
    said = REFUSED.get(back_end, {}).get(front_end)
    if said is None:
        contracts.check_detector(Detector.build(settings, back_end, seed=2))
        return
    with pytest.raises(SettingsError, match=said):
        Detector.build(settings, back_end)


@pytest.mark.parametrize("name", ["lcnn", "ssl_aasist"])
def test_the_fewest_frames_and_features_that_a_back_end_states_are_enough(name):
    back_end = BACKENDS.get(name)
    features, frames = back_end.min_features, back_end.min_frames
    values = torch.randn(2, features, frames)
    score = BACKENDS.build(name, features=features)(Frames(values, torch.tensor([frames] * 2))).score
    assert torch.isfinite(score).all()


def test_lcnn_takes_no_fewer_than_it_states():
    network = BACKENDS.build("lcnn", features=16)
    for features, frames in ((15, 16), (16, 15)):
        with pytest.raises(RuntimeError, match="too small"):
            network(Frames(torch.randn(2, features, frames), torch.tensor([frames] * 2)))


class Peeks(FrontEnd):
    """Cheats: scales by the loudest clip of the batch (whisper's trap)."""

    features = 1
    min_samples = 4

    def forward(self, wave, length):
        return Frames((wave / wave.abs().max().clamp_min(1e-9))[:, None], length)


class HearsPadding(BackEnd):
    """Cheats: averages over the padded length."""

    def __init__(self, *, features):
        super().__init__()
        self.dim = features
        self.head = torch.nn.Linear(features, 2)

    def embed(self, frames):
        return frames.values.mean(-1)


class IdleWeight(HearsPadding):
    """Cheats: has a weight that nothing reaches."""

    def __init__(self, *, features):
        super().__init__(features=features)
        self.idle = torch.nn.Parameter(torch.ones(3))


def test_the_contracts_catch_cheats():
    with pytest.raises(AssertionError, match="batch mates"):
        contracts.check_front_end(Peeks())
    with pytest.raises(AssertionError, match="batch mates"):
        contracts.check_back_end(HearsPadding)
    with pytest.raises(AssertionError, match="no gradient reaches"):
        contracts.check_back_end(IdleWeight)


# Features against definitions written in numpy.


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(16_000) / 16_000
    return (np.sin(2 * np.pi * 440 * t) + 0.1 * rng.normal(size=16_000)).astype(np.float32)


def features(name: str, wave: np.ndarray, **settings) -> np.ndarray:
    front_end = FRONTENDS.build(name, normalise="none", **settings)
    frames = front_end(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
    return frames.values[0].numpy()


def test_logmel_is_its_definition(wave):
    expected = oracle.logmel(wave, bands=64, fft=512, window=400, hop=160)
    np.testing.assert_allclose(features("logmel", wave), expected, atol=2e-3)


def test_lfcc_is_its_definition(wave):
    expected = oracle.lfcc(wave, bands=20, coefficients=20, fft=512, window=320, hop=160)
    np.testing.assert_allclose(features("lfcc", wave), expected, atol=5e-3)


def test_golden_librosa_values(golden_dir, wave):
    golden = np.load(golden_dir / "librosa.npz")
    level = wave / np.sqrt((wave.astype(np.float64) ** 2).mean())
    assert np.allclose(golden["wave"], level, atol=1e-5)
    np.testing.assert_allclose(features("logmel", wave), golden["logmel"], atol=2e-3)
    np.testing.assert_allclose(features("lfcc", wave)[:20], golden["lfcc"], atol=5e-3)


def test_level_tells_nothing(wave):
    quiet, loud = (features("logmel", wave * gain) for gain in (0.001, 0.5))
    np.testing.assert_allclose(quiet, loud, atol=1e-3)
    silence = unit_level(torch.zeros(1, 100), torch.tensor([100]))
    assert torch.equal(silence, torch.zeros(1, 100))


def test_pooling_is_over_the_clips_own_frames():
    values = torch.randn(1, 4, 6)
    padded = torch.nn.functional.pad(values, (0, 5))
    for how in ("mean", "statistics", "attention"):
        pooling = Pooling(how, 4)
        length = torch.tensor([6])
        torch.testing.assert_close(pooling(values, length), pooling(padded, length))


# Whole recordings.


@pytest.fixture
def detector() -> Detector:
    return Detector.build("logmel", "linear", seed=4, windows=Windows(1.0, 0.5))


def test_windows_cover_a_recording_and_their_mean_is_its_score(detector, wave):
    long = np.concatenate([wave, wave[:7000] * 0.5]) + 0.01
    result = detector.score(long)
    assert result.starts == (0.0, 0.4375)
    with torch.no_grad():
        rows = torch.from_numpy(np.stack([long[:16_000], long[7000:]]))
        expected = detector.eval()(rows).score.double()
    np.testing.assert_allclose(result.windows, expected, atol=1e-5)
    assert result.mean == pytest.approx(expected.mean().item(), abs=1e-5)
    assert result.worst == min(result.windows)


def test_a_short_recording_is_repeated(detector, wave):
    short = wave[:5000]
    tiled = np.resize(short, 16_000)
    assert detector.score(short).mean == pytest.approx(detector.score(tiled).mean, abs=1e-5)


@pytest.mark.parametrize(("seconds", "hop"), [(1.0, 2.0), (1.0, 0.0), (0.0, 0.0), (float("inf"), 1.0)])
def test_windows_with_gaps_are_refused(seconds, hop):
    with pytest.raises(SettingsError, match="hop"):
        Windows(seconds, hop)


def test_a_detector_of_vectors_refuses_audio(wave):
    with pytest.raises(SettingsError, match="vectors, not audio"):
        Detector.build({"name": "vectors", "dim": 3}, "linear").score(wave)


def test_a_score_is_a_number_too(detector, wave):
    result = detector.score(wave)
    assert float(result) == result.mean


def test_scoring_a_bad_file_names_it(detector, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        detector.score(tmp_path / "bad.wav")


def test_building_leaves_the_callers_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, other = Detector.build(seed=5), Detector.build(seed=5)
    assert torch.equal(torch.rand(1), expected)
    assert one.digest == other.digest != Detector.build(seed=6).digest


# On disk.


def test_a_saved_detector_scores_the_same_bits(detector, wave, tmp_path):
    detector.card = {"trained_on": [], "note": "kept"}
    detector.save(tmp_path / "d")
    loaded = Detector.load(tmp_path / "d")
    assert loaded.score(wave) == detector.score(wave)
    assert loaded.card["note"] == "kept"
    assert loaded.windows == detector.windows
    assert loaded.digest == detector.digest
    assert sorted(os.listdir(tmp_path / "d")) == ["card.json", "weights.safetensors"]


def damage_weights(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF
    path.write_bytes(data)


def truncate_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def edit_card(**changes):
    def edit(folder):
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps({**card, **changes}))

    return edit


DAMAGE = {
    "a flipped byte": (damage_weights, "corrupted"),
    "truncated": (truncate_weights, "corrupted"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "no such file"),
    "no card": (lambda f: (f / "card.json").unlink(), r"no card\.json"),
    "card not JSON": (lambda f: (f / "card.json").write_text("{"), "not JSON"),
    "card of something else": (lambda f: (f / "card.json").write_text("{}"), "not the card"),
    "card without a key": (edit_card(format_version=None), "version None"),
    "other sample rate": (edit_card(sample_rate=8000), "at 8000 Hz"),
    "unknown back end": (edit_card(back_end={"name": "resnett"}), "did you mean 'resnet'"),
    "impossible setting": (edit_card(front_end={"name": "logmel", "bands": -3}), "don't make"),
    "digest that is no text": (edit_card(weights_sha256=5), "missing"),
    "front end that is no mapping": (edit_card(front_end="logmel"), "don't make"),
    "other network": (edit_card(back_end={"name": "mlp"}), "don't make a detector"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_detectors_are_refused(kind, detector, tmp_path):
    detector.save(tmp_path)
    damage, message = DAMAGE[kind]
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        Detector.load(tmp_path)


def test_a_pickle_in_place_of_weights_is_not_run(detector, tmp_path):
    import hashlib
    import pickle

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    detector.save(tmp_path)
    evil = pickle.dumps(Trap())
    (tmp_path / "weights.safetensors").write_bytes(evil)
    edit_card(weights_sha256=hashlib.sha256(evil).hexdigest())(tmp_path)
    with pytest.raises(CheckpointError):
        Detector.load(tmp_path)
    assert not (tmp_path / "trapped").exists()
