"""Trials, manifests, streams, scores, shelves, files: what they keep and what they refuse."""

import json
import os
import threading

import numpy as np
import pytest

from earwitness.errors import ProtocolError, SettingsError
from earwitness.files import remove_leftovers, write_atomically, write_json, write_text
from earwitness.scores import Scores, read_scores
from earwitness.shelf import Shelf, bind_settings
from earwitness.streams import Stream, Task
from earwitness.trials import Manifest, Trial, join_manifests, read_label

A, B = Trial("a", "a.wav", "bonafide"), Trial("b", "b.wav", "spoof", attack="x", tags={"codec": "mp3"})


# Manifests.


@pytest.mark.parametrize("name", ["m.tsv", "m.csv"])
def test_text_out_and_in_again(name, tmp_path):
    manifest = Manifest("m", [A, B], root=tmp_path)
    manifest.write(tmp_path / name)
    again = Manifest.read(tmp_path / name)
    assert [t.id for t in again] == ["a", "b"]
    assert again.trials[1].get("codec") == "mp3"
    assert again.trials[0].get("codec") == "-"
    assert again.counts() == {"bonafide": 1, "spoof": 1}


def test_a_manifest_written_elsewhere_still_finds_its_files(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.wav").touch()
    Manifest("m", [A], root=tmp_path / "there").write(tmp_path / "here" / "m.tsv")
    Manifest.read(tmp_path / "here" / "m.tsv").require_files()


def test_fingerprint_is_of_trials_and_order_not_of_place(tmp_path):
    one = Manifest("m", [A, B], root=tmp_path)
    assert one.fingerprint() == Manifest("other", [A, B]).fingerprint()
    assert one.fingerprint() != Manifest("m", [B, A]).fingerprint()


BAD = {
    "": "the file is empty",
    "id\tpath\n": "line 1: no column 'label'",
    "id,pth,label\n": "no column 'path'; did you mean 'pth'",
    "id,path,label\na,a.wav,bonafide\nb,b.wav\n": r"line 3: 2 column\(s\), expected 3",
    "id,path,label\na,a.wav,bonafide\nb,b.wav,fakee\n": r"line 3 \(id 'b'\): label 'fakee'.*'fake'",
    "id,path,label\na,a.wav,1\n": "0 and 1 mean opposite things",
    "id,path,label\na,a.wav,real\nb,b.wav,fake\na,c.wav,fake\n": "line 4: the id 'a'.*on line 2",
    "id,path,label\n": "is empty: at least one trial",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_manifest_says_where_and_what(text, tmp_path):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ProtocolError, match=BAD[text]):
        Manifest.read(tmp_path / "m.csv")


def test_missing_files_folders_and_binaries(tmp_path):
    with pytest.raises(ProtocolError, match="no such file"):
        Manifest.read(tmp_path / "absent.tsv")
    with pytest.raises(ProtocolError, match="not a text file"):
        Manifest.read(tmp_path)
    (tmp_path / "x.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ProtocolError, match="not a text file"):
        Manifest.read(tmp_path / "x.tsv")
    with pytest.raises(ProtocolError, match="no column 'generator' to rename"):
        Manifest("m", [A]).write(tmp_path / "m.tsv") or Manifest.read(
            tmp_path / "m.tsv", columns={"attack": "generator"}
        )


def test_crlf_and_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbfid,path,label\r\na,a.wav,Bona-Fide\r\n\r\n")
    assert [t.label for t in Manifest.read(tmp_path / "m.csv")] == ["bonafide"]


def test_empty_selections_one_class_and_missing_files_are_errors(tmp_path):
    manifest = Manifest("m", [A, B], root=tmp_path)
    with pytest.raises(ProtocolError, match="empty"):
        manifest.where(lambda t: False)
    with pytest.raises(ProtocolError, match="no bonafide trial"):
        manifest.where(lambda t: t.label == "spoof").require_both_classes()
    with pytest.raises(ProtocolError, match=r"2 of 2 audio file\(s\) not found"):
        manifest.require_files()
    with pytest.raises(ProtocolError, match="duplicate id"):
        join_manifests("j", [manifest, manifest])
    with pytest.raises(ProtocolError, match=r"unknown label\(s\), first 'genuine'"):
        Manifest("m", [Trial("a", "a.wav", "genuine")])


@pytest.mark.parametrize("text", ["bonafide", "bona-fide", "Genuine", " real ", "human"])
def test_every_spelling_of_bonafide(text):
    assert read_label(text) == "bonafide"


@pytest.mark.parametrize("text", ["spoof", "fake", "Deepfake", "morph", "generated"])
def test_every_spelling_of_spoof(text):
    assert read_label(text) == "spoof"


# Streams.


def trials(split: str, domain: str = "d") -> list[Trial]:
    return [
        Trial(
            f"{domain}{split}{label}", f"{domain}{split}{label}.wav", label, domain=domain, split=split
        )
        for label in ("bonafide", "spoof")
    ]


def test_a_stream_is_cut_by_a_column_in_an_order():
    whole = [t for d in "xy" for s in ("train", "dev", "test") for t in trials(s, d)]
    manifest = Manifest("m", whole)
    assert [t.name for t in Stream.by(manifest)] == ["x", "y"]
    assert [t.name for t in Stream.by(manifest, order=["y", "x"])] == ["y", "x"]
    with pytest.raises(ProtocolError, match="has no domain 'z'"):
        Stream.by(manifest, order=["z"])
    odd = Trial("q", "q.wav", "spoof", domain="x", split="Train")
    with pytest.raises(ProtocolError, match=r"other splits than train, dev, test: \{'Train': 1\}"):
        Stream.by(Manifest("m", [*whole, odd]))
    with pytest.raises(ProtocolError, match="no trial with split 'eval'"):
        Stream.by(manifest, test_split="eval")


def test_a_clip_in_two_splits_is_refused():
    train, dev, test = (Manifest(s, trials(s)) for s in ("train", "dev", "test"))
    assert len(Stream([Task("t", train, dev, test)])) == 1
    with pytest.raises(
        ProtocolError, match=r"2 clip\(s\) are in two splits.*train of task 't' and test"
    ):
        Stream([Task("t", train, dev, train)])
    other = Manifest("o", [*trials("train", "e"), *trials("test")])
    with pytest.raises(ProtocolError, match="in test of task 't' and train of task 'u'"):
        Stream(
            [
                Task("t", train, dev, test),
                Task("u", other, *(Manifest(s, trials(s, "e")) for s in ("dev", "test"))),
            ]
        )
    with pytest.raises(ProtocolError, match="more than once"):
        Stream([Task("t", train, dev, test)] * 2)
    with pytest.raises(ProtocolError, match="at least one task"):
        Stream([])


# Scores.


def test_scores_come_back_with_all_their_bits(tmp_path):
    values = np.random.default_rng(0).normal(size=50)
    scores = Scores(
        [f"{i}" for i in range(50)], values, ["bonafide", "spoof"] * 25, provenance={"a": 1}
    )
    for name in ("s.csv", "s.tsv"):
        scores.write(tmp_path / name)
        again = Scores.read(tmp_path / name)
        assert np.array_equal(again.values, values)
        assert again.labels == scores.labels
        assert json.loads((tmp_path / f"{name}.json").read_text()) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a,1.5,bonafide\nb,-2,spoof\n",
        "file_name,score,label\na,1.5,real\nb,-2,fake\n",
        "label\tscore\tfile_name\ngenuine\t1.5\ta\ndeepfake\t-2\tb\n",
        "a\t1.5\tbona-fide\nb\t-2\tspoof\n",
    ],
)
def test_layouts_with_and_without_header(text, tmp_path):
    (tmp_path / "s").write_text(text)
    scores = Scores.read(tmp_path / "s")
    assert scores.ids == ["a", "b"]
    assert scores.bonafide.tolist() == [1.5]
    assert scores.spoof.tolist() == [-2.0]


