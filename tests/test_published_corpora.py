"""Readers of published corpora on miniatures in their exact formats, traps included; `corpus check`."""

import hashlib
import json

import numpy as np
import pytest
import soundfile
from miniatures import MINIATURES, RATE, build, sound, write
from typer.testing import CliRunner

from earwitness import corpora
from earwitness.cli import app
from earwitness.corpora.asvspoof5 import enrolment
from earwitness.corpora.checking import about, check
from earwitness.corpora.lines import finish
from earwitness.errors import ProtocolError, SettingsError
from earwitness.trials import Manifest, Trial


@pytest.fixture
def make(tmp_path):
    return lambda name: (tmp_path / name, build(name, tmp_path / name))


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_is_read_whole(name, make):
    root, settings = make(name)
    parts = corpora.read(name, root, **settings)
    files = {str(one.path(t)) for one in parts.values() for t in one}
    assert files == {str(root / path) for path in MINIATURES[name][1]}
    assert all(t.label in ("bonafide", "spoof") for one in parts.values() for t in one)
    assert all((t.attack == "-") for one in parts.values() for t in one if t.label == "bonafide")


@pytest.mark.parametrize("name", MINIATURES)
def test_the_root_may_be_given_too_high(name, make):
    root, settings = make(name)
    above = root.parent
    if name == "codecfake_wu":
        pytest.skip("it takes any folder, so one above is as good")
    assert {p: len(m) for p, m in corpora.read(name, above, **settings).items()} == {
        p: len(m) for p, m in corpora.read(name, root, **settings).items()
    }


@pytest.mark.parametrize("name", MINIATURES)
def test_a_wrong_root_is_explained(name, tmp_path):
    (tmp_path / "readme.md").touch()
    with pytest.raises(ProtocolError, match="expected|none of|found"):
        corpora.read(name, tmp_path)


@pytest.mark.parametrize(
    "name", [n for n in MINIATURES if n not in ("fake_or_real", "wavefake", "codecfake_wu", "add2022")]
)
def test_missing_audio_is_counted_and_named(name, make):
    root, settings = make(name)
    gone = root / MINIATURES[name][1][0]
    gone.unlink()
    with pytest.raises(ProtocolError, match=r"1 of \d+ audio file\(s\) not found"):
        corpora.read(name, root, **settings)
    corpora.read(name, root, require_audio=False, **settings)


@pytest.mark.parametrize("name", ["asvspoof2021_la", "asvspoof2021_df", "asvspoof5", "wavefake"])
def test_official_counts_are_enforced(name, make):
    root, settings = make(name)
    with pytest.raises(ProtocolError, match="official"):
        corpora.read(name, root, **{**settings, "check_counts": True})


def test_totals_alone_are_enforced_too():
    manifest = Manifest("m", [Trial("a", "a", "spoof")])
    with pytest.raises(ProtocolError, match=r"1 trials \(official 2\)"):
        finish({"x": manifest}, {"x": {"total": 2}}, check_counts=True, require_audio=False)
    finish({"x": manifest}, {"x": {"total": 1}}, check_counts=True, require_audio=False)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "said"),
    [
        ("asvspoof2021_la", "keys/LA/CM/trial_metadata.txt", "A07 ", "", "line 1: 7 column"),
        (
            "asvspoof2021_la",
            "keys/LA/CM/trial_metadata.txt",
            " spoof",
            " spof",
            "line 1: label 'spof'.*did you",
        ),
        (
            "asvspoof5",
            "ASVspoof5.eval.track_1.tsv",
            "bonafide -",
            "- -",
            "line 2: the label is '-', expected",
        ),
        ("add2023", "train/label.txt", "genuine", "1", "0 and 1 mean opposite"),
        ("ctrsvdd", "dev.txt", " deepfake", "", "5 column"),
        (
            "morphing",
            "protocol.txt",
            "morph 1",
            "blend 1",
            "line 2: 'a.wav blend 1 2'; expected",
        ),
        ("morphing", "protocol.txt", "LABEL", "KEY", "line 1: 'FILE KEY"),
        ("mlaad", "fake/de/vits/meta.csv", "|VITS|", "|", "line 2: 8 column"),
        ("spoofceleb", "metadata/train.csv", "attack", "atack", "did you mean 'atack'"),
        ("deepfake_eval_2024", "audio-metadata-publish.csv", ",Fake", ",Perhaps", "label 'Perhaps'"),
        ("codecfake_xie", "label/train.txt", " fake 1", " fake", "line 2: 2 column"),
    ],
)
def test_a_malformed_line_is_named(name, file, old, new, said, make):
    root, settings = make(name)
    path = root / file
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    with pytest.raises(ProtocolError, match=said):
        corpora.read(name, root, **settings)


