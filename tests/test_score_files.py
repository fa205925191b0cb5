"""Score files and protocols of other people: layouts, signs, joins, and what is refused."""

import gzip

import numpy as np
import pytest

from earwitness.delimited import sniff
from earwitness.errors import ProtocolError, SettingsError
from earwitness.evaluation import evaluate
from earwitness.protocols import LAYOUTS, Protocol
from earwitness.scores import Scores
from earwitness.trials import Manifest, Trial

# Each says the same of two trials: a, bonafide, 1.5; b, spoof, -2.
LAYOUTS_OF_SCORES = {
    "rat": "a,1.5,bonafide\nb,-2,spoof\n",
    "ours": "file_name,score,label\na,1.5,bonafide\nb,-2,spoof\n",
    "tsv": "file_name\tscore\tlabel\na\t1.5\treal\nb\t-2\tfake\n",
    "2019": "a - bonafide 1.5\nb A07 spoof -2\n",
    "2019, aligned": "a  -    bonafide  1.5\nb  A07  spoof    -2.0  \n",
    "spoof_SUPERB": "a - bonafide 1.5\nb - spoof -2\n",
    "label before score": "ID_audio;key;cm-score\na;bona-fide;1.5\nb;deepfake;-2\n",
    "two scores": "ID_audio,label,score_spoof,score_bonafide\na,real,0.5,2\nb,fake,1,-1\n",
    "of spoof": "file,label,score_spoof\na,real,-1.5\nb,fake,2\n",
    "pipes": "id|score|label\na|1.5|bonafide\nb|-2|spoof\n",
    "byte order mark": "\ufefffile_name,score,label\na,1.5,bonafide\nb,-2,spoof\n",
    "CRLF, blank lines": "\r\nid,score,label\r\n\r\na,1.5,bonafide\r\nb,-2,spoof\r\n\r\n",
    "padded": "file_name, score, label\na , 1.5, bonafide\nb, -2 ,spoof\n",
}


@pytest.mark.parametrize("layout", LAYOUTS_OF_SCORES)
def test_a_layout_is_read(layout, tmp_path):
    path = tmp_path / "scores.txt"
    path.write_bytes(LAYOUTS_OF_SCORES[layout].encode())
    scores = Scores.read(path)
    assert scores.ids == ["a", "b"]
    assert scores.values.tolist() == [1.5, -2.0]
    assert scores.labels == ["bonafide", "spoof"]


def test_without_labels_and_with_gzip(tmp_path):
    for name, text in {
        "s.txt": b"a 1.5\nb -2\n",
        "t.tsv": b"filename\tcm-score\na\t1.5\nb\t-2\n",
    }.items():
        (tmp_path / name).write_bytes(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text))
        for path in (tmp_path / name, tmp_path / f"{name}.gz"):
            scores = Scores.read(path)
            assert (scores.ids, scores.values.tolist()) == (["a", "b"], [1.5, -2.0])
            assert scores.labels == ["unknown", "unknown"]