BAD_SCORES = {
    "": "empty",
    "a,x,spoof\n": "line 1: expected a score in column 2, found 'x'",
    "a,1,spoof\nb\n": "line 2",
    "a,1,spoof\na,2,spoof\n": "duplicate",
    "a,nan,spoof\n": "NaN or infinite",
    "a,inf,spoof\n": "NaN or infinite",
    "name,score\na,1\n": "no id column",
}


@pytest.mark.parametrize("text", BAD_SCORES)
def test_a_bad_score_file_says_where_and_what(text, tmp_path):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ProtocolError, match=BAD_SCORES[text]):
        Scores.read(tmp_path / "s.csv")


@pytest.mark.parametrize("score", ["score", "Score", " SCORE"])
def test_the_label_may_stand_before_the_score(score, tmp_path):
    (tmp_path / "s.csv").write_text(f"file_name,label,{score}\na,real,1.5\nb,fake,-2\n")
    scores = read_scores(tmp_path / "s.csv")
    assert isinstance(scores, Scores)
    assert (scores.bonafide.tolist(), scores.spoof.tolist()) == ([1.5], [-2.0])


def test_joining_needs_the_same_trials():
    manifest = Manifest("m", [A, B])
    joined = Scores(["b", "a"], [2, 1]).join(manifest)
    assert joined.ids == ["a", "b"]
    assert joined.labels == ["bonafide", "spoof"]
    with pytest.raises(ProtocolError, match=r"1 without a score \(first 'b'\), 1 scored but not in"):
        Scores(["a", "c"], [1, 2]).join(manifest)
    with pytest.raises(ProtocolError, match="equally many"):
        Scores(["a"], [1, 2])
    with pytest.raises(ProtocolError, match=r"label\(s\) are not"):
        Scores(["a"], [1], ["genuine"])


