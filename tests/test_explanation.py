"""Explanations: the geometry by an independent derivation, the words, the page, and the verbs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from earwitness import Detector, audio
from earwitness.cli import app
from earwitness.detector import Windows
from earwitness.errors import CheckpointError, ProtocolError, SettingsError
from earwitness.explainers import EXPLAINERS, agreement, randomised
from earwitness.explainers.base import Grid
from earwitness.explanation import explain, page, words
from earwitness.landmarks import WORDS, Embedded, Landmarks, Place, plane
from earwitness.scoring import hear_manifest, score
from earwitness.trials import CLASSES, Manifest, Trial


def clips(rng, count=400, dim=6, apart=4.0, ids="t") -> Embedded:
    labels = [CLASSES[n % 2] for n in range(count)]
    h = rng.normal(size=(count, dim))
    h[1::2, 0] += apart
    return Embedded(h, apart / 2 - h[:, 0], labels, [f"{ids}{n}" for n in range(count)], ["-"] * count)


@pytest.fixture(scope="module")
def marks() -> Landmarks:
    rng = np.random.default_rng(0)
    return Landmarks.fit(clips(rng), clips(rng, ids="h"))


def test_the_plane_holds_both_distances_exactly() -> None:
    rng = np.random.default_rng(1)
    for offset in (0.0, 1e6):
        means, h = rng.normal(size=(2, 9)) + offset, rng.normal(size=(50, 9)) * 3 + offset
        u, v = plane(h, means)
        length = np.linalg.norm(means[1] - means[0])
        for sign, mean in ((0.5, means[0]), (-0.5, means[1])):
            direct = np.sqrt(((h - mean) ** 2).sum(1))
            np.testing.assert_allclose(np.hypot(u + sign, v) * length, direct, rtol=1e-9)


def test_a_place_is_what_a_second_derivation_says(marks) -> None:
    rng = np.random.default_rng(0)
    training, held = clips(rng), clips(rng, ids="h")
    labels = np.array(training.labels)
    means = [training.embeddings[labels == c].mean(0) for c in CLASSES]
    length = np.linalg.norm(means[1] - means[0])
    h = np.array([1.0, 0.5, -2.0, 0, 0, 1])
    place = marks.place(h)
    for label, mean in zip(CLASSES, means, strict=True):
        own = np.linalg.norm(training.embeddings[labels == label] - mean, axis=1)
        distance = np.linalg.norm(h - mean)
        assert place.distances[label] * length == pytest.approx(distance, rel=1e-12)
        assert place.percentiles[label] == pytest.approx(100 * np.mean(own < distance), abs=0.6)
        rows = training.embeddings[labels == label]
        order = np.argsort(np.linalg.norm(rows - h, axis=1))[:5]
        ids = np.array(training.ids)[labels == label]
        assert [n.id for n in place.neighbours[label]] == ids[order].tolist()
    nearer = [np.linalg.norm(held.embeddings - m, axis=1) for m in means]
    differ = (nearer[0] < nearer[1]) != (held.scores > 0)
    assert marks.nc4 == np.mean(differ)
    assert sum(marks.rates.values()) == pytest.approx(1)


def test_the_ratio_of_distances_is_a_logistic_fit_of_one_weight(marks) -> None:
    # Two Gaussians of unit variance whose means lie d apart have the ratio (d_F^2 - d_R^2) / 2.
    place = marks.place(np.array([1.0, 0, 0, 0, 0, 0]))
    assert place.llr == pytest.approx((3.0**2 - 1) / 2, rel=0.3)
    assert marks.place(np.array([3.0, 0, 0, 0, 0, 0])).llr < 0


def test_percentiles_at_the_ends_and_at_ties() -> None:
    h = np.array([[0.0], [1], [1], [1], [2], [10], [11], [12]])
    labels = ["bonafide"] * 5 + ["spoof"] * 3
    marks = Landmarks.fit(Embedded(h, h[:, 0], labels, list("abcdefgh"), ["-"] * 8), None)
    ranks = [marks.place(np.array([x])).percentiles["bonafide"] for x in (1.0, 1.5, 2.0, 0.0, 99.0)]
    assert ranks[0] < 50  # at the mean, with most clips
    assert ranks[0] < ranks[1] < ranks[2] <= 100
    assert ranks[4] == 100
    assert marks.rates == {}
    assert marks.place(np.array([1.0])).llr is None


def place_of(**changes) -> Place:
    own = {"u": -0.3, "v": 0.1, "distances": {}, "percentiles": {"bonafide": 50.0, "spoof": 99.5}}
    return Place(**{**own, "nearest": "bonafide", "llr": None, **changes})


@pytest.mark.parametrize(
    ("changes", "score", "word"),
    [
        ({}, 2.0, "CONSISTENT"),
        ({}, -2.0, "CONFLICT"),
        ({"percentiles": {"bonafide": 99.0, "spoof": 99.5}}, 2.0, "CONSISTENT"),
        ({"percentiles": {"bonafide": 99.5, "spoof": 50.0}}, 2.0, "CONFLICT"),
        ({"percentiles": {"bonafide": 99.5, "spoof": 99.5}}, 2.0, "ATYPICAL"),
        ({"percentiles": {"bonafide": 99.5, "spoof": 99.5}}, -2.0, "ATYPICAL"),
    ],
)
def test_words(changes, score, word) -> None:
    assert place_of(**changes).word(score) == word


def test_landmarks_come_back_as_they_were(marks, tmp_path) -> None:
    marks.write(tmp_path)
    back = Landmarks.read(tmp_path)
    for name, value in vars(marks).items():
        np.testing.assert_equal(getattr(back, name), value)
    with pytest.raises(CheckpointError, match="other weights"):
        Landmarks(**{**vars(marks), "detector": "a"}).write(tmp_path) or Landmarks.read(
            tmp_path, detector="b"
        )
    with pytest.raises(CheckpointError, match="earwitness landmarks"):
        Landmarks.read(tmp_path / "none")
    (tmp_path / "landmarks.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        Landmarks.read(tmp_path)


def test_what_gives_no_landmarks(marks) -> None:
    one = Embedded(np.zeros((2, 3)), np.zeros(2), ["spoof", "spoof"], ["a", "b"], ["-", "-"])
    with pytest.raises(ProtocolError, match="no bonafide clip"):
        Landmarks.fit(one, None)
    with pytest.raises(ProtocolError, match="one point"):
        Landmarks.fit(one._replace(labels=["spoof", "bonafide"]), None)
    with pytest.raises(ProtocolError, match="expected a finite embedding of 6"):
        marks.place(np.zeros(5))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A corpus, a trained detector's folder with landmarks, and clips to explain."""
    root = tmp_path_factory.mktemp("explain")
    rng = np.random.default_rng(0)
    trials = []
    for split in ("train", "dev", "test"):
        for n in range(12):
            label = CLASSES[n % 2]
            wave = rng.normal(size=16_000 + 500 * n)
            if label == "spoof":
                wave = np.convolve(wave, np.ones(6) / 6, "same")
            name = f"{split}-{n}"
            audio.write(root / f"{name}.wav", (0.1 * wave).clip(-0.9, 0.9))
            attack = "smooth" if label == "spoof" else "-"
            trials.append(Trial(name, f"{name}.wav", label, attack=attack, domain="d", split=split))
    Manifest("all", trials, root=root).write(root / "manifest.tsv")
    detector = Detector.build(
        {"name": "lfcc", "normalise": "none"}, {"name": "mlp", "hidden": [8]}, seed=0,
        windows=Windows(0.5, 0.25),
    ).train()  # fmt: skip
    optimiser = torch.optim.Adam(detector.parameters(), 0.01)
    train = [t for t in trials if t.split == "train"]
    waves = torch.stack([torch.from_numpy(audio.read(root / t.path).wave[:16_000]) for t in train])
    target = torch.tensor([CLASSES.index(t.label) for t in train])
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(detector(waves).logits, target).backward()
        optimiser.step()
    detector.save(root / "detector")
    told = CliRunner().invoke(app, ["landmarks", str(root / "detector"), str(root / "manifest.tsv")])
    assert told.exit_code == 0, told.output
    return root


