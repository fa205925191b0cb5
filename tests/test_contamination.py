"""What training and test share, on real sound where it is at hand and on made sound everywhere."""

import io

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earwitness.cli import app
from earwitness.corpora.contamination import fingerprint, shared_values, twins
from earwitness.trials import Manifest, Trial

RATE = 16_000


def voice(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Buzz through moving resonances with pauses: as unlike from seed to seed as sentences are."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 40 * np.interp(t, np.linspace(0, seconds, 12), rng.normal(0, 1, 12))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = np.zeros_like(t)
    for harmonic in range(1, 28):
        strength = np.interp(t, np.linspace(0, seconds, 16), rng.random(16)) ** 2
        wave += strength * np.sin(harmonic * phase) / harmonic**0.5
    return (0.1 * wave + rng.normal(0, 0.002, len(t))).astype(np.float32)


def through_mp3(wave: np.ndarray) -> np.ndarray:
    out = io.BytesIO()
    soundfile.write(out, wave, RATE, format="MP3")
    out.seek(0)
    return soundfile.read(out, dtype="float32")[0]


CHANGES = {
    "the same": lambda wave: wave,
    "gain": lambda wave: 0.3 * wave,
    "cut": lambda wave: wave[11_111:40_000],
    "mp3": through_mp3,
    "noise": lambda wave: wave + np.random.default_rng(9).normal(0, 0.03 * wave.std(), len(wave)),
    "mp3, cut and gain": lambda wave: 2 * through_mp3(wave)[7_000:44_000],
}


@pytest.fixture
def corpora(tmp_path):
    def write(name: str, waves: list[np.ndarray], **tags: str) -> Manifest:
        trials = []
        for number, wave in enumerate(waves):
            soundfile.write(tmp_path / f"{name}{number}.wav", wave, RATE)
            trials.append(Trial(f"{name}{number}", f"{name}{number}.wav", "spoof", **tags))
        manifest = Manifest(name, trials, root=tmp_path)
        manifest.write(tmp_path / f"{name}.tsv")
        return manifest

    return write


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_a_twin(change, corpora):
    train = corpora("train", [voice(seed) for seed in range(12)])
    test = corpora("test", [CHANGES[change](voice(7)), voice(100)])
    found, failed = twins([train], test)
    assert [(one.test.rsplit("/", 1)[1], one.train.rsplit("/", 1)[1]) for one in found] == [
        ("test0.wav", "train7.wav")
    ]
    assert found[0].errors < 0.3
    assert found[0].seconds > 1
    assert failed == {}


def test_other_recordings_are_no_twins(corpora):
    train = corpora("train", [voice(seed) for seed in range(30)])
    test = corpora("test", [voice(seed) for seed in range(50, 80)])
    assert twins([train], test) == ([], {})


def test_real_clips_are_not_taken_for_one_another(speechfake):
    parts = speechfake.split()
    train = parts["train"].where(lambda t: t.domain == "neural_vocoder")
    test = parts["test"].where(lambda t: t.domain == "classical_tts")
    found, _ = twins([train], test)
    assert found == []


def test_short_silent_and_broken_files(corpora, tmp_path):
    train = corpora("train", [voice(1), np.zeros(30_000), voice(2, 0.1)])
    test = corpora("test", [np.zeros(30_000), voice(3, 0.2), voice(1)])
    (tmp_path / "test1.wav").write_bytes(b"RIFF nothing")
    found, failed = twins([train], test)
    assert [one.test for one in found] == [str(tmp_path / "test2.wav")]
    assert list(failed) == [str(tmp_path / "test1.wav")]
    assert len(fingerprint(np.zeros(100, dtype=np.float32))) == 0


def test_shared_values_count_known_ones_only():
    def manifest(*rows: tuple[str, str]) -> Manifest:
        return Manifest(
            "m",
            [
                Trial(f"t{n}", "x", "spoof", speaker=s, tags={"sentence_id": e})
                for n, (s, e) in enumerate(rows)
            ],
        )

    train = manifest(("ann", "s1"), ("-", "s2"), ("ben", "-"))
    test = manifest(("ann", "s9"), ("ann", "s2"), ("-", "-"), ("cal", "s2"))
    found = {one.column: one for one in shared_values([train], test)}
    assert found["speaker"][1:] == (1, 2, ("ann",))
    assert found["sentence"][1:] == (1, 2, ("s2",))
    assert "source" not in found


def test_the_verb_tells_all_of_it(corpora, tmp_path):
    corpora("train", [voice(1), voice(2)], speaker="ann")
    corpora("test", [through_mp3(voice(2)), voice(5)], speaker="ann")
    arguments = [
        "corpus",
        "contamination",
        str(tmp_path / "train.tsv"),
        "--test",
        str(tmp_path / "test.tsv"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "test0.wav = train1.wav" in result.output
    assert "2 of 2" in result.output
    (tmp_path / "test1.wav").write_bytes(b"no")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "not heard" in result.output
    quick = CliRunner().invoke(app, [*arguments, "--no-audio"])
    assert quick.exit_code == 0
    assert "recording" not in quick.output