@pytest.mark.parametrize("name", ["asvspoof5", "ctrsvdd", "add2023", "decro", "codecfake_xie"])
def test_unknown_parts_name_the_nearest(name, make):
    root, settings = make(name)
    with pytest.raises(SettingsError, match="has no part 'trainn'"):
        corpora.read(name, root, **{**settings, "parts": ("trainn",)})


def test_subsets_conditions_and_uncoded_rows(make):
    root, settings = make("asvspoof2021_la")
    parts = corpora.read("asvspoof2021_la", root, subsets=("eval",), **settings)
    assert list(parts) == ["eval"]
    assert parts["eval"].counts("codec") == {"alaw": 1, "none": 1}
    root, settings = make("asvspoof5")
    uncoded = list(corpora.read("asvspoof5", root, **settings)["eval"])[1]
    assert (uncoded.get("codec"), uncoded.get("codec_quality"), uncoded.attack) == ("-", "0", "-")


def test_track_2_has_pairs_and_enrolment(make):
    root, settings = make("asvspoof5")
    trials = list(corpora.read("asvspoof5", root, track=2, parts=("eval",), **settings)["eval"])
    assert [(t.id, t.label, t.get("kind")) for t in trials] == [
        ("E_4608 E_0002302238", "spoof", "spoof"),
        ("E_4609 E_0002302239", "bonafide", "target"),
        ("E_4608 E_0002302239", "bonafide", "nontarget"),
    ]
    assert trials[0].get("enrolment") == "E_A0000000562,E_A0000000898"
    path = root / "ASVspoof5.eval.track_2.enroll.tsv"
    for text, said in {
        "E_1 \n": "expected a speaker",
        "E_1 a,,b\n": "expected",
        "E_1 a\nE_1 b\n": "line 2",
    }.items():
        path.write_text(text)
        with pytest.raises(ProtocolError, match=said):
            enrolment(path)
    path.write_text("E_4609 a\n")
    with pytest.raises(ProtocolError, match="line 1: the speaker 'E_4608' has no enrolment line"):
        corpora.read("asvspoof5", root, track=2, parts=("eval",), **settings)


def test_a_name_of_another_form_is_refused(tmp_path):
    sound(tmp_path / "no-plus.wav", 0)
    with pytest.raises(ProtocolError, match="CODEC\\+SPEAKER_SENTENCE"):
        corpora.read("codecfake_wu", tmp_path)
    write(tmp_path / "w/generated_audio/ljspeech_melgan/notes.txt", "x")
    with pytest.raises(ProtocolError, match="expected audio"):
        corpora.read("wavefake", tmp_path / "w", check_counts=False)


# corpus check.


