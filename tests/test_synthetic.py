"""The synthetic corpus: the same bytes from the same seed, whole or refused, and no shortcuts."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp, spearmanr

from earwitness import audio
from earwitness.corpora._generators import GENERATORS
from earwitness.corpora._recording import CONDITIONS
from earwitness.corpora._voice import draw_speaker, speak
from earwitness.corpora.synthetic import make, read
from earwitness.errors import ProtocolError, SettingsError
from earwitness.files import digest
from earwitness.shelf import bind_settings
from earwitness.streams import Stream
from earwitness.trials import Manifest

SMALL = {"domains": ("upsampler", "griffin-lim"), "clips": (3, 1, 2), "seconds": (0.5, 0.7)}


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): digest(p) for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Manifest:
    return make(tmp_path_factory.mktemp("synthetic"), **SMALL)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[tuple[str, str], np.ndarray]:
    """Of each domain and label: rows of duration, level, peak, leading silence."""
    corpus = make(tmp_path_factory.mktemp("measured"), clips=(16, 1, 1), seconds=(0.5, 0.9), seed=3)
    rows: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for trial in corpus:
        wave = audio.read(corpus.path(trial)).wave
        peak = np.abs(wave).max()
        lead = np.argmax(np.abs(wave) > 0.1 * peak)
        row = (len(wave), np.sqrt(np.mean(wave**2)), peak, lead)
        rows.setdefault((trial.domain, trial.label), []).append(row)
    return {key: np.array(row) for key, row in rows.items()}


def test_the_same_seed_gives_the_same_bytes(small, tmp_path):
    make(tmp_path, **SMALL)
    found = digests(tmp_path)
    assert found == digests(small.root)
    assert len(found) == 2 * 2 * 6 + 2  # clips, manifest.tsv, corpus.json
    assert len(set(found.values())) == len(found)


def test_another_seed_gives_other_sounds(small, tmp_path):
    one = {"domains": ("upsampler",), "clips": (1, 1, 1), "seconds": (0.5, 0.7)}
    make(tmp_path, **one, seed=1)
    theirs, ours = digests(small.root), digests(tmp_path)
    clips = [name for name in ours if name.endswith(".flac")]
    assert len(clips) == 6
    assert all(ours[name] != theirs[name] for name in clips)


def test_a_clip_does_not_depend_on_company_or_order(small, tmp_path):
    make(tmp_path, domains=("griffin-lim", "sinusoidal"), clips=(1, 1, 1), seconds=(0.5, 0.7))
    theirs, ours = digests(small.root), digests(tmp_path)
    shared = [name for name in ours if name.startswith("griffin-lim/")]
    assert len(shared) == 6
    assert all(ours[name] == theirs[name] for name in shared)


def test_counts_labels_and_attacks(small):
    small.require_files()
    assert small.counts("domain") == {"upsampler": 12, "griffin-lim": 12}
    for part in small.split("domain").values():
        assert part.counts("split") == {"train": 6, "dev": 2, "test": 4}
        assert all(
            m.counts() == {"bonafide": len(m) / 2, "spoof": len(m) / 2} for m in part.split().values()
        )
    assert all(t.attack == (t.domain if t.label == "spoof" else "-") for t in small)
    assert all(t.speaker.startswith("synthetic-s") for t in small)


def test_clips_are_16_khz_mono_and_as_long_as_asked(small):
    for trial in small:
        clip = audio.read(small.path(trial))
        assert (clip.original_rate, clip.channels) == (16_000, 1)
        assert 0.5 <= clip.duration <= 0.7
        assert np.isfinite(clip.wave).all()


def test_speakers_of_splits_are_disjoint(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "write", lambda path, wave: None)
    monkeypatch.setattr("earwitness.corpora.synthetic._clip", lambda *_: None)
    parts = make(tmp_path).split()
    speakers = {name: set(part.counts("speaker")) for name, part in parts.items()}
    assert {name: len(s) for name, s in speakers.items()} == {"train": 20, "dev": 10, "test": 20}
    assert len(set.union(*speakers.values())) == 50
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 480,
        "dev": 160,
        "test": 320,
    }


def test_read_gives_splits_that_make_a_stream(small):
    splits = read(small.root, **SMALL)
    assert list(splits) == ["train", "dev", "test"]
    stream = Stream.by(Manifest("all", (t for m in splits.values() for t in m), root=small.root))
    assert [task.name for task in stream] == ["upsampler", "griffin-lim"]


def test_settings_from_a_file_are_checked():
    bound = bind_settings(read, {"root": "x", "domains": ["upsampler"], "seconds": [1, 2]}, "corpus")
    assert bound == {"root": "x", "domains": ("upsampler",), "seconds": (1.0, 2.0)}
    for wrong in ({"clips": [0.5, 1, 1]}, {"seed": 0.5}, {"seconds": ["a"]}, {"domain": ["x"]}):
        with pytest.raises(SettingsError):
            bind_settings(read, {"root": "x", **wrong}, "corpus")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"domains": ("upsampled",)}, "did you mean 'upsampler'"),
        ({"domains": ()}, "at least one name"),
        ({"domains": ("upsampler", "upsampler")}, "none twice"),
        ({"clips": (1, 1)}, "three counts"),
        ({"clips": (1, 0, 1)}, "three counts"),
        ({"seconds": (0.1, 1.0)}, "0.5 or more"),
        ({"seconds": (2.0, 1.0)}, "0.5 or more"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, wrong, message):
    with pytest.raises(SettingsError, match=message):
        make(tmp_path / "corpus", **wrong)
    assert not (tmp_path / "corpus").exists()


def test_a_complete_corpus_is_used_again(small, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in small.root.rglob("*")}
    monkeypatch.setattr(audio, "write", lambda *_: pytest.fail("nothing should be written"))
    again = make(small.root, **SMALL)
    assert again.fingerprint() == small.fingerprint()
    assert {p: p.stat().st_mtime_ns for p in small.root.rglob("*")} == before


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"clips": (3, 1, 1)}, {"seconds": (0.5, 0.8)}, {"domains": ("upsampler",)}],
)
def test_other_settings_are_refused(small, other):
    with pytest.raises(ProtocolError, match="choose another folder"):
        make(small.root, **(SMALL | other))


def test_a_killed_run_is_taken_up_where_it_stopped(small, tmp_path, monkeypatch):
    written: list[Path] = []
    write = audio.write

    def killed_after_seven(path, wave):
        if len(written) == 7:
            raise KeyboardInterrupt
        written.append(path)
        write(path, wave)

    monkeypatch.setattr(audio, "write", killed_after_seven)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, **SMALL)
    monkeypatch.setattr(audio, "write", write)
    assert not (tmp_path / "manifest.tsv").exists()
    with pytest.raises(ProtocolError, match="choose another folder"):
        make(tmp_path, **SMALL, seed=1)
    early = {path: path.stat().st_mtime_ns for path in written}
    make(tmp_path, **SMALL)
    assert digests(tmp_path) == digests(small.root)
    assert {path: path.stat().st_mtime_ns for path in written} == early


@pytest.mark.parametrize("content", [None, "[]", "{}", "no json"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, content):
    (tmp_path / "manifest.tsv").write_text("mine")
    if content is not None:
        (tmp_path / "corpus.json").write_text(content)
    before = digests(tmp_path)
    with pytest.raises(ProtocolError, match="no synthetic corpus"):
        make(tmp_path, **SMALL)
    assert digests(tmp_path) == before


def test_a_damaged_corpus_is_refused(tmp_path):
    settings = SMALL | {"clips": (1, 1, 1)}
    corpus = make(tmp_path, **settings)
    table = tmp_path / "manifest.tsv"
    text = table.read_text()
    table.write_text(text.replace("synthetic-s000", "somebody"))
    with pytest.raises(ProtocolError, match="was changed"):
        make(tmp_path, **settings)
    table.write_text(text)
    corpus.path(corpus.trials[0]).unlink()
    with pytest.raises(ProtocolError, match="not found"):
        make(tmp_path, **settings)


def test_duration_level_and_lead_do_not_tell_the_classes_apart(measured):
    assert len(measured) == 8
    for domain in GENERATORS:
        bonafide, spoof = measured[domain, "bonafide"], measured[domain, "spoof"]
        assert len(bonafide) == len(spoof) == 18
        np.testing.assert_array_equal(bonafide[:, 0], spoof[:, 0])  # durations are paired
        np.testing.assert_allclose(bonafide[:, 1], spoof[:, 1], rtol=0.01)
        for column in range(4):
            assert ks_2samp(bonafide[:, column], spoof[:, column]).statistic < 0.4


def test_the_shortcut_guard_sees_a_shortcut(measured):
    louder = measured["upsampler", "spoof"][:, 1] * 10 ** (4 / 20)
    assert ks_2samp(measured["upsampler", "bonafide"][:, 1], louder).statistic > 0.4


def test_every_generator_has_a_recording_condition():
    assert list(GENERATORS) == list(CONDITIONS)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_keeps_length_timing_and_sense(name):
    rng = np.random.default_rng(5)
    voice = speak(draw_speaker("x", rng), 20_001, 0.1, rng)
    made = GENERATORS[name](voice, np.random.default_rng(6))
    assert made.shape == voice.shape
    assert np.isfinite(made).all()
    blocks = [np.log(np.mean(w[:20_000].reshape(-1, 400) ** 2, axis=1) + 1e-6) for w in (voice, made)]
    assert spearmanr(*blocks).statistic > 0.8
    assert np.corrcoef(voice, made)[0, 1] < 0.999


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_bears_silence(name):
    made = GENERATORS[name](np.zeros(8000), np.random.default_rng(0))
    assert made.shape == (8000,)
    assert np.abs(made).max() < 1e-3


def test_a_voice_has_its_pitch():
    rng = np.random.default_rng(1)
    for _ in range(5):
        speaker = draw_speaker("x", rng)
        voice = speak(speaker, 32_000, 0.05, rng)
        power = np.abs(np.fft.rfft(voice, 65_536)) ** 2
        correlation = np.fft.irfft(power)[: 16_000 // 60]
        lag = 16_000 // 400 + np.argmax(correlation[16_000 // 400 :])
        assert 0.7 < 16_000 / lag / speaker.pitch < 1.4