def load(place: Path) -> tuple[Detector, Landmarks]:
    detector = Detector.load(place / "detector")
    return detector, Landmarks.read(place / "detector", detector=detector.digest)


def test_an_explanation_is_of_the_score_and_the_embedding(place) -> None:
    detector, marks = load(place)
    told = explain(detector, marks, place / "test-1.wav")
    alone = detector.score(place / "test-1.wav")
    assert told.score == pytest.approx(alone.mean, rel=1e-6)
    np.testing.assert_allclose(told.starts, alone.starts)
    np.testing.assert_allclose(told.scores, alone.windows, rtol=1e-5)
    manifest = Manifest.read(place / "manifest.tsv")
    own = manifest.where(lambda t: t.id == "test-1")
    heard = hear_manifest(detector, own)
    assert told.place == marks.place(heard.embeddings[0])
    assert heard.scores[0] == pytest.approx(float(score(detector, own).values[0]), rel=1e-9)
    assert told.named == told.place.nearest == "spoof"
    assert told.u.mean() == pytest.approx(told.place.u)  # u is linear, and windows weigh the same
    assert told.telling.start == told.starts[told.scores.argmin()]
    assert told.place.neighbours["spoof"][0].origin == "d smooth"
    assert json.loads(json.dumps(told.to_dict()))["verdict"] in WORDS


