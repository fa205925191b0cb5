"""Self-supervised front ends, back ends that hear layers and references, and references themselves."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from earwitness import Detector, Manifest, Scores, Stream, audio, contracts, score
from earwitness.augment.presets import build_all
from earwitness.backends.ff_pair import FFPair
from earwitness.backends.pooling import MHFA, SLS, make_pooling
from earwitness.backends.rat import RAT, from_released
from earwitness.batches import Batch, Clips, join_batches, random_for
from earwitness.cli import app
from earwitness.detector import Windows
from earwitness.errors import CheckpointError, ProtocolError, SettingsError
from earwitness.experiment import Experiment
from earwitness.frontends._transformers import SHAPES
from earwitness.frontends.base import Frames
from earwitness.frontends.ssl import SSL
from earwitness.reference_grid import diagnose
from earwitness.references import Policy, Way, find_references, read_enrolment
from earwitness.strategies import STRATEGIES
from earwitness.strategies.flat import rows_of
from earwitness.training import Training, learn
from earwitness.trials import Trial

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
KINDS = {
    "xls-r": {"shape": "tiny"},
    "wav2vec2-base": {"model_type": "wav2vec2", **SMALL},
    "hubert-base": {"model_type": "hubert", **SMALL},
    "hubert-large": {"model_type": "hubert", **SMALL, **STABLE},
    "wavlm-base": {"model_type": "wavlm", **SMALL},
    "wavlm-large": {"model_type": "wavlm", **SMALL, **STABLE},
    "whisper": {
        "model_type": "whisper", "encoder_layers": 2, "d_model": 32, "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
    },
}  # fmt: skip


def tiny(**settings) -> SSL:
    torch.manual_seed(0)
    return SSL(config=KINDS["xls-r"], **settings).eval()


# Front ends.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", ["weighted", -1])
def test_states_are_their_clips_own(kind, layers) -> None:
    torch.manual_seed(0)
    contracts.check_front_end(SSL(config=KINDS[kind], layers=layers))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "whisper"])
def test_states_are_those_of_the_library_before_the_last_norm(kind) -> None:
    torch.manual_seed(0)
    front_end = SSL(config=KINDS[kind], layers="all", normalise=False).eval()
    model = copy.deepcopy(front_end.encoder.model)
    stable = getattr(model.config, "do_stable_layer_norm", False)
    wave = torch.randn(2, 8000)
    with torch.no_grad():
        told = model(wave, output_hidden_states=True).hidden_states
        frames = front_end(wave, torch.tensor([8000, 8000]))
    for place in range(front_end.layers):
        torch.testing.assert_close(
            frames.values[:, place].transpose(1, 2), told[place + 1], rtol=0, atol=1e-5
        )
    if stable:  # what the library would have given after its norm is something else
        normed = nn.functional.layer_norm(told[-1], (32,))
        assert (normed - frames.values[:, -1].transpose(1, 2)).abs().max() > 0.01


def test_whisper_states_are_the_librarys_on_thirty_seconds() -> None:
    torch.manual_seed(0)
    front_end = SSL(config=KINDS["whisper"], layers=-1).eval()
    wave = 0.1 * torch.randn(1, 480_000)
    features = transformers.WhisperFeatureExtractor()(
        wave[0].numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    with torch.no_grad():
        expected = front_end.encoder.model(features.input_features).last_hidden_state
        found = front_end(wave, torch.tensor([480_000])).values.transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    with pytest.raises(SettingsError, match="at most 30 s"):
        front_end(torch.zeros(1, 481_000), torch.tensor([481_000]))


def test_layers_weighting_and_truncation() -> None:
    wave, length = torch.randn(1, 6000), torch.tensor([6000])
    every = tiny(layers="all")(wave, length).values
    assert torch.equal(tiny(layers=2)(wave, length).values, every[:, 1])
    assert torch.equal(tiny(layers=-3)(wave, length).values, every[:, 0])
    torch.testing.assert_close(tiny(layers="weighted")(wave, length).values, every.mean(1))
    kept = tiny(layers="all", keep=2)
    assert torch.equal(kept(wave, length).values, every[:, :2])
    assert kept.encoder.layers == len(kept.encoder.blocks) == 2


def test_what_learns() -> None:
    def learning(**settings) -> list[str]:
        front_end = tiny(**settings).train()
        front_end(torch.randn(2, 4000), torch.tensor([4000, 3000])).values.square().sum().backward()
        idle = [n for n, p in front_end.named_parameters() if p.requires_grad and p.grad is None]
        assert idle == []
        return [n for n, p in front_end.named_parameters() if p.grad is not None]

    assert learning() == ["weighting"]
    assert all(n == "weighting" or ".layers.2." in n for n in learning(tune="top", top=1))
    adapters = learning(tune="lora", rank=2)
    assert len(adapters) == 1 + 3 * 4 * 2
    assert all("lora_" in n or n == "weighting" for n in adapters)
    everything = tiny(tune="all")
    assert len(learning(tune="all")) == len(list(everything.parameters()))
    assert not any(module.training for module in tiny().train().encoder.modules())


def test_compat_repeats_the_released_dependence_on_the_batch() -> None:
    front_end = tiny(layers="all", compat="rat")
    one, other = torch.randn(1, 8000), 5 * torch.randn(1, 8000)
    both = front_end(torch.cat([one, other]), torch.tensor([8000, 4000]))
    alone = front_end(one, torch.tensor([8000]))
    assert (both.values[:1] - alone.values).abs().max() > 1e-2
    assert both.length.tolist() == [24, 24]
    expected = nn.functional.layer_norm(torch.cat([one, other]), (2, 8000))
    bare = tiny(layers="all", normalise=False)
    torch.testing.assert_close(both.values, bare(expected, torch.tensor([8000, 8000])).values)


def test_a_saved_detector_needs_neither_folder_nor_hub(tmp_path) -> None:
    model = transformers.AutoModel.from_config(
        transformers.AutoConfig.for_model("wav2vec2", **SMALL, **STABLE)
    )
    model.save_pretrained(tmp_path / "model")
    for tune in ("none", "lora"):
        settings = {"name": "ssl", "weights": str(tmp_path / "model"), "layers": "all", "tune": tune}
        detector = Detector.build(settings, "rat", windows=Windows(0.5, 0.5)).eval()
        state = detector.front_end.encoder.model.state_dict()
        name = "encoder.layers.0.feed_forward.output_dense.weight"
        assert torch.equal(state[name], model.state_dict()[name])
        detector.save(tmp_path / tune)
        assert str(tmp_path) not in (tmp_path / tune / "card.json").read_text()
        loaded = Detector.load(tmp_path / tune)
        wave = torch.randn(2, 8000)
        assert torch.equal(loaded(wave).score, detector(wave).score)
        assert loaded.digest == detector.digest


WRONG = {
    "needs weights": {},
    "one of them": {"weights": "x", "config": {"shape": "tiny"}},
    "did you mean 'tiny'": {"config": {"shape": "tinny"}},
    "neither a folder": {"weights": "no/such/model"},
    "expected all, weighted, 1 to 3": {"config": {"shape": "tiny"}, "layers": 4},
    "the encoder has 3 layers": {"config": {"shape": "tiny"}, "keep": 4},
    "expected 1 to 3 layers": {"config": {"shape": "tiny"}, "tune": "top", "top": 4},
    "rank is 0": {"config": {"shape": "tiny"}, "tune": "lora", "rank": 0},
    "none of transformers'": {"config": {"model_type": "wave2vec"}},
    "no speech encoder": {"config": {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2}},
}


@pytest.mark.parametrize("said", WRONG)
def test_wrong_settings_say_what_to_do(said, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SettingsError, match=said):
        SSL(**WRONG[said])


def test_published_sizes() -> None:
    with torch.device("meta"):
        front_end = SSL(config={"shape": "xls-r-300m"}, layers="all")
    last_norm = 2048
    assert sum(p.numel() for p in front_end.parameters()) == 315_437_696 - last_norm
    assert {SHAPES[n]["num_hidden_layers"] for n in ("xls-r-1b", "xls-r-2b")} == {48}


def test_layers_need_a_back_end_for_them() -> None:
    settings = {"name": "ssl", "config": {"shape": "tiny"}, "layers": "all"}
    with pytest.raises(SettingsError, match="hears one layer"):
        Detector.build(settings, "resnet")
    for pooling in ("mean", "statistics", "attention", "attentive", "mhfa"):
        contracts.check_detector(Detector.build(settings, {"name": "linear", "pooling": pooling}))


# Poolings of layers.


def test_mhfa_is_its_definition() -> None:
    torch.manual_seed(0)
    pooling = MHFA(6, layers=3, heads=2, compressed=4).double()
    with torch.no_grad():
        pooling.key_weight.normal_()
        pooling.value_weight.normal_()
    values = torch.randn(1, 3, 6, 5, dtype=torch.float64)
    key = sum(w * values[0, n].T for n, w in enumerate(pooling.key_weight.softmax(0)))
    value = sum(w * values[0, n].T for n, w in enumerate(pooling.value_weight.softmax(0)))
    scores, rows = pooling.attention(pooling.key(key)), pooling.value(value)
    heads = [sum(scores[:, h].softmax(0)[t] * rows[t] for t in range(5)) for h in range(2)]
    torch.testing.assert_close(pooling(values, torch.tensor([5]))[0], pooling.out(torch.cat(heads)))


def test_sls_pads_on_the_left_and_never_cuts() -> None:
    torch.manual_seed(0)
    pooling = SLS(9, frames=12).eval()
    values = torch.randn(1, 2, 9, 7)
    padded = torch.cat([values, torch.zeros(1, 2, 9, 5)], -1)
    short, long = pooling(values, torch.tensor([7])), pooling(padded, torch.tensor([7]))
    torch.testing.assert_close(short, long)
    gate = pooling.gate(values.mean(-1)).sigmoid()
    mixed = torch.cat([torch.zeros(5, 9), (values * gate[..., None]).sum(1)[0].T])
    scaled = (mixed / (1 + 1e-5) ** 0.5)[None, None]
    expected = nn.functional.selu(
        pooling.out(nn.functional.max_pool2d(nn.functional.selu(scaled), 3).flatten(1))
    )
    torch.testing.assert_close(short, expected)
    with pytest.raises(SettingsError, match="hears 12 frames, found 13"):
        pooling(torch.zeros(1, 2, 9, 13), torch.tensor([13]))
    with pytest.raises(SettingsError, match="layers = 'all'"):
        make_pooling("mhfa", 8, 0)


# RAT.


class Written(nn.Module):
    """RAT's head as the paper and the released names have it, with torch's own attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.preattn_ln, self.final_ln = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn_mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        half, quarter = width // 2, width // 4
        self.classifier = nn.Sequential(
            nn.Linear(width, half), nn.BatchNorm1d(half), nn.ReLU(),
            nn.Linear(half, quarter), nn.BatchNorm1d(quarter), nn.ReLU(), nn.Linear(quarter, 2),
        )  # fmt: skip

    def forward(self, test: torch.Tensor, reference: torch.Tensor, how: str = "rat") -> torch.Tensor:
        """(layer, batch, frame, width) both."""
        told = []
        for x, r in zip(test, reference, strict=True):
            q = self.preattn_ln(x).transpose(0, 1)
            kv = {"rat": self.preattn_ln(r), "selfattn": self.preattn_ln(x)}.get(how, r).transpose(0, 1)
            kv = torch.zeros_like(q) if how == "zeroref" else kv
            attended, _ = self.attn(q, kv, kv, need_weights=True)
            told.append(self.final_ln(x + (attended + self.attn_mlp(q)).transpose(0, 1)))
        return self.classifier(torch.stack(told).mean((0, 2)))


