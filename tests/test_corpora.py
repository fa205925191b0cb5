"""Corpus readers on miniatures in the published forms, with the traps of those forms."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from earwitness import audio, corpora
from earwitness.corpora import asvspoof2019_la, base, vectors
from earwitness.errors import ProtocolError, SettingsError
from earwitness.trials import join_manifests

SPEECHFAKE = Path(__file__).resolve().parents[2] / "shared" / "data" / "speechfake_cl"


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())  # bytes: line ends stay as they are given
    return path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


# The shelf


def test_every_reader_of_the_shelf_can_be_had():
    for name in corpora.CORPORA.names():
        assert callable(corpora.CORPORA.get(name))
    assert len(corpora.CORPORA.table) == 27


def test_every_module_is_on_the_shelf_or_a_helper():
    modules = {p.stem for p in Path(corpora.__file__).parent.glob("[a-z]*.py")}
    shelved = {place.split(":")[0] for place in corpora.CORPORA.table.values()}
    assert modules == shelved | set(corpora.CORPORA.helpers)


def test_unknown_corpora_and_settings_name_the_nearest(tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'in_the_wild'"):
        corpora.read("in_the_wid", tmp_path)
    with pytest.raises(SettingsError, match="did you mean 'check_counts'"):
        corpora.read("asvspoof2019_la", tmp_path, check_count=False)
    with pytest.raises(SettingsError, match="check_counts is 'no', expected bool"):
        corpora.read("asvspoof2019_la", tmp_path, check_counts="no")


# ASVspoof 2019 LA

PROTOCOLS = {
    "train": "ASVspoof2019.LA.cm.train.trn.txt",
    "dev": "ASVspoof2019.LA.cm.dev.trl.txt",
    "eval": "ASVspoof2019.LA.cm.eval.trl.txt",
}
ATTACKS = {"train": ("A01", "A06"), "dev": ("A01", "A06"), "eval": ("A07", "A19")}


def miniature_lines(part):
    """Four speakers with three bonafide and two spoof utterances of two attacks each."""
    lines = []
    for speaker in range(4):
        for n, system in enumerate(["-"] * 3 + list(ATTACKS[part]) * 2):
            key = "bonafide" if system == "-" else "spoof"
            utterance = f"LA_{part[0].upper()}_{1_000_000 + 10 * speaker + n}"
            lines.append(f"LA_{79 + speaker:04} {utterance} - {system} {key}")
    return lines


@pytest.fixture
def la(tmp_path):
    """A miniature release; CRLF in dev, trailing blank lines in eval."""
    folder = tmp_path / "data" / "LA"
    for part, name in PROTOCOLS.items():
        lines = miniature_lines(part)
        end = "\r\n" if part == "dev" else "\n"
        text = end.join(lines) + end + ("\n\n" if part == "eval" else "")
        write_text(folder / "ASVspoof2019_LA_cm_protocols" / name, text)
        for line in lines:
            touch(folder / f"ASVspoof2019_LA_{part}" / "flac" / f"{line.split()[1]}.flac")
    return folder


def read_la(root, **settings):
    return corpora.read("asvspoof2019_la", root, **{"check_counts": False, **settings})


def rewrite(la, part, change):
    path = la / "ASVspoof2019_LA_cm_protocols" / PROTOCOLS[part]
    lines = miniature_lines(part)
    change(lines)
    write_text(path, "\n".join(lines) + "\n")


def test_the_miniature_is_read_whole_and_in_order(la):
    splits = read_la(la)
    assert list(splits) == ["train", "dev", "eval"]
    for part, manifest in splits.items():
        assert len(manifest) == 28
        assert manifest.counts() == {"bonafide": 12, "spoof": 16}
        assert manifest.counts("attack") == {"-": 12, ATTACKS[part][0]: 8, ATTACKS[part][1]: 8}
        assert len(manifest.counts("speaker")) == 4
        assert manifest.counts("split") == {part: 28}
        assert [t.id for t in manifest] == [line.split()[1] for line in miniature_lines(part)]
    first = splits["dev"].trials[0]
    assert (first.id, first.speaker, first.label) == ("LA_D_1000000", "LA_0079", "bonafide")
    assert splits["dev"].path(first) == la / "ASVspoof2019_LA_dev" / "flac" / "LA_D_1000000.flac"


def test_the_root_may_be_la_or_one_or_two_levels_above(la):
    readings = [read_la(root)["eval"] for root in (la, la.parent, la.parent.parent)]
    assert len({m.fingerprint() for m in readings}) == 1


@pytest.mark.parametrize("below", ["ASVspoof2019_LA_train", "ASVspoof2019_LA_cm_protocols", "no"])
def test_another_root_is_explained(la, below):
    with pytest.raises(ProtocolError, match="expected ASVspoof2019_LA_cm_protocols in this folder"):
        read_la(la / below)


def test_two_releases_below_the_root_are_not_chosen_from(la):
    (la.parent / "copy" / "ASVspoof2019_LA_cm_protocols").mkdir(parents=True)
    with pytest.raises(ProtocolError, match="2 folders hold"):
        read_la(la.parent)


def test_official_counts_are_checked_unless_told_otherwise(la):
    with pytest.raises(ProtocolError, match=r"-: 12 \(official 2,580\), A01: 8 \(official 3,800\)"):
        corpora.read("asvspoof2019_la", la)


def test_the_official_counts_are_those_of_the_paper():
    totals = {
        part: (counts["-"], sum(n for attack, n in counts.items() if attack != "-"))
        for part, counts in asvspoof2019_la._OFFICIAL.items()
    }
    assert totals == {"train": (2580, 22800), "dev": (2548, 22296), "eval": (7355, 63882)}


def test_a_protocol_of_the_official_size_passes(tmp_path):
    rows = [f"LA_0001 LA_D_{n:07} - - bonafide" for n in range(2_548)]
    rows += [f"LA_0001 LA_D_{9_000_000 + n} - A0{1 + n % 6} spoof" for n in range(22_296)]
    folder = tmp_path / "ASVspoof2019_LA_cm_protocols"
    write_text(folder / PROTOCOLS["dev"], "\n".join(rows))
    manifest = read_la(tmp_path, parts=("dev",), check_counts=True, require_audio=False)["dev"]
    assert manifest.counts() == {"bonafide": 2548, "spoof": 22296}
    write_text(folder / PROTOCOLS["dev"], "\n".join(rows[:-1]))
    with pytest.raises(ProtocolError, match=r"A06: 3,715 \(official 3,716\)\."):
        read_la(tmp_path, parts=("dev",), check_counts=True, require_audio=False)


def test_missing_audio_is_counted_and_named(la):
    (la / "ASVspoof2019_LA_eval" / "flac" / "LA_E_1000012.flac").unlink()
    with pytest.raises(ProtocolError, match=r"1 of 28 audio file\(s\) not found.*LA_E_1000012"):
        read_la(la)
    assert len(read_la(la, require_audio=False)["eval"]) == 28
    assert list(read_la(la, parts=["train", "dev"])) == ["train", "dev"]


def test_a_missing_protocol_is_an_error_unless_not_asked_for(la):
    (la / "ASVspoof2019_LA_cm_protocols" / PROTOCOLS["dev"]).unlink()
    with pytest.raises(ProtocolError, match=r"no such protocol; found .*train"):
        read_la(la)
    assert list(read_la(la, parts=("train",))) == ["train"]
    with pytest.raises(SettingsError, match="did you mean 'eval'"):
        read_la(la, parts=("evla",))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("LA_0079 LA_E_1 - bonafide", r"line 3: 4 column\(s\), expected 5"),
        ("LA_0079 LA_E_1 - - bonafide x", r"line 3: 6 column\(s\), expected 5"),
        ("", r"line 3: 0 column\(s\), expected 5"),
        ("LA_0079 LA_E_1 - - genuine", "line 3: the key is 'genuine'"),
        ("LA_0079 LA_E_1 - - spoof", "line 3: the system of a spoof is '-'"),
        ("LA_0079 LA_E_1 - A07 bonafide", "line 3: the system of a bonafide is 'A07'"),
        ("PA_0079 PA_E_1 aaa - bonafide", "line 3: column 3 is 'aaa'"),
    ],
)
def test_a_malformed_line_is_named(la, line, reason):
    rewrite(la, "eval", lambda lines: lines.insert(2, line))
    with pytest.raises(ProtocolError, match=reason):
        read_la(la)


def test_a_protocol_that_is_not_text_is_refused(la):
    path = la / "ASVspoof2019_LA_cm_protocols" / PROTOCOLS["dev"]
    path.write_bytes(b"fLaC\xff\xfe\x00")
    with pytest.raises(ProtocolError, match="not a text file"):
        read_la(la)
    path.write_bytes(b"\n\n")
    with pytest.raises(ProtocolError, match="is empty"):
        read_la(la)


def test_a_repeated_utterance_is_an_error(la):
    rewrite(la, "dev", lambda lines: lines.append(lines[4]))
    with pytest.raises(ProtocolError, match=r"1 duplicate id\(s\), first 'LA_D_1000004'"):
        read_la(la)


# In-the-Wild

META = (
    "file,speaker,label\r\n0.wav,Alec Guinness,spoof\r\n1.wav,Alec Guinness,bonafide\r\n"
    "4.wav,Christopher Hitchens,bona-fide\r\n\r\n"
)


@pytest.fixture
def wild(tmp_path):
    folder = tmp_path / "release_in_the_wild"
    write_text(folder / "meta.csv", META)
    for n in (0, 1, 4):
        touch(folder / f"{n}.wav")
    return folder


def read_wild(root, **settings):
    return corpora.read("in_the_wild", root, **{"check_counts": False, **settings})


def test_in_the_wild_is_one_manifest_with_both_spellings(wild):
    splits = read_wild(wild.parent)
    assert list(splits) == ["all"]
    assert [(t.id, t.path, t.speaker, t.label) for t in splits["all"]] == [
        ("0", "0.wav", "Alec Guinness", "spoof"),
        ("1", "1.wav", "Alec Guinness", "bonafide"),
        ("4", "4.wav", "Christopher Hitchens", "bonafide"),
    ]
    assert splits["all"].fingerprint() == read_wild(wild)["all"].fingerprint()


def test_in_the_wild_is_checked(wild):
    with pytest.raises(ProtocolError, match=r"bonafide: 2 \(official 19,963\)"):
        corpora.read("in_the_wild", wild)
    (wild / "4.wav").unlink()
    with pytest.raises(ProtocolError, match=r"1 of 3 audio file\(s\) not found"):
        read_wild(wild)
    assert len(read_wild(wild, require_audio=False)["all"]) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (META + "1.wav,Alec Guinness,spoof\r\n", "'1' already stands on line 3"),
        (META + "5.wav,Guinness, Alec,spoof\r\n", r"4 column\(s\), expected 3"),
        (META + "5.wav,Alec Guinness,1\r\n", "label '1' is not known"),
        (META.replace("file,", "path,"), "no column 'file'"),
        ("", "the file is empty"),
    ],
)
def test_a_malformed_meta_csv_is_refused(wild, text, reason):
    write_text(wild / "meta.csv", text)
    with pytest.raises(ProtocolError, match=reason):
        read_wild(wild)


def test_in_the_wild_elsewhere_is_explained(tmp_path):
    with pytest.raises(ProtocolError, match=r"expected meta\.csv .* found an empty folder"):
        read_wild(tmp_path)


# Manifest


def test_a_manifest_is_found_named_and_cut_by_split(tmp_path):
    rows = "path\tlabel\tsplit\na.wav\treal\ttrain\nb.wav\tfake\ttrain\nc.wav\tfake\ttest\n"
    file = write_text(tmp_path / "manifest.tsv", rows)
    for root in (tmp_path, file):
        splits = corpora.read("manifest", root)
        assert {name: len(m) for name, m in splits.items()} == {"train": 2, "test": 1}
    assert splits["test"].path(splits["test"].trials[0]) == tmp_path / "c.wav"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "expected manifest.tsv or manifest.csv; found an empty folder"),
        ({"list.txt": "x"}, "found list.txt"),
        ({"manifest.tsv": "x", "manifest.csv": "x"}, "found both"),
        (
            {"manifest.csv": "path,label,split\na,real,dev\nb,fake,\n"},
            r"1 of 2 trial\(s\) have no split",
        ),
    ],
)
def test_an_unclear_manifest_is_refused(tmp_path, files, reason):
    for name, text in files.items():
        write_text(tmp_path / name, text)
    with pytest.raises(ProtocolError, match=reason):
        corpora.read("manifest", tmp_path)


def test_a_column_that_is_not_there_is_an_error_not_a_dash(tmp_path):
    write_text(tmp_path / "manifest.csv", "path,label,generator\na,real,-\n")
    with pytest.raises(ProtocolError, match="no column 'generatr'; did you mean 'generator'"):
        corpora.read("manifest", tmp_path, columns={"attack": "generatr"})


def test_speechfake_cl_has_the_counts_of_its_readme():
    if not SPEECHFAKE.is_dir():
        pytest.skip(f"no {SPEECHFAKE.name} corpus on this machine")
    splits = corpora.read("manifest", SPEECHFAKE, columns={"attack": "generator"})
    found = Counter((t.domain, name, t.label) for name, m in splits.items() for t in m)
    expected = {  # bonafide and spoof of train, dev, test
        "classical_tts": (165, 149, 31, 27, 97, 99),
        "dsp_vocoder": (164, 165, 36, 36, 99, 99),
        "neural_tts": (165, 165, 36, 36, 93, 99),
        "neural_vocoder": (144, 161, 30, 34, 94, 90),
        "voice_conversion": (134, 154, 34, 36, 99, 99),
        "zero_shot_tts": (165, 165, 35, 36, 99, 99),
    }
    cells = [(s, label) for s in ("train", "dev", "test") for label in ("bonafide", "spoof")]
    assert found == {
        (domain, *cell): n
        for domain, numbers in expected.items()
        for cell, n in zip(cells, numbers, strict=True)
    }
    labels = Counter(t.label for m in splits.values() for t in m)
    assert labels == {"bonafide": 1720, "spoof": 1749}
    attacks = {t.attack for m in splits.values() for t in m if t.label == "spoof"}
    assert "-" not in attacks
    assert len(attacks) == 228
    sample = [m.require_files().path(m.trials[n]) for m in splits.values() for n in (0, 99, -1)]
    clips = [audio.read(path) for path in sample]
    assert len(clips) == 9
    assert all(c.original_rate == 16_000 and 1.1 < c.duration < 3.6 for c in clips)


# Folder


def tree(root, *names):
    for name in names:
        touch(root / name)
    return root


def test_a_folder_with_labels_only(tmp_path):
    tree(tmp_path, "real/anna/1.wav", "real/2.FLAC", "fake/vits/x/1.mp3", "fake/3.ogg", "README.md")
    tree(tmp_path, "real/.DS_Store")
    splits = corpora.read("folder", tmp_path)
    assert list(splits) == ["all"]
    assert [(t.id, t.path, t.label, t.attack, t.split) for t in splits["all"]] == [
        ("fake/3", "fake/3.ogg", "spoof", "-", "-"),
        ("fake/vits/x/1", "fake/vits/x/1.mp3", "spoof", "vits", "-"),
        ("real/2", "real/2.FLAC", "bonafide", "-", "-"),
        ("real/anna/1", "real/anna/1.wav", "bonafide", "-", "-"),
    ]
    splits["all"].require_files()


def test_a_folder_with_splits_in_the_spelling_of_fake_or_real(tmp_path):
    for split in ("training", "validation", "testing"):
        tree(tmp_path, f"{split}/real/a.wav", f"{split}/fake/a.wav", f"{split}/fake/b.wav")
    splits = corpora.read("folder", tmp_path)
    assert {name: m.counts() for name, m in splits.items()} == {
        name: {"spoof": 2, "bonafide": 1} for name in ("test", "train", "dev")
    }
    assert splits["dev"].trials[0].id == "validation/fake/a"
    assert splits["dev"].counts("split") == {"dev": 3}
    assert len(join_manifests("both", splits.values())) == 9


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "expected the folders bonafide/ and spoof/.*found an empty folder"),
        (("a.wav", "b.wav"), "found a.wav, b.wav"),
        (("real/a.wav",), "no spoof trial"),
        (("train/fake/a.wav",), "no bonafide trial"),
        (("real/a.wav", "fake/b.wav", "other/c.wav"), "found fake/, other/, real/"),
        (("real/a.wav", "fake/b.wav", "c.wav"), "found c.wav, fake/, real/"),
        (("real/a.wav", "fake/b.wav", "test/fake/c.wav"), "found fake/, real/, test/"),
        (("train/real/a.wav", "train/fake/b.wav", "train/c.wav"), "found c.wav, fake/, real/"),
        (("train/real/a.wav", "train/vits/b.wav"), "found real/, vits/"),
        (("real/a.wav", "fake/b.wav", "fake/c.aac"), r"c\.aac: expected audio"),
        (("real/a.wav", "real/a.flac", "fake/b.wav"), r"1 duplicate id\(s\), first 'real/a'"),
        (("1/a.wav", "0/b.wav"), "found 0/, 1/"),
    ],
)
def test_a_folder_of_another_layout_says_what_was_expected_and_found(tmp_path, names, reason):
    tree(tmp_path, *names)
    with pytest.raises(ProtocolError, match=reason):
        corpora.read("folder", tmp_path)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ProtocolError, match="no such folder"):
        corpora.read("folder", tmp_path / "absent")


# Vectors

NUMBERS = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float16)


@pytest.fixture
def embedded(tmp_path):
    rows = ["id\tlabel\tlang\tsplit", "a\treal\ten\ttrain", "b\tfake\ten\ttrain"]
    rows += ["c\tfake\tde\ttest", "d\treal\tde\ttrain", "e\treal\ten\ttest", "f\tfake\ten\ttest"]
    write_text(tmp_path / "manifest.tsv", "\n".join(rows) + "\n")
    np.save(tmp_path / "vectors.npy", NUMBERS)
    return tmp_path


def test_vectors_follow_their_trials_through_any_selection(embedded):
    splits = corpora.read("vectors", embedded, columns={"domain": "lang"})
    assert {t.path for t in splits["train"]} == {"vectors.npy"}
    assert [t.get("row") for t in splits["test"]] == ["2", "4", "5"]
    assert splits["test"].counts("domain") == {"de": 1, "en": 2}
    loaded = vectors.load_vectors(splits["test"])
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, NUMBERS[[2, 4, 5]].astype(np.float32))
    german = splits["train"].where(lambda t: t.domain == "de")
    np.testing.assert_array_equal(vectors.load_vectors(german), NUMBERS[[3]].astype(np.float32))


def test_vectors_of_two_corpora_can_be_joined(embedded, tmp_path):
    one = corpora.read("vectors", embedded)["train"]
    other = tmp_path / "other"
    write_text(other / "manifest.tsv", "id\tlabel\nx\tfake\ny\treal\n")
    np.save(other / "vectors.npy", np.full((2, 4), [[5.0], [6.0]]))
    both = join_manifests("both", [corpora.read("vectors", other)["all"], one])
    assert vectors.load_vectors(both)[:, 0].tolist() == [5, 6, *NUMBERS[[0, 1, 3], 0]]
    np.save(other / "vectors.npy", np.zeros((2, 3)))
    with pytest.raises(ProtocolError, match="differ in dimensions"):
        vectors.load_vectors(both)
    np.save(other / "vectors.npy", np.zeros((1, 4)))
    with pytest.raises(ProtocolError, match="1 rows, but row 1 is wanted"):
        vectors.load_vectors(both)


def test_a_folder_without_vectors_is_told_what_writes_them(tmp_path):
    with pytest.raises(ProtocolError, match=r"manifest\.tsv: no such file.*earwitness embed"):
        corpora.read("vectors", tmp_path)


def test_a_written_manifest_of_vectors_is_read_again(embedded):
    before = corpora.read("vectors", embedded)
    join_manifests("x", before.values()).where(lambda t: True).write(embedded / "copy.tsv")
    with pytest.raises(ProtocolError, match="the column row says '3', expected 2"):
        corpora.read("vectors", embedded, manifest="copy.tsv")
    lines = (embedded / "copy.tsv").read_text().splitlines()
    ordered = [lines[0], *sorted(lines[1:])]
    write_text(embedded / "copy.tsv", "\n".join(ordered))
    again = corpora.read("vectors", embedded, manifest="copy.tsv")
    assert {n: m.fingerprint() for n, m in again.items()} == {
        n: m.fingerprint() for n, m in before.items()
    }


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (NUMBERS[:5], r"5 row\(s\), but manifest.tsv has 6 trial\(s\)"),
        (NUMBERS[:, 0], r"found float16 of shape \(6,\)"),
        (np.zeros((6, 4), dtype=int), "found int64"),
        (np.where(np.arange(24).reshape(6, 4) == 22, np.nan, NUMBERS), r"1 row\(s\).*first row 5"),
        (np.where(np.arange(24).reshape(6, 4) == 4, np.inf, NUMBERS), r"1 row\(s\).*first row 1"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(embedded, array, reason):
    np.save(embedded / "vectors.npy", array)
    with pytest.raises(ProtocolError, match=reason):
        corpora.read("vectors", embedded)


def test_the_whole_array_is_looked_at_in_pieces(embedded, monkeypatch):
    monkeypatch.setattr(vectors, "_CHUNK", 2)
    assert len(corpora.read("vectors", embedded)) == 2
    np.save(embedded / "vectors.npy", np.where(np.arange(24).reshape(6, 4) == 23, np.inf, NUMBERS))
    with pytest.raises(ProtocolError, match="first row 5"):
        corpora.read("vectors", embedded)


def test_what_is_no_array_is_refused_and_never_unpickled(embedded):
    file = embedded / "vectors.npy"
    np.save(file, np.array([{"a": 1}] * 6, dtype=object), allow_pickle=True)
    with pytest.raises(ProtocolError, match="not an array"):
        corpora.read("vectors", embedded)
    for content in (b"", b"hello", file.read_bytes()[:40]):
        file.write_bytes(content)
        with pytest.raises(ProtocolError, match="not an array"):
            corpora.read("vectors", embedded)
    file.unlink()
    with pytest.raises(ProtocolError, match="no such file"):
        corpora.read("vectors", embedded)


def test_numbers_beyond_float32_are_refused(embedded):
    np.save(embedded / "vectors.npy", np.full((6, 4), 1e300))
    manifest = corpora.read("vectors", embedded)["train"]
    with pytest.raises(ProtocolError, match=r"3 row\(s\) with NaN or infinite"):
        vectors.load_vectors(manifest)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("id\tlabel\na\t1\n", r"trial 1 \(id 'a'\): label '1' is not known"),
        ("id\tlabel\n\treal\n", "trial 1: no id"),
        ("name\tlabel\na\treal\n", "trial 1: no id"),
        ("id\tlabel\na\treal\tx\n", r"line 2: 3 column\(s\), expected 2"),
    ],
)
def test_a_malformed_manifest_of_vectors_is_refused(embedded, rows, reason):
    write_text(embedded / "manifest.tsv", rows)
    np.save(embedded / "vectors.npy", NUMBERS[:1])
    with pytest.raises(ProtocolError, match=reason):
        corpora.read("vectors", embedded)


def test_a_trial_of_audio_has_no_vector(tmp_path):
    tree(tmp_path, "real/a.wav", "fake/b.wav")
    with pytest.raises(ProtocolError, match="the tag row is '-'"):
        vectors.load_vectors(corpora.read("folder", tmp_path)["all"])


# Helpers


def test_listing_is_short(tmp_path):
    tree(tmp_path, *(f"{n}.wav" for n in range(9)))
    assert base.listing(tmp_path).endswith("5.wav and 3 more")
    assert base.listing(tmp_path / "0.wav") == "a file"


def test_counts_that_agree_pass(tmp_path):
    tree(tmp_path, "real/a.wav", "fake/b.wav")
    manifest = corpora.read("folder", tmp_path)["all"]
    base.require_counts(manifest, {"bonafide": 1, "spoof": 1})
    with pytest.raises(ProtocolError, match=r"unknown: 0 \(official 1\)\."):
        base.require_counts(manifest, {"bonafide": 1, "spoof": 1, "unknown": 1})