def test_a_long_recording_is_explained_as_a_short_one(place, monkeypatch) -> None:
    from earwitness import blocks, explanation

    detector, marks = load(place)
    short = explain(detector, marks, place / "test-3.wav")
    monkeypatch.setattr(blocks, "_is_short", lambda *_: False)
    monkeypatch.setattr(blocks, "_BLOCK", 0.3)

    def pieces(path):
        return ((w[:, None], 16_000) for w in np.array_split(audio.read(path).wave, 7))

    monkeypatch.setattr(blocks, "_decoded", pieces)
    monkeypatch.setattr(explanation, "_BATCH", 2)
    monkeypatch.setattr(explanation, "_PICTURED_SECONDS", 0.5)
    long = explain(detector, marks, place / "test-3.wav")
    assert long.wave is None
    assert long.seconds == short.seconds
    np.testing.assert_allclose(long.scores, short.scores, rtol=1e-5)
    np.testing.assert_array_equal(long.telling.wave, short.telling.wave)
    page.render(long)


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_attributions_find_the_band_that_a_detector_hears(name, place) -> None:
    pytest.importorskip("captum")

    class Ear(torch.nn.Module):
        """Scores the level between 2 and 3 kHz in the first half, against nothing else."""

        device = torch.device("cpu")

        def forward(self, wave):
            half = wave[:, : wave.shape[1] // 2]
            power = torch.fft.rfft(half).abs().square()
            hertz = torch.linspace(0, 8000, power.shape[1])
            heard = power[:, (hertz > 2000) & (hertz < 3000)].mean(1)
            return type("Output", (), {"score": heard})

    wave = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    found = EXPLAINERS.build(name, bands=10).attribute(Ear(), wave)
    middle = (found.hertz[1:] + found.hertz[:-1]) / 2
    first = found.seconds[:-1] < 0.5
    inside = (found.hertz[1:] > 1900) & (found.hertz[:-1] < 3100)
    assert found.values[np.ix_(inside, first)].sum() > 0.95 * np.abs(found.values).sum()
    assert 2000 < middle[found.values.sum(1).argmax()] < 3000
    if name == "integrated-gradients":  # complete: values sum to what the floor takes away
        grid = Grid(Ear(), wave, 10, 0.25)
        whole = grid(grid.ones()) - grid(0.01 * grid.ones())
        assert found.values.sum() == pytest.approx(float(whole), rel=1e-3)
    else:
        grid = Grid(Ear(), wave, 10, 0.25)
        gains = grid.ones()
        gains[0, 4, 1] = 0.01
        assert found.values[4, 1] == pytest.approx(float(grid(grid.ones()) - grid(gains)), rel=1e-4)


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_attributions_change_with_random_weights_and_not_without(name, place) -> None:
    pytest.importorskip("captum")
    detector, _ = load(place)
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    wave = audio.read(place / "test-1.wav").wave[:8000]
    explainer = EXPLAINERS.build(name)
    own = explainer.attribute(detector, wave)
    assert agreement(own, explainer.attribute(detector, wave)) == pytest.approx(1)
    others = [explainer.attribute(randomised(detector, seed), wave) for seed in range(8)]
    # A map that doesn't hear the weights would agree with all of them.
    assert np.mean([agreement(own, other) for other in others]) < 0.5
    assert all(torch.equal(before[k], v) for k, v in detector.state_dict().items())
    assert all(p.grad is None for p in detector.parameters())


def test_a_grid_of_ones_is_the_window_itself(place) -> None:
    detector, _ = load(place)
    wave = audio.read(place / "test-1.wav").wave[:8123]
    grid = Grid(detector, wave, 8, 0.25)
    with torch.no_grad():
        torch.testing.assert_close(
            grid(grid.ones()), detector(torch.from_numpy(wave)[None]).score, rtol=1e-4, atol=1e-4
        )


def test_the_page_says_what_was_found_and_escapes_names(place) -> None:
    pytest.importorskip("captum")
    detector, marks = load(place)
    told = explain(detector, marks, place / "test-1.wav", explainer=EXPLAINERS.build("occlusion"))
    name = "<script>alert(1)</script>.wav"
    text = page.render(type(told)(**{**vars(told), "name": name}))
    assert "<script>" not in text
    assert told.sha256 in text
    assert detector.digest in text
    assert words.headline(told) in text
    assert "not calibrated" in text
    assert text.count("<svg") == 3
    assert "http" not in text.replace("http://www.w3.org", "")
    assert text == page.render(type(told)(**{**vars(told), "name": name}))


def test_words_about_base_rates(marks) -> None:
    rates = {"CONFLICT": 0.2, "ATYPICAL": 0.01, "CONSISTENT": 0.79}
    common = Landmarks(**{**vars(marks), "rates": rates})
    assert "common" in words.worth(common, "CONFLICT")
    assert "rare" in words.worth(common, "ATYPICAL")
    assert "no measure" in words.worth(common, "CONSISTENT")
    unknown = Landmarks(**{**vars(marks), "rates": {}, "counts": {"training": {}, "held_out": {}}})
    assert "not known" in words.worth(unknown, "CONFLICT")


def run(place: Path, *more: str):
    return CliRunner().invoke(app, ["explain", *more, "--detector", str(place / "detector")])


def test_the_verb_writes_each_form(place, tmp_path) -> None:
    pytest.importorskip("captum")
    for suffix, begin in ((".html", b"<!doctype"), (".png", b"\x89PNG"), (".json", b"{")):
        told = run(place, str(place / "test-0.wav"), "--out", str(tmp_path / f"a{suffix}"))
        assert told.exit_code == 0, told.output
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(begin)
        assert "bonafide" in told.output
    told = run(place, str(place / "test-0.wav"), "--out", str(tmp_path / "b.json"), "--check")
    assert "random weights" in told.output


def test_a_manifest_gets_a_file_each_and_a_table(place, tmp_path) -> None:
    manifest = Manifest.read(place / "manifest.tsv").where(lambda t: t.split == "test")
    broken = [*manifest, Trial("test/0", "none.wav", "spoof")]
    Manifest("some", broken, root=place).write(place / "some.tsv")
    more = ("--manifest", str(place / "some.tsv"), "--as", "json", "--method", "none")
    told = run(place, *more, "--out", str(tmp_path / "out"))
    assert told.exit_code == 1
    lines = (tmp_path / "out/explanations.csv").read_text().splitlines()
    assert len(lines) == 1 + len(manifest)
    assert len(list((tmp_path / "out").glob("*.json"))) == len(manifest)
    assert "none.wav" in str(told.exception)


@pytest.mark.parametrize(
    ("words_", "message"),
    [
        ((), "name one recording"),
        (("a.wav", "--manifest", "b.tsv"), "name one recording"),
        (("a.wav", "--out", "a.odt"), "html"),
        (("a.wav", "--method", "nothing"), "no explainer"),
        (("a.wav", "--method", "none", "--set", "bands=3"), "--set is for"),
        (("a.wav", "--method", "none", "--check"), "--check compares"),
        (("a.wav", "--set", "bands=0"), "1 to 64 bands"),
        (("a.wav", "--as", "json"), "--as is for --manifest"),
        (("--manifest", "a.tsv", "--check"), "--check is for one"),
    ],
)
def test_wrong_usage_is_told(place, words_, message) -> None:
    told = run(place, *words_)
    assert isinstance(told.exception, SettingsError)
    assert message in str(told.exception)


def test_what_cannot_be_explained(place, marks) -> None:
    vectors = Detector.build({"name": "vectors", "dim": 6}, "linear")
    with pytest.raises(SettingsError, match="eats vector"):
        explain(vectors, marks, place / "test-0.wav")
    three = Detector.build("lfcc", "linear", classes=("a", "b", "c"))
    with pytest.raises(SettingsError, match="names a, b, c"):
        explain(three, marks, place / "test-0.wav")
    with pytest.raises(ProtocolError, match="expected a finite embedding"):
        explain(Detector.build("lfcc", "linear"), marks, place / "test-0.wav")


def test_captum_absent_is_told(place, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    told = run(place, str(place / "test-0.wav"), "--out", "x.html")
    assert "earwitness[explain]" in str(told.exception)


def test_a_ratio_is_no_larger_than_held_out_clips_can_show() -> None:
    rng = np.random.default_rng(0)
    far = clips(rng, apart=60.0)
    few = Embedded(*(part[:12] for part in far))
    marks = Landmarks.fit(far, few)
    assert abs(marks.place(far.embeddings[0]).llr) <= np.log(7) + 1e-9


def test_few_held_out_clips_make_nothing_rare(marks) -> None:
    own = {
        **vars(marks),
        "rates": {"CONFLICT": 0.0},
        "counts": {"held_out": {"bonafide": 6, "spoof": 6}},
    }
    assert "too few" in words.worth(Landmarks(**own), "CONFLICT")


def test_a_sure_network_is_not_said_to_be_certain(place) -> None:
    detector, marks = load(place)
    told = explain(detector, marks, place / "test-0.wav")
    sure = type(told)(**{**vars(told), "score": 80.0})
    assert "more than 99.9 %" in words.headline(sure)
    assert "100" not in words.headline(sure)


def test_contours_hold_the_shares_that_they_are_drawn_for() -> None:
    from matplotlib.figure import Figure

    from earwitness.figures import explaining

    rng = np.random.default_rng(0)
    u, v = rng.normal(0, 0.1, 4000), np.abs(rng.normal(0.5, 0.1, 4000))
    u[0] = 30.0  # a far clip must not coarsen the picture
    h = np.stack([u - 0.5, v], 1)
    h = np.concatenate([h, h + np.array([1.0, 0.0])])
    labels = ["bonafide"] * 4000 + ["spoof"] * 4000
    ids = [str(n) for n in range(8000)]
    marks = Landmarks.fit(Embedded(h, h[:, 0], labels, ids, ["-"] * 8000), None)
    panel = Figure().subplots()
    explaining._contours(panel, marks.density[0], marks.edges_u, marks.edges_v, "red")
    points = np.stack(plane(h[:4000], marks.means), 1)
    filled = panel.collections[1:4]  # from the largest region to the smallest
    inside = [
        np.mean(np.any([path.contains_points(points) for path in one.get_paths()], axis=0))
        for one in filled
    ]
    assert inside == pytest.approx([0.99, 0.9, 0.5], abs=0.03)


def test_names_that_would_break_a_picture_or_a_file(place, tmp_path) -> None:
    data = (place / "test-0.wav").read_bytes()
    odd = place / "a$x_{$.wav"
    odd.write_bytes(data)
    told = run(place, str(odd), "--method", "none", "--out", str(tmp_path / "a.png"))
    assert told.exit_code == 0, told.output
    Manifest("odd", [Trial("\u4e00" * 200, odd.name, "spoof")], root=place).write(place / "odd.tsv")
    more = ("--manifest", str(place / "odd.tsv"), "--as", "json", "--method", "none")
    assert run(place, *more, "--out", str(tmp_path / "out")).exit_code == 0


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_a_frozen_self_supervised_encoder_is_explained_too(name) -> None:
    pytest.importorskip("captum")
    pytest.importorskip("transformers")
    detector = Detector.build({"name": "ssl", "config": {"shape": "tiny"}}, {"name": "mlp"}, seed=0)
    wave = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    found = EXPLAINERS.build(name, bands=2, slice_seconds=0.25).attribute(detector, wave)
    assert np.abs(found.values).max() > 0
    assert all(p.grad is None for p in detector.parameters())


def test_windows_too_large_for_patches_are_refused() -> None:
    pytest.importorskip("captum")
    detector = Detector.build("logmel", "linear")
    with pytest.raises(SettingsError, match="fewer bands"):
        EXPLAINERS.build("occlusion", bands=64).attribute(detector, np.ones(16_000 * 60, np.float32))


def test_a_calibration_of_these_weights_is_told(place, tmp_path) -> None:
    import shutil

    from earwitness.calibration import Calibration
    from earwitness.verdict import put_calibration

    shutil.copytree(place / "detector", tmp_path / "d")
    put_calibration(tmp_path / "d", Calibration("affine", weights=(2.0,), offset=0.5))
    detector = Detector.load(tmp_path / "d")
    told = explain(detector, Landmarks.read(tmp_path / "d"), place / "test-0.wav")
    assert told.calibrated == pytest.approx(2 * told.score + 0.5)
    assert any(line.startswith("Calibrated") for line in words.sentences(told))
    detector.card["calibration"]["of_weights"] = "others"
    assert explain(detector, Landmarks.read(tmp_path / "d"), place / "test-0.wav").calibrated is None


def test_a_run_keeps_landmarks_unless_it_is_told_not_to(place, tmp_path) -> None:
    from earwitness.experiment import Experiment
    from earwitness.landmarks import FILE
    from earwitness.running import run as run_experiment

    settings = {
        "name": "kept",
        "stream": {"corpus": "manifest", "root": str(place / "manifest.tsv"), "by": "all"},
        "detector": {
            "front_end": {"name": "lfcc"},
            "back_end": {"name": "mlp", "hidden": [4]},
            "windows": {"seconds": 0.5, "hop": 0.25},
        },
        "training": {"epochs": 1, "seconds": 0.5},
        "strategies": {"naive": {}},
    }
    (done,) = run_experiment(Experiment.from_settings(settings), tmp_path / "a").runs()
    detector = Detector.load(done.path / "detector")
    marks = Landmarks.read(done.path / "detector", detector=detector.digest)
    train = Manifest.read(place / "manifest.tsv").where(lambda t: t.split == "train")
    heard = hear_manifest(detector, train)
    assert marks.counts["training"] == {"bonafide": 6, "spoof": 6}
    own = heard.embeddings[heard.of("spoof")].mean(0)
    np.testing.assert_allclose(marks.means[1], own, rtol=1e-6)

    settings["evaluation"] = {"landmarks": False}
    without = run_experiment(Experiment.from_settings(settings), tmp_path / "b").runs()[0]
    assert not (without.path / "detector" / FILE).exists()
    # What an earlier day left goes, where it isn't wanted any more.
    marks.write(without.path / "detector")
    (without.path / "done.json").unlink()
    run_experiment(Experiment.from_settings(settings), tmp_path / "b")
    assert not (without.path / "detector" / FILE).exists()
    assert Detector.load(without.path / "detector").digest == detector.digest


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--train", "tain"), "no such split; did you mean 'train'?"),
        (("--held-out", "eval"), "Its splits: train, dev, test"),
        (("--held-out", "train"), "say nothing about others"),
    ],
)
def test_splits_that_are_not_there_are_told(place, more, message) -> None:
    words_ = ["landmarks", str(place / "detector"), str(place / "manifest.tsv"), *more]
    told = CliRunner().invoke(app, words_)
    assert isinstance(told.exception, SettingsError)
    assert message in str(told.exception)