def both_heads(variant: str) -> tuple[Written, RAT]:
    torch.manual_seed(3)
    written = Written(16, 4).double()
    for parameter in written.parameters():
        nn.init.normal_(parameter, std=0.3)
    head = RAT(features=16, layers=3, variant=variant).double()
    released = {"extractor.model.x": torch.ones(1), **written.state_dict()}
    head.load_state_dict(from_released(released))
    return written.eval(), head.eval()


@pytest.mark.parametrize("variant", ["rat", "selfattn", "zeroref"])
def test_the_head_is_its_definition(variant) -> None:
    written, head = both_heads(variant)
    test = torch.randn(3, 2, 7, 16, dtype=torch.float64)
    reference = torch.randn(3, 2, 5, 16, dtype=torch.float64)
    frames = Frames(test.permute(1, 0, 3, 2), torch.tensor([7, 7]))
    beside = Frames(reference.permute(1, 0, 3, 2), torch.tensor([5, 5]))
    expected = written(test, reference, variant)
    torch.testing.assert_close(head(frames, beside).logits, expected, rtol=0, atol=1e-12)


def test_without_a_reference_the_shortcut_is_exact_and_weights_are_the_same() -> None:
    written, head = both_heads("rat")
    _, zero = both_heads("zeroref")
    test = torch.randn(3, 2, 7, 16, dtype=torch.float64)
    frames = Frames(test.permute(1, 0, 3, 2), torch.tensor([7, 7]))
    expected = written(test, test, "zeroref")
    torch.testing.assert_close(head(frames).logits, expected, rtol=0, atol=1e-12)
    assert torch.equal(head(frames).logits, zero(frames).logits)
    zero.load_state_dict(head.state_dict())