# Shelves.


class Component:
    def __init__(
        self, *, width: int = 3, rate: float = 0.1, how: tuple[int, ...] = (), on: bool = False
    ):
        self.width, self.rate, self.how, self.on = width, rate, how, on


class Wrapped(Component):
    def __init__(self, *, extra: str | None = None, **settings):
        super().__init__(**settings)
        self.extra = extra


def test_settings_are_bound_to_the_signature_also_through_a_base():
    bound = bind_settings(Wrapped, {"rate": 1, "how": [1, 2], "extra": "x"}, "thing")
    assert bound == {"rate": 1.0, "how": (1, 2), "extra": "x"}
    assert isinstance(bound["rate"], float)
    for wrong, message in {
        ("widht", 3): "no setting 'widht'; did you mean 'width'",
        ("width", 3.5): "width is 3.5, expected int",
        ("width", True): "width is True, expected int",
        ("on", 1): "on is 1, expected bool",
        ("how", ("x",)): "how is 'x', expected int",
        ("extra", 3): "extra is 3, expected str or",
    }.items():
        with pytest.raises(SettingsError, match=message.replace("(", r"\(")):
            bind_settings(Wrapped, dict([wrong]), "thing")


def test_a_missing_setting_is_named():
    def build(*, dim: int) -> int:
        return dim

    with pytest.raises(SettingsError, match="needs the setting 'dim'"):
        bind_settings(build, {}, "front end 'x'")


def test_installed_packages_add_components(monkeypatch):
    class Entry:
        name = "theirs"

        def load(self):
            return Component

    monkeypatch.setattr(
        "earwitness.shelf.entry_points", lambda group: [Entry()] if group == "p" else []
    )
    shelf = Shelf("p", "thing", {})
    assert shelf.names() == ["theirs"]
    assert shelf.build("theirs", width=5).width == 5
    with pytest.raises(SettingsError, match="did you mean 'theirs'"):
        shelf.get("their")


# Files.


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "f.txt"
    write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f.txt"]
    (tmp_path / ".f.txt.abc.tmp").write_text("left by a killed process")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["f.txt"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "f.json"
    write_json(path, {"n": 0})
    stop = threading.Event()

    def write():
        for n in range(200):
            write_json(path, {"n": n, "filler": "x" * 20_000})
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while not stop.is_set():
        json.loads(path.read_text())
        reads += 1
    thread.join()
    assert reads > 0
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
