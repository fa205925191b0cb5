"""Exported detectors: equal to the detector, usable without torch, and refused where they aren't."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from typer.testing import CliRunner

from earwitness import audio
from earwitness import export as exporting
from earwitness.calibration import Calibration
from earwitness.cli import app
from earwitness.detector import Detector, Windows
from earwitness.errors import CheckpointError, RunError, SettingsError
from earwitness.export import Graph, export
from earwitness.export.parity import compare
from earwitness.frontends import spectra
from earwitness.onnx_detector import OnnxDetector
from earwitness.rules import RULES
from earwitness.rules.base import UNKNOWN
from earwitness.runtimes import open_detector
from earwitness.scores import Scores
from earwitness.trials import Manifest, Trial

pytest.importorskip("onnxscript")
import onnx

CALIBRATION = Calibration("affine", weights=(1.7,), offset=-0.3)


@pytest.fixture(scope="module")
def detector():
    """With LFCC, whose differences look at every frame's neighbours, and normalisation."""
    front_end, back_end = {"name": "lfcc", "normalise": "mean"}, {"name": "mlp", "hidden": (12,)}
    return Detector.build(front_end, back_end, seed=3, windows=Windows(0.4, 0.2)).eval()


@pytest.fixture(scope="module")
def clips(toy_manifest):
    return toy_manifest.where(lambda trial: trial.split == "test")