def test_a_batch_of_some_with_and_some_without() -> None:
    _, head = both_heads("rat")
    frames = Frames(torch.randn(3, 3, 16, 7, dtype=torch.float64), torch.tensor([7, 5, 6]))
    inside = (torch.arange(7) < frames.length[:, None])[:, None, None]
    frames = Frames(frames.values * inside, frames.length)
    beside = Frames(torch.randn(3, 3, 16, 6, dtype=torch.float64), torch.tensor([6, 0, 4]))
    together = head(frames, beside).logits
    for row in range(3):
        own = Frames(
            frames.values[row : row + 1, ..., : frames.length[row]], frames.length[row : row + 1]
        )
        heard = int(beside.length[row])
        other = Frames(beside.values[row : row + 1, ..., :heard], beside.length[row : row + 1])
        alone = head(own, other if heard else None).logits
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-12)


def test_released_weights_that_are_none() -> None:
    written, _ = both_heads("rat")
    state = dict(written.state_dict())
    with pytest.raises(CheckpointError, match="preattn_ln"):
        from_released({"x": torch.ones(1)})
    state.pop("attn_mlp.0.weight")
    with pytest.raises(CheckpointError, match="mlp.0.weight"):
        from_released(state)
    with pytest.raises(SettingsError, match="3 heads don't divide 16"):
        RAT(features=16, heads=3)