def told(*arguments, code=0):
    result = CliRunner().invoke(app, ["corpus", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_check_tells_counts_files_and_sound(make):
    root, _ = make("asvspoof2021_la")
    findings = {one.what: one for one in check("asvspoof2021_la", root)}
    assert findings["eval, trials"].is_problem
    assert "official: 14,816 bonafide, 133,360 spoof" in findings["eval, trials"].told
    assert findings["eval, audio"].told == "all 2 there"
    assert findings["eval, sound"].told == "2 of 2 decoded"
    assert not findings["duplicates"].is_problem


def test_check_finds_what_is_wrong(make):
    root, _ = make("add2023")
    (root / "train/wav/ADD2023_train_1.wav").unlink()
    (root / "dev/wav/ADD2023_dev_1.wav").write_bytes(b"RIFF no sound")
    soundfile.write(root / "dev/wav/ADD2023_dev_2.wav", np.zeros(8000), RATE)
    sound(root / "train/wav/extra.wav", 99)
    twice = (root / "testR1/wav/ADD2023_testR1_1.wav").read_bytes()
    (root / "testR2/wav/ADD2023_testR2_2.wav").write_bytes(twice)
    findings = {one.what: one for one in check("add2023", root, decode=None)}
    problems = {what for what, one in findings.items() if one.is_problem}
    assert problems == {"train, audio", "dev, sound", "duplicates"}
    assert "1 of 2 missing" in findings["train, audio"].told
    assert "1 all zero" in findings["dev, silence"].told
    assert findings["extra audio"].examples[0].endswith("extra.wav")
    assert "1 file(s) are in two parts" in findings["duplicates"].told
    text = told("check", "add2023", root, "--decode-all", code=1)
    assert text.count("PROBLEM") == 3
    assert "http://addchallenge.cn" in text


def test_check_finds_shared_speakers_and_altered_protocols(make):
    root, _ = make("asvspoof5")
    findings = {one.what: one for one in check("asvspoof5", root)}
    assert findings["ASVspoof5.train.tsv"].is_problem
    assert "published cbfa08e2" in findings["ASVspoof5.train.tsv"].told
    assert findings["train, speakers"].told == "2, official 400"
    path = root / "ASVspoof5.dev.track_1.tsv"
    path.write_text(path.read_text().replace("D_0062", "T_4850"))
    findings = {one.what: one for one in check("asvspoof5", root)}
    assert "1 speaker(s) are in both" in findings["train and dev"].told


def test_right_digests_are_told_as_such(make, monkeypatch):
    root, _ = make("asvspoof5")
    digest = hashlib.md5((root / "ASVspoof5.train.tsv").read_bytes()).hexdigest()
    monkeypatch.setitem(about("asvspoof5").digests, "ASVspoof5.train.tsv", digest)
    findings = {one.what: one for one in check("asvspoof5", root)}
    assert findings["ASVspoof5.train.tsv"].told == "as published"


def test_doubtful_counts_are_told_and_not_enforced(make):
    root, _ = make("mlaad")
    [trials] = [one for one in check("mlaad", root) if one.what == "all, trials"]
    assert not trials.is_problem
    assert "rounded" in trials.told


def test_list_describe_and_manifest(make, tmp_path):
    assert "1,004,081" in told("list")
    text = told("describe", "asvspoof5")
    for said in ("163,560 spoof, 400 speakers", "10.5281/zenodo.14498691", "ODC-By"):
        assert said in text
    assert "not certain" in told("describe", "mlaad")
    assert "Any corpus sorted into folders" in told("describe", "folder")
    root, _ = make("ctrsvdd")
    write(root / "test.txt", "kiritan S1 S1_1 - A09 deepfake\n")
    sound(root / "test_set/S1_1.wav", 5)
    (root / "test_set/S1_1.wav").rename(root / "test_set/S1_1.flac")
    told("manifest", "ctrsvdd", root, "-o", tmp_path / "m.tsv")
    assert len(Manifest.read(tmp_path / "m.tsv")) == 3
    result = CliRunner().invoke(app, ["corpus", "describe", "asvspoof6"])
    assert "did you mean" in str(result.exception)


def test_every_corpus_says_where_it_is_from():
    named = [name for name in corpora.CORPORA.names() if about(name)]
    assert len(named) == 17
    for name in named:
        told_of = about(name)
        assert told_of.home.startswith("http")
        assert told_of.licence
        assert told_of.by_hand
        assert told_of.counts or told_of.doubtful or name in ("morphing",)
    assert (
        json.dumps(dict(about("asvspoof2019_la").counts["eval"]))
        == '{"bonafide": 7355, "spoof": 63882}'
    )