@pytest.fixture(scope="module")
def folder(detector, clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "model"
    export(detector, folder, clips, calibration=CALIBRATION)
    return folder


@pytest.mark.parametrize(("batch", "samples"), [(1, 512), (3, 6400), (2, 16001), (5, 40000)])
def test_every_output_equals_the_detectors_at_any_length(folder, detector, batch, samples):
    wave = np.random.default_rng(samples).normal(size=(batch, samples)).astype(np.float32)
    found = OnnxDetector.load(folder, threads=1).run(wave)
    with torch.no_grad():
        ours = detector(torch.from_numpy(wave))
    np.testing.assert_allclose(found["score"], ours.score, atol=1e-5)
    np.testing.assert_allclose(found["logits"], ours.logits, atol=1e-5)
    np.testing.assert_allclose(found["embedding"], ours.embedding, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["llr"], 1.7 * ours.score.double() - 0.3, atol=1e-5)


def test_a_recording_is_scored_as_by_the_detector(folder, detector, clips):
    exported = OnnxDetector.load(folder, threads=1)
    assert exported.windows == detector.windows
    for trial in list(clips)[:4]:
        one, other = (d.score(clips.path(trial)) for d in (exported, detector))
        assert one.starts == other.starts
        np.testing.assert_allclose(one.windows, other.windows, atol=1e-5)
        assert one.mean == pytest.approx(other.mean, abs=1e-5)
        assert one.worst == pytest.approx(other.worst, abs=1e-5)
    long = np.random.default_rng(0).normal(size=16_000 * 20).astype(np.float32) * 0.1
    windows = Windows(0.4, 0.1)
    one, other = (d.score(long, windows=windows) for d in (exported, detector))
    assert len(one.windows) > 64  # several calls
    np.testing.assert_allclose(one.windows, other.windows, atol=1e-5)
    assert len(exported.score(long[:100]).windows) == 1  # repeated, as always


def test_the_calibrated_mean_is_the_mean_of_calibrated_windows(folder, clips):
    exported = OnnxDetector.load(folder, threads=1)
    wave = audio.read(clips.path(clips.trials[0])).wave
    starts = audio.windows(len(wave), 6400, 3200)
    rows = np.stack([audio.crop_or_repeat(wave, 6400, start=s) for s in starts])
    told = exported.run(rows)
    assert CALIBRATION.apply([told["score"].mean()])[0] == pytest.approx(told["llr"].mean(), abs=1e-5)


def test_the_card_says_what_it_is(folder, detector, clips):
    card = json.loads((folder / "card.json").read_text())
    assert card["detector"] == detector.digest
    assert card["outputs"] == ["score", "logits", "embedding", "llr"]
    assert card["opset"] == 20
    checked = card["checked"]
    assert checked["clips"] == len(clips)
    assert checked["windows"] > len(clips)
    assert 0 < checked["logits"] < 1e-4
    assert checked["llr"] < 1e-4
    assert not list(folder.parent.glob(".*"))  # nothing half done
    assert site_packages_free(folder / "model.onnx")


def site_packages_free(path):
    """The exporters' notes would tell whose machine this was."""
    text = path.read_bytes()
    if path.suffix == ".pt2":
        with zipfile.ZipFile(path) as parts:
            text = b"".join(parts.read(name) for name in parts.namelist())
    return b"site-packages" not in text and b"earwitness/export" not in text


def test_scoring_needs_no_torch(folder, clips, tmp_path):
    """In a process where importing torch fails."""
    path = clips.path(clips.trials[0])
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['safetensors'] = None\n"
        "from earwitness.cli import main; sys.argv = ['earwitness', *sys.argv[1:]]; main()"
    )
    words = [
        sys.executable,
        "-c",
        code,
        "score",
        str(path),
        "-d",
        str(folder),
        "--llr",
        "--csv",
        "s.csv",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    told = Scores.read(tmp_path / "s.csv")
    exported = OnnxDetector.load(folder)
    assert told.values[0] == pytest.approx(1.7 * exported.score(path).mean - 0.3, abs=1e-5)
    assert json.loads((tmp_path / "s.csv.json").read_text())["detector"] == exported.digest


def test_one_that_scores_otherwise_is_not_written(detector, clips, tmp_path, monkeypatch):
    """The guard fails when it should: a thousandth more, in one output."""

    class Off:
        def __init__(self, name):
            self.name = name

        def run(self, waves):
            with torch.no_grad():
                told = dict(
                    zip(
                        ("score", "logits", "embedding"),
                        Graph(detector)(torch.from_numpy(waves)),
                        strict=True,
                    )
                )
            told = {name: part.numpy() for name, part in told.items()}
            return told | {self.name: told[self.name] + np.float32(1e-3)}

    for name in ("score", "logits", "embedding"):
        with pytest.raises(RunError, match=f"{name} differs from the detector's by"):
            compare(detector, Off(name), clips)
    monkeypatch.setattr(
        exporting.to_torch, "write", lambda graph, path, windows: (path.write_text("x"), {})[1]
    )
    monkeypatch.setattr(exporting.to_torch, "open_", lambda path, detector: Off("score"))
    with pytest.raises(RunError, match="nothing was written"):
        export(detector, tmp_path / "new", clips, format="torch")
    assert not list(tmp_path.iterdir())


def test_not_a_number_is_not_equal(detector, clips):
    class Nothing:
        def run(self, waves):
            n = len(waves)
            return {
                "score": np.full(n, np.nan, np.float32), "logits": np.zeros((n, 2), np.float32),
                "embedding": np.zeros((n, 12), np.float32),
            }  # fmt: skip

    with pytest.raises(RunError, match="differs"):
        compare(detector, Nothing(), clips)


def test_a_torch_program_scores_alike(detector, clips, tmp_path):
    done = export(detector, tmp_path / "program", clips, format="torch")
    assert done.parity.logits < 1e-4
    assert site_packages_free(tmp_path / "program" / "model.pt2")
    program = torch.export.load(tmp_path / "program" / "model.pt2").module()
    wave = torch.randn(3, 9000)
    with torch.no_grad():
        torch.testing.assert_close(program(wave)[0], detector(wave).score, rtol=0, atol=1e-5)


def test_a_class_that_cannot_be_named_stays_so(detector):
    detector.know(["bonafide"])
    try:
        _, logits, _ = Graph(detector)(torch.randn(2, 8000))
        assert (logits[:, 1] == UNKNOWN).all()
    finally:
        detector.know(detector.classes)


def test_what_cannot_be_exported_is_refused(clips, tmp_path, detector, folder):
    def build(front_end, **more):
        return Detector.build(front_end, "linear", **more)

    with pytest.raises(SettingsError, match="eats vectors"):
        Graph(build({"name": "vectors", "dim": 3}))
    with pytest.raises(SettingsError, match="names one, two"):
        Graph(build("logmel", classes=("one", "two")))
    isotonic = Calibration("isotonic", knots=(0.0,), ratios=(1.0,))
    with pytest.raises(SettingsError, match="isotonic.*--no-calibration"):
        Graph(detector, isotonic)
    ruled = build("logmel")
    ruled.set_rule(RULES.build("affine", classes=2))
    with pytest.raises(SettingsError, match="decides by a rule"):
        Graph(ruled)
    with pytest.raises(SettingsError, match="is there already"):
        export(detector, folder, clips)


def test_a_damaged_model_is_refused(folder, tmp_path):
    for name in ("model.onnx", "card.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with open(tmp_path / "model.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match="damaged, or of another card"):
        OnnxDetector.load(tmp_path)
    card = json.loads((folder / "card.json").read_text())
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    for change in ({"windows": None}, {"min_samples": "many"}, {"format_version": 99}):
        (tmp_path / "card.json").write_text(json.dumps(card | change))
        with pytest.raises(CheckpointError, match=r"card\.json"):
            OnnxDetector.load(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(card))
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        OnnxDetector.load(tmp_path)
    with pytest.raises(SettingsError, match="needs 512"):
        OnnxDetector.load(folder).run(np.zeros((1, 100), np.float32))


def test_a_folder_is_opened_for_what_it_holds(folder, detector, tmp_path):
    detector.save(tmp_path / "d")
    assert isinstance(open_detector(folder), OnnxDetector)
    assert isinstance(open_detector(tmp_path / "d"), Detector)
    with pytest.raises(CheckpointError, match="earwitness export"):
        open_detector(tmp_path / "d", "onnx")
    with pytest.raises(CheckpointError, match="not the card of an earwitness detector"):
        open_detector(folder, "torch")


def test_the_command(detector, clips, tmp_path):
    detector.save(tmp_path / "d")
    recording = str(clips.path(clips.trials[0]))
    words = ["export", tmp_path / "d", "-o", tmp_path / "x", "--check", recording, "-f", "torch"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "1 clip(s) (recordings)" in done.output
    again = CliRunner().invoke(app, [str(word) for word in words])
    assert "is there already" in str(again.exception)


# In 8-bit integers.


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A detector with convolutions, and noise that is labelled by which half its score lies in."""
    folder = tmp_path_factory.mktemp("int8")
    detector = Detector.build("lfcc", {"name": "resnet", "width": 4}, seed=1, windows=Windows(0.6, 0.6))
    rng, trials = np.random.default_rng(0), []
    for n in range(80):
        colour = rng.uniform(0, 0.98)
        wave = lfilter([1.0], [1.0, -colour], rng.normal(size=9600))
        audio.write(folder / f"{n}.wav", 0.3 * wave / np.abs(wave).max())
        trials.append((detector.score(folder / f"{n}.wav").mean, f"{n}.wav"))
    middle = np.median([score for score, _ in trials])
    # Two in ten are labelled wrongly, so that the EER has an interval.
    named = [
        Trial(str(n), path, "bonafide" if (score > middle) != (n % 5 == 0) else "spoof")
        for n, (score, path) in enumerate(trials)
    ]
    return detector, Manifest("noise", named, root=folder)


def test_int8_is_smaller_scores_alike_and_its_eer_is_checked(judged, tmp_path):
    detector, clips = judged
    export(detector, tmp_path / "float", clips, calibration=CALIBRATION)
    done = export(detector, tmp_path / "int8", clips, calibration=CALIBRATION, bits="static")
    card = json.loads((tmp_path / "int8" / "card.json").read_text())
    assert card["precision"] == "int8 (static)"
    assert card["int8"] == done.change.told()
    assert done.change.low <= done.change.eer_int8 <= done.change.high
    assert 0 <= done.change.changed_sides < 0.3
    assert done.change.clips == 60  # every fourth of each class gave the ranges
    before, after = (OnnxDetector.load(tmp_path / name, threads=1) for name in ("float", "int8"))
    assert before.digest != after.digest == card["calibration"]["of_weights"]
    found = [[one.score(clips.path(t)).mean for t in clips] for one in (before, after)]
    assert found[0] != found[1]
    assert np.corrcoef(*found)[0, 1] > 0.8  # of random weights; of a trained network, 0.997
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8" / "model.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    weights = onnx.load(tmp_path / "int8" / "model.onnx").graph.initializer
    small = [
        one.name for one in weights if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1
    ]
    assert small
    assert all(name.startswith("back_end.") and "head" not in name for name in small)


def test_int8_that_changes_the_eer_is_not_written(judged, tmp_path, monkeypatch):
    detector, clips = judged

    def turned(model, kind, windows):
        network = onnx.load(model)
        for one in network.graph.initializer:
            if one.name.startswith("back_end.head"):
                one.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(one), one.name))
        onnx.save(network, model)

    monkeypatch.setattr(exporting.int8, "quantise", turned)
    with pytest.raises(RunError, match=r"EER .* in int8, .* in float32 .*outside of that interval"):
        export(detector, tmp_path / "x", clips, bits="static")
    assert list(tmp_path.iterdir()) == []


def test_dynamic_int8_is_for_products_of_matrices(judged, tmp_path):
    detector, clips = judged
    with pytest.raises(SettingsError, match="quantised by 'static'"):
        export(detector, tmp_path / "x", clips, bits="dynamic")
    mlp = Detector.build("lfcc", {"name": "mlp", "hidden": (64, 64)}, seed=1, windows=Windows(0.6, 0.6))
    done = export(mlp, tmp_path / "m", clips, bits="dynamic")
    assert done.change.largest_difference > 0
    kinds = [node.op_type for node in onnx.load(tmp_path / "m" / "model.onnx").graph.node]
    assert kinds.count("MatMulInteger") == 2  # not the head, and nothing of the front end


def test_int8_without_labels_or_of_torch_is_refused(judged, clips, tmp_path):
    detector, noise = judged
    unknown = noise.where(lambda trial: trial.label == "spoof")
    with pytest.raises(SettingsError, match="has 0 labelled bonafide"):
        export(detector, tmp_path / "x", unknown, bits="static")
    with pytest.raises(SettingsError, match="--format onnx"):
        export(detector, tmp_path / "x", noise, bits="static", format="torch")


def test_spectra_by_convolution_are_those_of_stft():
    rng = np.random.default_rng(0)
    wave = torch.from_numpy(rng.normal(size=(2, 5003)))
    for length, fft, hop in ((320, 512, 160), (400, 512, 160), (511, 512, 100), (512, 512, 160)):
        window = torch.hann_window(length, dtype=torch.float64)
        ours = spectra._as_convolution(wave, window, fft, hop)
        theirs = spectra.power_spectrum(wave, window, fft, hop)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)  # the basis is in float32