def test_published_counts_of_pair_heads() -> None:
    def count(**settings) -> int:
        return sum(
            p.numel() for p in FFPair(**{"features": 1024, "layers": 24, **settings}).parameters()
        )

    assert sum(p.numel() for p in RAT(features=1024, layers=24).parameters()) == 13_254_402
    assert [count(features=n, how="none") for n in (768, 1280, 1920)] == [370_754, 1_027_522, 2_309_282]
    assert count(how="concat3") == 2_627_074
    assert count(how="lstm") - count(how="none") == 16_793_600


def test_simple_pairs_are_their_definitions() -> None:
    torch.manual_seed(0)
    test, reference = torch.randn(2, 3, 8, 6), torch.randn(2, 3, 8, 4)
    frames, beside = Frames(test, torch.tensor([6, 6])), Frames(reference, torch.tensor([4, 4]))
    t, r = test.mean((1, 3)), reference.mean((1, 3))
    expected = {
        "concat3": torch.cat([r, t], 1), "diff": r - t, "abs": (r - t).abs(), "quadratic": (r - t) ** 2,
        "product": r * t, "none": t, "concat2": torch.cat([reference, test], -1).mean((1, 3)),
    }  # fmt: skip
    for how, vector in expected.items():
        head = FFPair(features=8, layers=3, how=how).eval()
        torch.testing.assert_close(head(frames, beside).embedding, head.classifier(vector))


def test_a_dot_product_is_the_score_until_it_is_scaled() -> None:
    torch.manual_seed(0)
    test, reference = torch.randn(3, 3, 8, 6), torch.randn(3, 3, 8, 4)
    frames = Frames(test, torch.tensor([6, 6, 6]))
    beside = Frames(reference, torch.tensor([4, 0, 4]))
    head = FFPair(features=8, layers=3, how="dot")
    assert sum(p.numel() for p in head.parameters()) == 4
    dots = [test[row].mean((0, 2)) @ reference[row].mean((0, 2)) for row in (0, 2)]
    expected = torch.stack([dots[0], torch.tensor(0.0), dots[1]])  # the second has no reference
    torch.testing.assert_close(head(frames, beside).score, expected)
    assert not head(frames).score.any()
    with torch.no_grad():
        head.head.weight[1], head.head.bias[0] = 3, 0.5
    torch.testing.assert_close(head(frames, beside).score, 0.5 - 2 * expected)


@pytest.mark.parametrize(
    "back_end",
    [{"name": "rat"}, {"name": "ff_pair", "how": "concat1"}, {"name": "ff_pair", "how": "lstm"}],
)
def test_a_detectors_reference_is_its_clips_own(back_end) -> None:
    settings = {"name": "ssl", "config": {"shape": "tiny"}, "layers": "all"}
    detector = Detector.build(settings, back_end, windows=Windows(0.5, 0.5)).eval()
    wave, beside = torch.randn(3, 8000), torch.randn(3, 6000)
    length, heard = torch.tensor([8000, 6000, 7000]), torch.tensor([6000, 0, 5000])
    for row in range(3):
        wave[row, length[row] :] = 0
        beside[row, heard[row] :] = 0
    with torch.no_grad():
        together = detector(wave, length, beside, heard).score
        for row in range(3):
            own = wave[row : row + 1, : length[row]], length[row : row + 1]
            other = (beside[row : row + 1, : heard[row]], heard[row : row + 1]) if heard[row] else ()
            torch.testing.assert_close(
                detector(*own, *other).score, together[row : row + 1], atol=1e-4, rtol=0
            )
    if back_end["name"] == "rat":
        assert (detector(wave, length).score - together)[1].abs() < 1e-5
    assert (detector(wave, length).score - together)[0].abs() > 0


# References.


def trials(*lines: str) -> Manifest:
    cells = [line.split() for line in lines]
    return Manifest("m", [Trial(i, f"{i}.wav", label, speaker=who) for i, label, who in cells])


LISTED = trials(
    "a bonafide s1", "b bonafide s1", "c spoof s1", "d bonafide s2", "e spoof s2", "f spoof s3"
)