def test_ids_with_spaces_are_cut_from_the_right(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("my clip 1.wav - bonafide 1.5\nb - spoof -2\nanother one - spoof -3\n")
    scores = Scores.read(path)
    assert scores.ids == ["my clip 1.wav", "b", "another one"]
    path.write_text("a b c d e f\ng h i j k l\n")
    with pytest.raises(ProtocolError, match="6 columns and no header"):
        Scores.read(path)


def test_pairs_of_track_2_need_the_speaker(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text(
        "spk\tfilename\tcm-score\tasv-score\tsasv-score\nann\tf\t1\t2\t3\nben\tf\t4\t-\t6\n"
    )
    scores = Scores.read(path)
    assert (scores.ids, scores.values.tolist()) == (["ann f", "ben f"], [1.0, 4.0])
    assert Scores.read(path, column="sasv-score").values.tolist() == [3.0, 6.0]
    with pytest.raises(ProtocolError, match="line 3: expected a score in column 4, found '-'"):
        Scores.read(path, column="asv-score")
    with pytest.raises(SettingsError, match="did you mean 'asv-score'"):
        Scores.read(path, column="asv-scor")


def test_signs_are_declared_never_guessed(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("file_name,score,label\na,-1.5,bonafide\nb,2,spoof\n")
    assert Scores.read(path).values.tolist() == [-1.5, 2.0]
    judged = evaluate(Scores.read(path), intervals=False)
    assert judged.values["eer"] == 1.0
    assert any("probably inverted" in warning for warning in judged.warnings)
    assert Scores.read(path, higher_is="spoof").values.tolist() == [1.5, -2.0]
    assert Scores.read(path, higher_is="bonafide").values.tolist() == [-1.5, 2.0]
    path.write_text("file,score_spoof\na,0.1\nb,0.9\n")
    assert Scores.read(path).values.tolist() == [-0.1, -0.9]
    with pytest.raises(SettingsError, match="speak of spoof"):
        Scores.read(path, higher_is="bonafide")
    odds = Scores.read(path, probabilities=True).values
    np.testing.assert_allclose(odds, [np.log(9), -np.log(9)])


def test_probabilities_become_finite_log_odds(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("a,1,bonafide\nb,0,spoof\nc,0.5,spoof\n")
    values = Scores.read(path, probabilities=True).values
    assert np.isfinite(values).all()
    assert values[0] == -values[1] > 36
    assert values[2] == 0
    flipped = Scores.read(path, probabilities=True, higher_is="spoof").values
    assert flipped.tolist() == (-values).tolist()
    path.write_text("a,1.5,bonafide\n")
    with pytest.raises(ProtocolError, match=r"line 1: 1 of 1 scores are no probabilities, first 1.5"):
        Scores.read(path, probabilities=True)


def test_integers_are_labels_only_by_word(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("a,0.9,0\nb,0.1,1\nc,0.4,nan\n")
    plain = Scores.read(path)
    assert plain.labels == ["unknown"] * 3
    with pytest.raises(ProtocolError, match=r"3 of 3 .*0 and 1, which mean opposite things.*--one-is"):
        evaluate(plain)
    assert Scores.read(path, one_is="spoof").labels == ["bonafide", "spoof", "unknown"]
    assert Scores.read(path, one_is="bonafide").labels == ["spoof", "bonafide", "unknown"]
    protocol = Protocol("p", ["c", "b", "a"], ["spoof", "spoof", "bonafide"])
    assert plain.join(protocol).values.tolist() == [0.4, 0.1, 0.9]


BAD = {
    "a,1\nb,2,x\n": "more columns than the first",
    "a,1,bonafide\nb\n": "line 2: column 2 is empty",
    "a,1,bonafide\n\nb,?,spoof\n": "line 3: expected a score in column 2, found '\\?'",
    "a,1,maybe\n": r"column 3, trial 1 \(1 such\): label 'maybe' is not known",
    "file_name,score\n": "no line of data",
    "id,score_bonafide,cm-score\na,1,2\n": "2 columns could be the score.*name one",
    "id,label\na,spoof\n": "0 columns could be the score",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_score_file_says_where(text, tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(ProtocolError, match=BAD[text]):
        Scores.read(path)


def test_what_is_no_text_or_no_file(tmp_path):
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00a,1\n")
    with pytest.raises(ProtocolError, match="not a text file"):
        Scores.read(tmp_path / "s.csv")
    (tmp_path / "s.csv.gz").write_bytes(b"a,1\n")
    with pytest.raises(ProtocolError, match="cannot be read"):
        Scores.read(tmp_path / "s.csv.gz")
    with pytest.raises(ProtocolError, match="no such file"):
        Scores.read(tmp_path / "none.csv")


# Protocols.

LINES = {
    "asvspoof2019": "LA_0039 E_1 - A11 spoof\nLA_0030 E_2 - - bonafide\n",
    "asvspoof2021_la": (
        "LA_0009 E_1 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0009 E_2 none - bonafide bonafide trim hidden\n"
    ),
    "asvspoof2021_df": (
        "LA_0023 E_1 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "TEF2 E_2 low_m4a vcc2020 - bonafide notrim eval bonafide Task1 team20 FF E\n"
    ),
    "asvspoof2021_pa": (
        "PA_0010 E_1 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval\n"
        "PA_0010 E_2 R3 M3 d4 r1 m1 s4 c4 bonafide notrim progress\n"
    ),
    "ctrsvdd": "m4singer S_1 E_1 - A06 deepfake\nm4singer S_1 E_2 - - bonafide\n",
    "in_the_wild_key": "- E_1 - - - spoof\n- E_2 - - - bonafide\n",
    "asvspoof5_track1": (
        "E_4608 E_1 F C04 2 E_0007161785 AC2 A18 spoof -\nD_0461 E_2 M - 0 - - bonafide bonafide -\n"
    ),
}


@pytest.mark.parametrize("layout", LINES)
def test_a_layout_of_keys_is_found(layout, tmp_path):
    path = tmp_path / "key.txt"
    path.write_bytes(LINES[layout].replace("\n", "\r\n").encode() + b"\r\n")
    for read in (Protocol.read(path), Protocol.read(path, layout)):
        assert read.ids.to_list() == ["E_1", "E_2"]
        assert read.counts() == {"bonafide": 1, "spoof": 1, "unknown": 0}
        assert set(read.columns) == {*LAYOUTS[layout].columns} - {"id", "label", "-"}
        assert bool(read.note) == ("2021" in layout)


def test_track_2_and_keys_with_a_header(tmp_path):
    path = tmp_path / "key.txt"
    path.write_text(
        "D_0062 D_1 F A11 spoof\nD_0062 D_2 F bonafide target\nD_7 D_2 F bonafide nontarget\n"
    )
    read = Protocol.read(path)
    assert read.ids.to_list() == ["D_0062 D_1", "D_0062 D_2", "D_7 D_2"]
    assert read.counts() == {"bonafide": 2, "spoof": 1, "unknown": 0}
    assert read.column("kind").to_list() == ["spoof", "target", "nontarget"]
    path.write_text("filename\tcm-label\nE_1\tspoof\nE_2\tbonafide\n")
    assert Protocol.read(path).ids.to_list() == ["E_1", "E_2"]
    path.write_text("path,label,codec\nx/E 1.wav,fake,mp3\ny/E_2.flac,bona-fide,\n")
    read = Protocol.read(path)
    assert read.ids.to_list() == ["E 1", "E_2"]
    assert read.column("codec").to_list() == ["mp3", "-"]


def test_columns_and_conditions(tmp_path):
    protocol = Protocol(
        "p",
        "abcd",
        ["spoof"] * 3 + ["bonafide"],
        {"codec": ["x", "y", "x", "-"], "subset": list("eehe")},
    )
    assert protocol.column("codec, subset").to_list() == ["x, e", "y, e", "x, h", "-, e"]
    assert protocol.column("label").to_list() == ["spoof"] * 3 + ["bonafide"]
    assert protocol.where({"subset": "e"}).ids.to_list() == ["a", "b", "d"]
    assert protocol.where({"subset": "e|h", "codec": "x"}).ids.to_list() == ["a", "c"]
    with pytest.raises(SettingsError, match="did you mean 'codec'"):
        protocol.column("codecs")
    with pytest.raises(ProtocolError, match="no trial has codec=z. *There are: -, x, y"):
        protocol.where({"codec": "z"})
    with pytest.raises(ProtocolError, match="meets all"):
        protocol.where({"codec": "y", "subset": "h"})


def test_scores_of_trials_that_were_not_chosen_are_left_out():
    protocol = Protocol(
        "p", "abcd", ["spoof", "spoof", "bonafide", "bonafide"], {"subset": list("eheh")}
    )
    chosen = protocol.where({"subset": "e"})
    scores = Scores("dcba", [4, 3, 2, 1])
    assert scores.join(chosen, whole=protocol).values.tolist() == [1.0, 3.0]
    with pytest.raises(ProtocolError, match="2 scored but not in the protocol"):
        scores.join(chosen)
    with pytest.raises(ProtocolError, match=r"1 scored but not in the protocol \(first 'z'\)"):
        Scores("dcbaz", [4, 3, 2, 1, 0]).join(chosen, whole=protocol)


BAD_KEYS = {
    "LA_1 E_1 - A1\n": "no known layout has 4 columns",
    "LA_1 E_1 - A1 fake?\n": "no known layout has 5 columns",
    "LA_1 E_1 - A1 spoof\nLA_1 E_1 - A1 spoof\n": "line 2: the id 'E_1' already stands on line 1",
    "LA_1 E_1 - A1 spoof\nLA_1 E_2 - A1 genuin\n": r"trial 2 \(1 such\): label 'genuin'.*did you mean",
    "LA_1 E_1 - A1 spoof\nLA_1 E_2 -\n": "line 2: column 4 is empty",
    "id,score\na,1\n": "no column of labels",
    "label,attack\nspoof,A1\n": "no column of ids",
}


@pytest.mark.parametrize("text", BAD_KEYS)
def test_a_bad_key_says_where(text, tmp_path):
    path = tmp_path / "key.txt"
    path.write_text(text)
    with pytest.raises(ProtocolError, match=BAD_KEYS[text]):
        Protocol.read(path)


def test_layouts_by_name(tmp_path):
    path = tmp_path / "key.txt"
    path.write_text(LINES["asvspoof2019"])
    with pytest.raises(SettingsError, match="did you mean 'asvspoof2019'"):
        Protocol.read(path, "asvspoof2018")
    with pytest.raises(ProtocolError, match="5 columns; the layout asvspoof2021_la has 8"):
        Protocol.read(path, "asvspoof2021_la")


def test_a_manifest_is_a_protocol():
    trials = [
        Trial("a", "a.wav", "bonafide", tags={"codec": "mp3"}),
        Trial("b", "b.wav", "spoof", attack="A1"),
    ]
    protocol = Protocol.of(Manifest("m", trials))
    assert protocol.column("attack,codec").to_list() == ["-, mp3", "A1, -"]
    with pytest.raises(ProtocolError, match="equally many"):
        Protocol("p", ["a"], ["spoof", "spoof"])


def test_joins_agree_with_dictionaries():
    rng = np.random.default_rng(0)
    ids = [f"t{n}" for n in rng.permutation(2000)]
    values = rng.normal(size=2000)
    scores = Scores(ids, values)
    order = rng.permutation(2000)
    protocol = Protocol("p", [ids[n] for n in order], ["spoof"] * 2000)
    of = dict(zip(ids, values, strict=True))
    joined = scores.join(protocol)
    assert joined.values.tolist() == [of[i] for i in protocol.ids.to_list()]
    assert joined.labels == ["spoof"] * 2000


def test_lines_are_numbered_as_in_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\nid,label\n\na,spoof\n\n\nb,bonafide\n")
    read = sniff(path, lambda cells: "id" in cells).read()
    assert read.numbers.tolist() == [4, 7]


def test_a_line_unlike_the_others_is_not_dropped(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("".join(f"my utt {n} - spoof 1.0\n" for n in range(5000)) + "myutt spoof 0.5\n")
    with pytest.raises(ProtocolError, match="line 5001: 'myutt spoof 0.5'; expected an id and 3 more"):
        Scores.read(path)


def test_decimal_commas_are_not_taken_for_columns(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("a;1,5\nb;2,7\n")
    with pytest.raises(ProtocolError, match="line 1: expected a score in column 2, found '1,5'"):
        Scores.read(path)


def test_a_stray_quotation_mark_is_part_of_a_name(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text('utt"1\t0.5\nutt2\t1.5\n')
    assert Scores.read(path).ids == ['utt"1', "utt2"]
    path = tmp_path / "s.csv"
    path.write_text('file_name,score\n"a, b",0.5\nc,1\n')
    assert Scores.read(path).ids == ["a, b", "c"]