def test_a_batch_that_is_stopped_goes_on_and_other_ways_begin_again(place, tmp_path) -> None:
    from earwitness.explanation.batch import explain_all

    detector, marks = load(place)
    manifest = Manifest.read(place / "manifest.tsv").where(lambda t: t.split == "test")
    heard: list[str] = []

    def one(path, last=None):
        if last is not None and len(heard) == last:
            raise KeyboardInterrupt
        heard.append(path.name)
        return explain(detector, marks, path)

    def batch(folder, how, last=None):
        heard.clear()
        return explain_all(
            manifest, lambda path: one(path, last), folder, "json", how, lambda n, of: None
        )

    batch(tmp_path / "whole", {"detector": "a"})
    with pytest.raises(KeyboardInterrupt):
        batch(tmp_path / "cut", {"detector": "a"}, last=5)
    notes = tmp_path / "cut/explanations.jsonl"
    notes.write_text(notes.read_text()[:-9])  # and a kill in the middle of a line
    batch(tmp_path / "cut", {"detector": "a"})
    assert len(heard) == len(manifest) - 4
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "cut" / file.name).read_bytes() == file.read_bytes()
    assert not notes.exists()
    with pytest.raises(KeyboardInterrupt):
        batch(tmp_path / "cut", {"detector": "a"}, last=5)
    batch(tmp_path / "cut", {"detector": "b"})
    assert len(heard) == len(manifest)