def test_same_speaker_excludes_the_trial_itself_and_counts_who_has_none() -> None:
    found = find_references(LISTED, "same-speaker")
    chosen = {t.id: found.choose(t) and found.choose(t).stem for t in LISTED}
    assert chosen["a"] == "b"
    assert chosen["b"] == "a"
    assert chosen["c"] in ("a", "b")
    assert chosen == {**chosen, "d": None, "e": "d", "f": None}
    assert found.missing == ("d", "f")
    drawn = {found.choose(LISTED.trials[2], random_for(n)).stem for n in range(20)}
    assert drawn == {"a", "b"}
    assert {t.id: found.choose(t) and found.choose(t).stem for t in reversed(LISTED.trials)} == chosen


def test_the_released_policy_and_its_refusals() -> None:
    part = LISTED.where(lambda t: t.speaker != "s3")
    found = find_references(part, "rat-compat")
    assert found.choose(part.trials[3]).stem == "d"  # its own reference
    with pytest.raises(ProtocolError, match="1 of 6 trials have no reference"):
        find_references(LISTED, "rat-compat")
    with pytest.raises(ProtocolError, match="are the speakers known"):
        find_references(trials("a bonafide -", "b spoof -"))
    with pytest.raises(SettingsError, match="did you mean 'same-speaker'"):
        find_references(LISTED, "same_speaker")
    with pytest.raises(SettingsError, match="needs the speakers' files"):
        find_references(LISTED, "enrolment")


def test_enrolment_lists(tmp_path) -> None:
    (tmp_path / "enroll.tsv").write_text("s1 E_1,E_2\r\ns2 E_3\n\n")
    files = read_enrolment(tmp_path / "enroll.tsv", tmp_path)
    found = find_references(LISTED, "enrolment", enrolment=files)
    assert found.choose(LISTED.trials[3]) == tmp_path / "E_3.flac"
    assert found.missing == ("f",)
    (tmp_path / "enroll.tsv").write_text("s1 E_1\ns1 E_2\n")
    with pytest.raises(ProtocolError, match="line 2: the speaker s1 stands there twice"):
        read_enrolment(tmp_path / "enroll.tsv", tmp_path)


def test_another_speakers_reference() -> None:
    found = find_references(LISTED)
    assert {found.choose(t, mismatch=True).stem for t in LISTED if t.speaker == "s1"} == {"d"}
    assert found.choose(LISTED.trials[4], mismatch=True).stem in ("a", "b")


def test_ways_to_spoil_a_reference() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    assert np.array_equal(Way.parse("real").apply(wave, "a"), wave)
    assert not Way.parse("silence").apply(wave, "a").any()
    assert len(Way.parse("duration=1").apply(wave, "a")) == 16_000
    noisy = Way.parse("snr=20").apply(wave, "a").astype(np.float64) - wave
    assert 10 * np.log10(np.mean(wave.astype(np.float64) ** 2) / np.mean(noisy**2)) == pytest.approx(
        20, abs=1e-3
    )
    noise = Way.parse("noise").apply(wave, "a")
    assert np.mean(noise**2) == pytest.approx(np.mean(wave**2), rel=0.05)
    assert np.array_equal(noise, Way.parse("noise").apply(wave, "a"))
    assert not np.array_equal(noise, Way.parse("noise").apply(wave, "b"))
    assert [str(Way.parse(t)) for t in ("snr=10", "duration=0.5", "zero")] == [
        "snr=10",
        "duration=0.5",
        "zero",
    ]
    for text, said in {
        "snr": "expected snr=NUMBER",
        "real=1": "real alone",
        "nois": "'noise'",
        "snr=x": "no number",
        "duration=0": "above 0",
    }.items():
        with pytest.raises(SettingsError, match=said):
            Way.parse(text)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Stream:
    root = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    listed = []
    for task in ("one", "two"):
        for split, n in (("train", 6), ("dev", 4), ("test", 4)):
            for label in ("bonafide", "spoof"):
                for k in range(n):
                    name = f"{task}-{split}-{label}-{k}"
                    audio.write(root / f"{name}.wav", 0.1 * rng.normal(size=6000 + 300 * k).clip(-4, 4))
                    who = f"s{k % 2}-{split}"
                    listed.append(
                        Trial(name, f"{name}.wav", label, domain=task, split=split, speaker=who)
                    )
    Manifest("speech", listed, root=root).write(root / "manifest.tsv")
    return Stream.by(Manifest("speech", listed, root=root), "domain")


def pair_detector() -> Detector:
    front_end = {"name": "ssl", "config": {"shape": "tiny"}, "layers": "all", "keep": 1}
    return Detector.build(
        front_end, {"name": "rat", "heads": 2, "inner": 8}, windows=Windows(0.25, 0.25)
    )


def test_batches_carry_references(corpus) -> None:
    manifest = corpus[0].train
    clips = Clips(manifest, seconds=0.25, references=find_references(manifest))
    batch = clips.batch([0, 1, 7], random_for(1))
    assert batch.reference.shape == (3, 4000)
    assert batch.reference_length.tolist() == [4000] * 3
    again = clips.batch([0, 1, 7], random_for(1))
    assert torch.equal(batch.reference, again.reference)
    plain = Clips(manifest, seconds=0.25).batch([2])
    joined = join_batches(batch, plain)
    assert joined.reference_length.tolist() == [4000] * 3 + [0]
    assert torch.equal(rows_of(joined, torch.tensor([1])).reference, batch.reference[1:2])
    assert isinstance(batch.to("cpu"), Batch)
    assert batch.to("meta").reference.device.type == "meta"


def test_learning_with_references_resumes_to_the_same_bits(corpus, tmp_path) -> None:
    training = Training(epochs=2, batch_size=4, seconds=0.25, checkpoint_every=1, learning_rate=0.01)
    policy = Policy(training="same-speaker")

    def whole(checkpoint: Path | None = None, stop: int = -1) -> dict[str, torch.Tensor]:
        detector, steps = pair_detector(), 0

        def count(_: dict) -> None:
            nonlocal steps
            steps += 1
            if steps == stop:
                raise KeyboardInterrupt

        for _ in learn(
            detector, STRATEGIES.build("naive"), corpus, training=training, references=policy, seed=1,
            checkpoint=checkpoint, on_step=count,
        ):  # fmt: skip
            pass
        return {n: v.clone() for n, v in detector.state_dict().items()}

    expected = whole()
    with pytest.raises(KeyboardInterrupt):
        whole(tmp_path / "c.safetensors", stop=8)
    found = whole(tmp_path / "c.safetensors")
    assert all(torch.equal(found[n], expected[n]) for n in expected)
    policy = Policy()
    assert not torch.equal(whole()["back_end.query.weight"], expected["back_end.query.weight"])
    with pytest.raises(CheckpointError, match="references"):
        whole(tmp_path / "c.safetensors")


def test_scores_say_what_was_heard_beside(corpus) -> None:
    manifest, detector = corpus[0].test, pair_detector()
    beside = find_references(manifest)
    zero = score(detector, manifest)
    assert np.array_equal(
        score(detector, manifest, references=beside, way=Way("zero")).values, zero.values
    )
    real = score(detector, manifest, references=beside)
    assert real.provenance["references"] == {"policy": "same-speaker", "way": "real", "without": 0}
    assert np.abs(real.values - zero.values).max() > 1e-6
    backward = Manifest("back", reversed(manifest.trials), root=manifest.root)
    other_order = score(detector, backward, references=beside)
    np.testing.assert_allclose(other_order.values[::-1], real.values, atol=1e-5)
    for way in ("silence", "noise", "snr=5", "duration=0.1", "mismatch"):
        told = score(detector, manifest, references=beside, way=Way.parse(way))
        assert isinstance(told, Scores)
        assert np.abs(told.values - real.values).max() > 0
    deaf = Detector.build("logmel", "linear", windows=Windows(0.25, 0.25))
    with pytest.raises(SettingsError, match="hears no references"):
        score(deaf, manifest, references=beside)


def test_an_experiment_says_where_references_come_from(corpus) -> None:
    settings = {
        "name": "pairs",
        "stream": {"root": "x"},
        "detector": {
            "front_end": {"name": "ssl", "config": {"shape": "tiny"}, "layers": "all"},
            "back_end": "rat",
        },
        "references": {"training": "same-speaker"},
    }
    assert Experiment.from_settings(settings).references == Policy(training="same-speaker")
    with pytest.raises(SettingsError, match="hears none"):
        Experiment.from_settings({**settings, "detector": {"front_end": "logmel"}})
    with pytest.raises(SettingsError, match="policy"):
        Experiment.from_settings({**settings, "references": {"policy": "none"}})


@pytest.mark.parametrize("tune", ["none", "lora", "all"])
def test_strategies_work_on_self_supervised_detectors(corpus, tune) -> None:
    """What is frozen stays, and what learns is protected."""
    front_end = {"name": "ssl", "config": {"shape": "tiny"}, "layers": "all", "keep": 1, "tune": tune}
    training = Training(epochs=1, batch_size=6, seconds=0.25, learning_rate=0.01)
    for name in ("owm", "rwm", "ewc", "replay"):
        detector = Detector.build(
            front_end, {"name": "rat", "heads": 2, "inner": 8}, windows=Windows(0.25, 0.25)
        )
        some = (
            {"layers": ["back_end.*", "*feed_forward*"]}
            if tune == "all" and name in ("owm", "rwm")
            else {}
        )
        before = {n: p.clone() for n, p in detector.named_parameters()}
        actions: list[dict] = []
        for _ in learn(
            detector, STRATEGIES.build(name, **some), corpus, training=training, seed=1,
            references=Policy(training="same-speaker"),
            on_step=lambda r, kept=actions: kept.extend(r.get("action", [])),
        ):  # fmt: skip
            pass
        moved = {n for n, p in detector.named_parameters() if not torch.equal(p, before[n])}
        assert moved <= {n for n, p in detector.named_parameters() if p.requires_grad}
        assert "back_end.head.weight" in moved
        if name in ("owm", "rwm"):
            layers = {one["layer"] for one in actions}
            assert any(one.startswith("back_end.classifier") for one in layers)
            assert any("lora" in one for one in layers) == (tune == "lora")


# What a reference is worth.


def test_the_diagnostics_are_their_definitions(corpus) -> None:
    manifest, detector = corpus[0].test, pair_detector().eval()
    references = find_references(manifest)
    found = diagnose(detector, manifest, references)
    clips = Clips(manifest, seconds=0.25, references=references)
    for row in range(3):
        batch = clips.batch([row])
        test, other = (
            detector.front_end(wave, torch.tensor([4000])) for wave in (batch.wave, batch.reference)
        )
        x, r = (one.values.detach().requires_grad_() for one in (test, other))
        logits = detector.back_end(Frames(x, test.length), Frames(r, other.length)).logits
        nn.functional.cross_entropy(logits, batch.label).backward()
        assert found.test_gradient[row] == pytest.approx(float(x.grad.square().mean().sqrt()), rel=1e-4)
        assert found.reference_gradient[row] == pytest.approx(
            float(r.grad.square().mean().sqrt()), rel=1e-4
        )
        assert found.margin[row] == pytest.approx(
            float((logits[0, 0] - logits[0, 1]).detach()), abs=1e-5
        )
        zero = detector.back_end(test).logits
        assert found.zero[row] == pytest.approx(float((zero[0, 0] - zero[0, 1]).detach()), abs=1e-5)
    told = found.summary()
    assert told["gradient_ratio"] == pytest.approx(
        found.reference_gradient.mean() / found.test_gradient.mean()
    )
    assert told["margin_share_zero"] == pytest.approx(
        np.abs(found.margin - found.zero).sum() / np.abs(found.margin).sum()
    )
    assert told["branch_ratio"] > 0
    deaf = Detector.build("lfcc", {"name": "rat", "variant": "baseline"}, windows=Windows(0.25, 0.25))
    with pytest.raises(SettingsError, match="of the back end rat"):
        diagnose(deaf, manifest, references)


def test_a_network_that_never_hears_its_reference_has_no_slope_by_it(corpus) -> None:
    front_end = {"name": "ssl", "config": {"shape": "tiny"}, "layers": "all", "keep": 1}
    back_end = {"name": "rat", "heads": 2, "inner": 8, "variant": "zeroref"}
    detector = Detector.build(front_end, back_end, windows=Windows(0.25, 0.25))
    found = diagnose(detector, corpus[0].test, find_references(corpus[0].test))
    assert found.summary()["gradient_ratio"] == 0
    assert np.array_equal(found.margin, found.zero)


def test_the_grid_from_the_command_line(corpus, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pair_detector().save("detector")
    corpus[0].test.write(tmp_path / "test.tsv")
    words = ["evaluate", "test.tsv", "-d", "detector", "--draws", "20", "--unit", "trial"]
    done = CliRunner().invoke(app, [*words, "--reference", "zero,snr=10", "-o", "grid", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert list(told["ways"]) == ["real", "zero", "snr=10"]
    assert told["ways"]["zero"]["minus_real"].keys() == {"eer", "min_dcf"}
    zero = score(pair_detector(), corpus[0].test)
    np.testing.assert_allclose(Scores.read("grid/zero.csv").values, zero.values, atol=1e-6)
    names = {path.name for path in Path("grid").iterdir()}
    assert {"real.csv", "references.json", "references.png", "diagnosis.png", "diagnosis.csv"} <= names
    shown = CliRunner().invoke(app, [*words, "--reference", "mismatch"])
    assert "gradient ratio" in shown.output
    with pytest.raises(SettingsError, match="goes with --detector"):
        app([*words[:2], "--reference", "zero"], standalone_mode=False)
    with pytest.raises(SettingsError, match="nothing to compare"):
        app([*words, "--policy", "none"], standalone_mode=False)


def test_trials_without_a_reference_can_be_left_out(corpus) -> None:
    lonely = Manifest(
        "m", [*LISTED.trials, Trial("g", "g.wav", "spoof", speaker="s1")], root=LISTED.root
    )
    assert len(Policy(training="same-speaker").kept(lonely)) == 7
    kept = Policy(training="same-speaker", without="leave-out").kept(lonely)
    assert [t.id for t in kept] == list("abcg")  # d has no other, and with d goes e's reference
    assert find_references(kept).missing == ()


def test_clips_are_augmented_in_training_alone(corpus) -> None:
    manifest = corpus[0].train
    how = build_all([{"name": "gain", "decibels": [6.0206, 6.0206]}])
    plain, changed = Clips(manifest, seconds=0.25), Clips(manifest, seconds=0.25, augment=how)
    expected = 2 * plain.batch([0, 1], random_for(1)).wave
    assert changed.batch([0], random_for(1)).wave.shape == (1, 4000)
    torch.testing.assert_close(
        changed.batch([0], random_for(1)).wave, expected[:1], rtol=1e-5, atol=1e-7
    )
    assert torch.equal(changed.batch([0, 1]).wave, plain.batch([0, 1]).wave)
    copies = Clips(manifest, seconds=0.25, augment=build_all(["lpc"]))
    bonafide = [n for n, t in enumerate(manifest) if t.label == "bonafide"][:2]
    assert copies.batch(bonafide, random_for(1)).label.tolist() == [1, 1]
    with pytest.raises(SettingsError, match="did you mean 'rawboost'"):
        Training(augment=("rawbost",))


# Stages, precision and memory.


def test_a_second_stage_starts_from_the_first(corpus, tmp_path) -> None:
    first = pair_detector()
    first.save(tmp_path / "seed-7")
    second = Detector.load(tmp_path / "seed-7", tune="all")
    assert second.digest == first.digest
    assert all(p.requires_grad for p in second.parameters())
    settings = {
        "name": "stage 2", "seeds": [7], "stream": {"root": "x"},
        "detector": {"start": "seed-{seed}", "tune": "all", "windows": {"seconds": 0.25, "hop": 0.25}},
    }  # fmt: skip
    experiment = Experiment.from_settings(settings, folder=tmp_path)
    assert experiment.detector(7).digest == first.digest
    with pytest.raises(SettingsError, match="adapters are other weights"):
        Detector.load(tmp_path / "seed-7", tune="lora")
    Detector.build("lfcc", "linear", windows=Windows(0.25, 0.25)).save(tmp_path / "plain")
    with pytest.raises(SettingsError, match="no setting 'tune'"):
        Detector.load(tmp_path / "plain", tune="all")
    settings["detector"]["back_end"] = "rat"
    with pytest.raises(SettingsError, match="has its own back_end"):
        Experiment.from_settings(settings, folder=tmp_path)


def test_one_file_beside_another(corpus) -> None:
    manifest, detector = corpus[0].test, pair_detector()
    path, other = (manifest.path(t) for t in manifest.trials[:2])
    with_one = detector.score(path, reference=other)
    assert with_one.mean != detector.score(path).mean
    references = find_references(manifest)
    found = score(detector, manifest, references=references)
    trial = manifest.trials[0]
    own = detector.score(manifest.path(trial), reference=references.choose(trial))
    assert own.mean == pytest.approx(found.values[0], abs=1e-5)
    with pytest.raises(SettingsError, match="hears no references"):
        Detector.build("lfcc", "linear", windows=Windows(0.25, 0.25)).score(path, reference=other)


def weights_after(corpus, **settings) -> torch.Tensor:
    common = {"epochs": 1, "batch_size": 6, "seconds": 0.25, "learning_rate": 0.05, "balance": "none"}
    detector = Detector.build("lfcc", "linear", windows=Windows(0.25, 0.25))
    for _ in learn(
        detector, STRATEGIES.build("naive"), corpus, training=Training(**{**common, **settings}), seed=1
    ):
        pass
    return detector.back_end.head.weight.detach().clone()


def test_a_batch_in_parts_is_the_same_batch(corpus) -> None:
    whole = weights_after(corpus)
    torch.testing.assert_close(weights_after(corpus, accumulate=3), whole, rtol=0, atol=1e-5)
    balanced = weights_after(corpus, balance="classes")
    in_parts = weights_after(corpus, balance="classes", accumulate=4)
    torch.testing.assert_close(in_parts, balanced, rtol=0, atol=1e-5)
    assert not torch.allclose(weights_after(corpus, batch_size=2), whole, atol=1e-4)
    rounded = weights_after(corpus, precision="bf16")
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, whole)
    torch.testing.assert_close(rounded, whole, rtol=0.1, atol=0.05)


def test_checkpointed_activations_give_the_same_gradients() -> None:
    found = []
    for checkpointing in (False, True):
        front_end = tiny(tune="all", checkpointing=checkpointing, dropout=0.0).train()
        front_end(torch.ones(1, 4000).cumsum(1) / 4000, torch.tensor([4000])).values.sum().backward()
        found.append([p.grad.clone() for p in front_end.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_that_are_pickles_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = transformers.AutoConfig.for_model("wav2vec2", **SMALL, **STABLE)
    config.save_pretrained(tmp_path)
    torch.save(transformers.AutoModel.from_config(config).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(SettingsError, match="safetensors"):
        SSL(weights=str(tmp_path))


def test_enrolment_needs_its_list() -> None:
    with pytest.raises(SettingsError, match="--enrolment FILE"):
        Policy(scoring="enrolment").of(LISTED, "scoring")
