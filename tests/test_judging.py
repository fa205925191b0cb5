"""Breakdowns, tandem files and the verbs that judge score files."""

import csv
import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from earwitness.breakdown import POOLED, break_down
from earwitness.calibration import Calibration
from earwitness.cli import app
from earwitness.errors import EarwitnessError, ProtocolError, SettingsError
from earwitness.metrics.asv import ASVSPOOF5, AsvErrors
from earwitness.metrics.eer import eer
from earwitness.metrics.min_tdcf import min_tdcf
from earwitness.metrics.sasv import min_adcf, sasv_eer
from earwitness.metrics.t_eer import TandemScores, t_eer
from earwitness.metrics.units import sampling
from earwitness.protocols import Protocol
from earwitness.scores import Scores
from earwitness.system_comparison import compare_systems
from earwitness.tandem import judge_tandem, read_tandem


def toy(n: int = 600, seed: int = 0) -> tuple[Scores, Protocol]:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(n) < 0.4, "bonafide", "spoof")
    attacks = np.where(labels == "bonafide", "-", rng.choice(["A2", "A10", "A1"], n))
    columns = {
        "speaker": rng.choice([f"s{i}" for i in range(12)], n).tolist(),
        "attack": attacks.tolist(),
        "codec": rng.choice(["mp3", "none"], n).tolist(),
        "duration": rng.uniform(1, 5, n).round(3).astype(str).tolist(),
    }
    ids = [f"t{i}" for i in range(n)]
    values = rng.normal(np.where(labels == "bonafide", 1.5, 0), 1)
    return Scores(ids, values), Protocol("toy", ids, labels.tolist(), columns)


# Breakdowns.


def test_attacks_are_judged_against_all_bonafide_trials() -> None:
    scores, protocol = toy()
    told = break_down(scores, protocol, "attack")
    assert told.of_spoofs == ("attack",)
    assert [part.values for part in told.parts] == [("A1",), ("A2",), ("A10",), (POOLED,)]
    joined = scores.join(protocol)
    attack = protocol.column("attack").to_numpy()
    for part in told.parts[:-1]:
        own = joined.values[attack == part.values[0]]
        assert part.evaluation.values["eer"] == eer(joined.bonafide, own)
        assert (part.n_bonafide, part.n_spoof) == (len(joined.bonafide), len(own))
    assert told[POOLED].evaluation.values["eer"] == eer(joined.bonafide, joined.spoof)


def test_a_grid_parts_bonafide_trials_by_what_they_have() -> None:
    scores, protocol = toy()
    told = break_down(scores, protocol, "attack, codec")
    joined = scores.join(protocol)
    attack, codec = (protocol.column(name).to_numpy() for name in ("attack", "codec"))
    bonafide = joined.codes == 0
    expected = eer(
        joined.values[bonafide & (codec == "mp3")], joined.values[(attack == "A2") & (codec == "mp3")]
    )
    assert told["A2", "mp3"].evaluation.values["eer"] == expected
    rows, across, table = told.grid("eer")
    assert (rows, across) == (["A1", "A2", "A10", POOLED], ["mp3", "none", POOLED])
    assert table[1, 0] == expected
    assert table[1, 2] == break_down(scores, protocol, "attack")["A2"].evaluation.values["eer"]
    assert table[3, 0] == break_down(scores, protocol, "codec")["mp3"].evaluation.values["eer"]
    with pytest.raises(SettingsError, match="a grid has two columns"):
        break_down(scores, protocol, "codec").grid("eer")


def test_a_value_without_a_class_has_no_evaluation() -> None:
    protocol = Protocol(
        "p", "abcd", ["bonafide", "spoof", "spoof", "bonafide"], {"speaker": ["x", "x", "y", "z"]}
    )
    told = break_down(Scores("abcd", [1, 0, 0, 1]), protocol, "speaker")
    assert told["x"].evaluation.values["eer"] == 0
    assert (told["y"].evaluation, told["y"].n_spoof) == (None, 1)
    assert told["z"].to_dict() == {"values": ["z"], "n_bonafide": 1, "n_spoof": 0}


def test_many_numbers_are_put_into_four_bins() -> None:
    scores, protocol = toy()
    told = break_down(scores, protocol, "duration")
    assert len(told.parts) == 5
    sizes = [part.n_bonafide + part.n_spoof for part in told.parts]
    assert sum(sizes[:-1]) == sizes[-1] == 600
    assert max(sizes[:-1]) - min(sizes[:-1]) < 10
    assert told.parts[0].values[0].startswith("1.0")


def test_intervals_of_parts_draw_what_is_left_to_draw() -> None:
    scores, protocol = toy()
    told = break_down(scores, protocol, "attack", intervals=True, draws=30)
    assert told["A2"].evaluation.sampling_unit == "speaker"
    assert told[POOLED].evaluation.sampling_unit == "speaker and attack"
    by_speaker = break_down(scores, protocol, "speaker", intervals=True, draws=30)
    assert by_speaker["s3"].evaluation.sampling_unit == "attack"
    assert "eer" in by_speaker["s3"].evaluation.intervals


def test_columns_that_cannot_be() -> None:
    scores, protocol = toy()
    for by in ("attack,codec,speaker", "codec,codec"):
        with pytest.raises(SettingsError, match="expected one column, or two"):
            break_down(scores, protocol, by)
    with pytest.raises(SettingsError, match="did you mean 'codec'"):
        break_down(scores, protocol, "codecs")


# Tandem files.


def tandem_file(path: Path, seed: int = 0) -> tuple[TandemScores, TandemScores, TandemScores]:
    rng = np.random.default_rng(seed)
    sizes, kinds = (40, 50, 60), ("target", "nontarget", "spoof")
    systems = [
        TandemScores(*(rng.normal(mean, 1, size) for mean, size in zip(means, sizes, strict=True)))
        for means in ((2, 2, 0), (3, 0, 2), (3, 0, 0))
    ]
    lines = ["spk\tfilename\tcm-score\tasv-score\tsasv-score\tkey"]
    for kind, *columns in zip(kinds, *systems, strict=True):
        for n, numbers in enumerate(zip(*columns, strict=True)):
            told = "\t".join(repr(float(number)) for number in numbers)
            lines.append(f"s{n % 7}\t{kind}{n}\t{told}\t{kind}")
    path.write_text("\n".join(lines) + "\n")
    return tuple(systems)


def test_a_file_with_three_scores_is_judged(tmp_path) -> None:
    cm, asv, sasv = tandem_file(tmp_path / "s.tsv")
    values = judge_tandem(read_tandem(tmp_path / "s.tsv"))
    assert values["min_adcf"] == min_adcf(*sasv)
    assert values["sasv_eer"] == sasv_eer(*sasv)
    assert values["t_eer"] == t_eer(cm, asv)
    assert set(values) == {"min_adcf", "sv_eer", "spf_eer", "sasv_eer", "t_eer"}


def test_kinds_may_come_from_a_protocol_of_pairs(tmp_path) -> None:
    (tmp_path / "key.txt").write_text("a f1 F - target\na f2 F - nontarget\nb f1 F A1 spoof\n")
    (tmp_path / "s.tsv").write_text(
        "spk\tfilename\tcm-score\tasv-score\tsasv-score\nb\tf1\t-\t-\t0.5\na\tf1\t-\t-\t2\na\tf2\t-\t-\t1\n"
    )
    protocol = Protocol.read(tmp_path / "key.txt")
    read = read_tandem(tmp_path / "s.tsv", protocol)
    assert set(read.scores) == {"sasv"}
    assert [one.tolist() for one in read.scores["sasv"]] == [[2.0], [1.0], [0.5]]
    with pytest.raises(ProtocolError, match="no column says which trials are target"):
        read_tandem(tmp_path / "s.tsv")


BAD_TANDEM = {
    "bonafide target 1\nbonafide nontarget 0\n": "none is spoof",
    "bonafide target 1\nbonafide impostor 0\n": "no column holds target, nontarget, spoof alone",
    "a target 1\na nontarget x\na spoof 2\n": "line 2: expected a score, found 'x'",
    "key,cm-score\ntarget,1\nnontarget,2\nspoof,3\n": None,
}


@pytest.mark.parametrize("text", BAD_TANDEM)
def test_a_bad_tandem_file_says_where(text, tmp_path) -> None:
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(ProtocolError, match=BAD_TANDEM[text] or "scores of cm; expected sasv-score"):
        judge_tandem(read_tandem(tmp_path / "s.txt"))


# The verbs.


@pytest.fixture
def files(tmp_path, monkeypatch) -> tuple[Scores, Protocol]:
    monkeypatch.chdir(tmp_path)
    scores, protocol = toy()
    lines = [f"{i} {v!r}" for i, v in zip(scores.ids, scores.values.tolist(), strict=True)]
    Path("s.txt").write_text("\n".join(lines) + "\n")
    rows = zip(
        protocol.ids.to_list(), protocol.column("label"), *protocol.columns.values(), strict=True
    )
    with open("key.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", *protocol.columns])
        writer.writerows(rows)
    return scores, protocol


def told(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(result.exception, EarwitnessError):
        assert result.exception.exit_code == code, result.exception
        return str(result.exception)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def test_evaluate_prints_parts_and_grids(files) -> None:
    scores, protocol = files
    text = told("evaluate", "s.txt", "-p", "key.csv", "--by", "attack", "--by", "attack,codec")
    value = break_down(scores, protocol, "attack")["A10"].evaluation.values["eer"]
    line = next(line for line in text.splitlines() if line.strip().startswith("A10"))
    assert f"{100 * value:.2f}" in line
    assert "eer, %: attack down, codec across" in text
    with_ci = told("evaluate", "s.txt", "-p", "key.csv", "--by", "codec", "--ci", "--draws", "20")
    assert " to " in next(line for line in with_ci.splitlines() if line.strip().startswith("mp3"))
    in_auc = told("evaluate", "s.txt", "-p", "key.csv", "--by", "attack,codec", "--metric", "auc")
    assert "auc: attack down" in in_auc
    wrong = told(
        "evaluate", "s.txt", "-p", "key.csv", "--by", "attack,codec", "--metric", "auk", code=2
    )
    assert "did you mean 'auc'" in wrong


def test_evaluate_as_json_and_csv(files) -> None:
    scores, protocol = files
    out = told("evaluate", "s.txt", "-p", "key.csv", "--by", "codec", "--json", "--csv", "o.csv")
    read = json.loads(out)
    whole = scores.join(protocol)
    assert read["all"]["eer"] == eer(whole.bonafide, whole.spoof)
    assert [part["values"] for part in read["by"]["codec"]] == [["mp3"], ["none"], [POOLED]]
    with open("o.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == ["", "mp3", "none", POOLED]
    assert float(rows[1]["eer"]) == read["by"]["codec"][0]["eer"]


def test_a_page_opens_offline_and_says_everything(files) -> None:
    scores, protocol = files
    told(
        *("evaluate", "s.txt", "-p", "key.csv", "--by", "attack", "--by", "attack,codec", "--ci"),
        *("--draws", "20", "--review", "duration", "--html", "card.html"),
    )
    page = Path("card.html").read_text()
    assert not re.search(r'(src|href)="(?!#)', page)
    assert page.count("<svg") == 5
    value = break_down(scores, protocol, "attack")["A10"].evaluation.values["eer"]
    assert f"<td>{100 * value:.2f}" in page
    for said in ("Review budget", "hours to hear", "by speaker and attack", "SHA-256", "Reliability"):
        assert said in page
    again = told("evaluate", "s.txt", "-p", "key.csv", "--html", "plain.html")
    assert "EER" in again
    assert "Review budget" not in Path("plain.html").read_text()


def test_words_from_outside_are_escaped(files) -> None:
    Path("key.csv").write_text(Path("key.csv").read_text().replace("mp3", "<b>mp3</b>"))
    told("evaluate", "s.txt", "-p", "key.csv", "--by", "codec", "--html", "card.html")
    page = Path("card.html").read_text()
    assert "<b>mp3" not in page
    assert "&lt;b&gt;mp3" in page


def test_review_budget_in_hours_and_in_trials(files) -> None:
    _, protocol = files
    read = json.loads(told("evaluate", "s.txt", "-p", "key.csv", "--review", "duration", "--json"))
    seconds = protocol.column("duration").cast(float).to_numpy()
    assert read["review"]["total"] == pytest.approx(seconds.sum() / 3600)
    assert read["review"]["oracle_at"]["0.1"] >= read["review"]["recall_at"]["0.1"]
    text = told("evaluate", "s.txt", "-p", "key.csv", "--review", "each")
    assert "trials to find 50 %" in text
    said = told("evaluate", "s.txt", "-p", "key.csv", "--review", "codec", code=1)
    assert "600" not in said
    assert "a review needs the seconds of every trial" in said


def test_metrics_with_a_verifier(files, tmp_path) -> None:
    scores, protocol = files
    whole = scores.join(protocol)
    preset = json.loads(
        told("metrics", "s.txt", "-p", "key.csv", "--json", "--no-intervals", "--preset", "asvspoof5")
    )
    assert preset["min_tdcf"] == min_tdcf(whole.bonafide, whole.spoof, asv=ASVSPOOF5)
    _, asv, _ = tandem_file(tmp_path / "t.tsv")
    lines = [f"x {kind} {value}" for kind, values in asv._asdict().items() for value in values]
    Path("asv.txt").write_text("\n".join(lines) + "\n")
    own = json.loads(
        told("metrics", "s.txt", "-p", "key.csv", "--json", "--no-intervals", "--asv-scores", "asv.txt")
    )
    assert own["min_tdcf"] == min_tdcf(whole.bonafide, whole.spoof, asv=AsvErrors.of(*asv))
    assert {"min_tdcf_legacy", "act_dcf", "cllr", "min_cllr", "average_precision"} <= set(own)
    three = json.loads(told("metrics", "t.tsv", "--sasv", "--json"))
    assert set(three) == {"min_adcf", "sv_eer", "spf_eer", "sasv_eer", "t_eer"}
    assert "min_adcf" in told("metrics", "t.tsv", "--sasv")


def test_only_some_trials_and_a_threshold(files) -> None:
    out = told(
        *("metrics", "s.txt", "-p", "key.csv", "--where", "codec=mp3", "--where", "attack=-|A1"),
        *("--json", "--no-intervals", "--threshold", "0.7"),
    )
    read = json.loads(out)
    _, protocol = files
    kept = protocol.where({"codec": "mp3", "attack": "-|A1"})
    assert (read["n_bonafide"], read["n_spoof"]) == tuple(kept.counts().values())[:2]
    assert {"accuracy", "balanced_accuracy", "f1"} <= set(read)


def test_a_threshold_from_development_scores_with_a_key_of_their_own(files) -> None:
    bare = told(
        "metrics", "s.txt", "-p", "key.csv", "--json", "--no-intervals", "--dev", "s.txt", code=1
    )
    assert "600 of 600 trial" in bare
    labelled_dev = ("--dev", "s.txt", "--dev-protocol", "key.csv")
    read = json.loads(
        told("metrics", "s.txt", "-p", "key.csv", "--json", "--no-intervals", *labelled_dev)
    )
    assert read["balanced_accuracy"] == pytest.approx(1 - read["eer"], abs=0.01)


WRONG = {
    ("metrics", "s.txt", "-p", "key.csv", "--dev-protocol", "key.csv"): (2, "there are none"),
    ("evaluate", "s.txt", "--by", "attack"): (2, "name columns of a --protocol"),
    ("evaluate", "s.txt", "--where", "a=b"): (2, "there is none"),
    ("evaluate", "s.txt", "-p", "key.csv", "--where", "codec"): (2, "expected column=value"),
    ("evaluate", "s.txt", "-p", "key.csv", "--where", "codec=ogg"): (1, "There are: mp3, none"),
    ("metrics", "s.txt", "-p", "key.csv", "--preset", "asvspoof6"): (2, "did you mean 'asvspoof5'"),
    ("metrics", "s.txt", "--higher-is", "fake"): (2, "expected bonafide or spoof"),
    ("metrics", "s.txt", "--one-is", "1"): (2, "expected bonafide or spoof"),
    ("metrics", "s.txt"): (1, "600 of 600 trial"),
    ("metrics", "s.txt", "-p", "key.csv", "--threshold", "1", "--dev", "s.txt"): (2, "give one"),
    ("metrics", "s.txt", "-p", "key.csv", "--asv-scores", "s.txt", "--preset", "asvspoof5"): (
        2,
        "give one",
    ),
    ("metrics", "s.txt", "-p", "key.csv", "--unit", "speakr"): (2, "did you mean 'speaker'"),
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_says_what_to_do(arguments, files) -> None:
    code, said = WRONG[arguments]
    assert said in told(*arguments, code=code)


# Systems beside each other.


def labelled(seed: int, noise: float) -> Scores:
    scores, protocol = toy()
    rng = np.random.default_rng(seed)
    moved = Scores(
        scores.ids, scores.values + rng.normal(0, noise, len(scores)), source=f"noise {noise}"
    )
    return moved.join(protocol)


def test_better_is_said_where_it_holds_and_withheld_where_not() -> None:
    _, protocol = toy()
    pairs = compare_systems([labelled(1, 1.5), labelled(2, 0.1), labelled(3, 1.5)], protocol, draws=200)
    assert [pair.other for pair in pairs] == ["noise 0.1", "noise 1.5"]
    assert [pairs[0].verdict(name) for name in ("eer", "auc")] == ["better", "better"]
    assert pairs[1].verdict("eer") == "cannot be told apart"
    assert pairs[0].unit == "speaker and attack"
    back = compare_systems([labelled(2, 0.1), labelled(1, 1.5)], protocol, draws=200)[0]
    assert back.verdict("eer") == back.verdict("auc") == "worse"
    told = json.loads(json.dumps(back.to_dict()))
    assert told["metrics"]["eer"]["first"] == eer(labelled(2, 0.1).bonafide, labelled(2, 0.1).spoof)


def test_p_values_are_corrected_for_the_number_of_systems() -> None:
    systems = [labelled(1, 1.0), labelled(2, 0.1), labelled(3, 0.1)]
    alone = compare_systems(systems[:2], draws=100)[0]
    both = compare_systems(systems, draws=100)
    assert alone.corrected_p["eer"] == alone.difference["eer"].p
    assert min(pair.corrected_p["eer"] for pair in both) == 2 * alone.difference["eer"].p


def test_other_trials_are_refused() -> None:
    one, other = labelled(1, 1.0), labelled(2, 1.0)
    with pytest.raises(ProtocolError, match="not of the same trials in one order"):
        compare_systems([one, other.take(np.arange(600) < 500)])


def test_compare_takes_score_files(files) -> None:
    scores, _ = files
    lines = [f"{i} {-v!r}" for i, v in zip(scores.ids[::-1], scores.values[::-1].tolist(), strict=True)]
    Path("inverted.txt").write_text("\n".join(lines) + "\n")
    text = told("compare", "s.txt", "inverted.txt", "-p", "key.csv", "--draws", "99", "--by", "codec")
    assert "worse" in text
    assert "mp3" in text
    read = json.loads(
        told("compare", "s.txt", "inverted.txt", "-p", "key.csv", "--draws", "20", "--json")
    )
    assert read["pairs"][0]["metrics"]["auc"]["verdict"] in ("worse", "cannot be told apart")
    Path("short.txt").write_text("\n".join(lines[:50]) + "\n")
    assert "550 without a score" in told("compare", "s.txt", "short.txt", "-p", "key.csv", code=1)
    assert "is none" in told("compare", "s.txt", ".", code=2)
    assert "needs two or more" in told("compare", "s.txt", code=2)


def test_probabilities_are_compared_as_log_odds(files) -> None:
    rng = np.random.default_rng(0)
    for name, shift in (("one.csv", 1.0), ("two.csv", 2.0)):
        values = 1 / (1 + np.exp(-np.concatenate([rng.normal(shift, 1, 30), rng.normal(0, 1, 30)])))
        rows = [f"{n},{v!r},{'bonafide' if n < 30 else 'spoof'}" for n, v in enumerate(values.tolist())]
        Path(name).write_text("\n".join(["file,p_real,label", *rows]) + "\n")
    reading = ("--score-column", "p_real", "--probabilities", "--json", "--draws", "20")
    read = json.loads(told("compare", "one.csv", "two.csv", *reading))
    assert read["pairs"][0]["metrics"]["cllr"]["first"] < 1
    fused = told("fuse", "one.csv", "two.csv", "-o", "f.json", *reading[:3])
    assert "wrote f.json" in fused


def test_scores_of_different_things_are_not_compared(files) -> None:
    for name, scope in (("one.csv", "whole recording"), ("two.csv", "first window")):
        Path(name).write_text("file_name,score,label\na,1,bonafide\nb,0,spoof\n")
        Path(f"{name}.json").write_text(json.dumps({"trial_scope": scope}))
    said = told("compare", "one.csv", "two.csv", code=1)
    assert "not of the same thing" in said
    assert "first window" in said
    Path("two.csv.json").unlink()
    assert "too few to tell" in told("compare", "one.csv", "two.csv", "--draws", "5")
    Path("two.csv.json").write_text("{broken")
    assert "two.csv.json: not JSON" in told("compare", "one.csv", "two.csv", code=1)


# Decisions.


def test_calibrate_apply_and_evaluate(files) -> None:
    text = told(
        "calibrate", "s.txt", "-p", "key.csv", "-o", "c.json", "--by", "codec", "--leave-out", "codec"
    )
    assert "fitted without the codec" in text
    assert "wrote c.json" in text
    Path("s.txt.json").write_text(json.dumps({"trial_scope": "whole recording"}))
    told("apply", "c.json", "s.txt", "-o", "llr.csv")
    assert json.loads(Path("llr.csv.json").read_text())["trial_scope"] == "whole recording"
    scores, protocol = files
    joined = scores.join(protocol)
    fitted = Calibration.read("c.json")
    assert Scores.read("llr.csv").values == pytest.approx(fitted.apply(scores.values))
    assert json.loads(Path("llr.csv.json").read_text())["scale"] == "natural-log likelihood ratio"
    read = json.loads(told("metrics", "llr.csv", "-p", "key.csv", "--json", "--no-intervals"))
    assert read["cllr"] < 1.05 * read["min_cllr"] + 0.05
    assert read["eer"] == eer(joined.bonafide, joined.spoof)
    told("calibrate", "s.txt", "-p", "key.csv", "-o", "i.json", "--kind", "isotonic")
    assert Calibration.read("i.json").kind == "isotonic"


def test_fuse_and_apply(files) -> None:
    scores, _ = files
    rng = np.random.default_rng(5)
    noisy = scores.values + rng.normal(0, 1, 600)
    lines = [f"{i} {v!r}" for i, v in zip(scores.ids, noisy.tolist(), strict=True)]
    Path("t.txt").write_text("\n".join(lines[::-1]) + "\n")
    text = told("fuse", "s.txt", "t.txt", "-p", "key.csv", "-o", "f.json", "--leave-out", "codec")
    assert "fused" in text
    told("apply", "f.json", "s.txt", "t.txt", "-o", "fused.csv")
    fitted = Calibration.read("f.json")
    assert Scores.read("fused.csv").values == pytest.approx(fitted.apply(scores.values, noisy))
    assert "1 system(s) were given" in told("apply", "f.json", "s.txt", "-o", "x.csv", code=1)
    assert "two systems or more" in told("fuse", "s.txt", "-p", "key.csv", "-o", "f.json", code=2)


def test_threshold_in_three_ways(files) -> None:
    scores, protocol = files
    joined = scores.join(protocol)
    read = json.loads(told("threshold", "s.txt", "-p", "key.csv", "--false-alarm", "0.05", "--json"))
    assert read["false_alarm"] <= 0.05 < np.mean(joined.spoof >= read["threshold"] - 0.2)
    assert read["sampling_unit"] == "speaker and attack"
    assert read["false_alarm_interval"][0] < read["false_alarm"] < read["false_alarm_interval"][1]
    band = json.loads(
        told("threshold", "s.txt", "-p", "key.csv", "--false-alarm", "0.05", "--miss", "0.05", "--json")
    )
    assert band["low"] < band["high"]
    costs = told("threshold", "s.txt", "-p", "key.csv", "--p-spoof", "0.05")
    assert "threshold -0.641854" in costs
    assert "inconclusive between" in told(
        "threshold", "s.txt", "-p", "key.csv", "--false-alarm", "0.05", "--miss", "0.05"
    )


WRONG_DECISIONS = {
    ("calibrate", "s.txt", "-p", "key.csv"): (2, "say where the calibration goes"),
    ("calibrate", "s.txt", "-o", "c.json"): (1, "600 of 600 trial(s) are neither"),
    ("evaluate", "s.txt", "-p", "key.csv", "--where", "attack=A1"): (1, "see --by attack"),
    ("calibrate", "s.txt", "-o", "c.json", "--by", "codec"): (2, "there is none"),
    ("calibrate", "s.txt", "-p", "key.csv", "-o", "c.json", "--kind", "x"): (2, "affine or isotonic"),
    ("calibrate", "s.txt", "-p", "key.csv", "-o", "c.json", "--prior", "2"): (2, "prior is 2"),
    ("calibrate", "s.txt", "-p", "key.csv", "-d", "nowhere"): (1, "no card.json"),
    ("threshold", "s.txt", "-p", "key.csv"): (2, "say what the threshold is for"),
    ("threshold", "s.txt", "-p", "key.csv", "--false-alarm", "1", "--p-spoof", "0.1"): (
        2,
        "goes without",
    ),
    ("threshold", "s.txt", "-p", "key.csv", "--p-spoof", "0.1", "--miss", "0.1"): (2, "goes without"),
    ("threshold", "s.txt", "-p", "key.csv", "--false-alarm", "5"): (2, "rate is 5"),
    ("apply", "key.csv", "s.txt", "-o", "x.csv"): (1, "not JSON"),
}


@pytest.mark.parametrize("arguments", WRONG_DECISIONS)
def test_wrong_decisions_say_what_to_do(arguments, files) -> None:
    code, said = WRONG_DECISIONS[arguments]
    assert said in told(*arguments, code=code)


def test_a_detector_carries_its_calibration(files, tmp_path) -> None:
    import soundfile

    from earwitness.audio import SAMPLE_RATE
    from earwitness.detector import Detector
    from earwitness.errors import CheckpointError
    from earwitness.verdict import calibration_of

    Detector.build("logmel", "linear").save("d")
    soundfile.write("a.wav", np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(CheckpointError, match="no calibration"):
        calibration_of(Detector.load("d"))
    told("calibrate", "s.txt", "-p", "key.csv", "-d", "d")
    plain = told("score", "a.wav", "-d", "d", "--csv", "plain.csv")
    ratio = told("score", "a.wav", "-d", "d", "--llr", "--csv", "llr.csv")
    assert "LLR" in ratio
    assert "LLR" not in plain
    fitted = calibration_of(Detector.load("d"))
    values = [Scores.read(name).values for name in ("plain.csv", "llr.csv")]
    assert values[1] == pytest.approx(fitted.apply(values[0]))
    learned = Detector.load("d")
    learned.back_end.head.bias.data += 1.0
    learned.save("d")
    with pytest.raises(CheckpointError, match="other weights"):
        calibration_of(Detector.load("d"))


# What a sceptical reading found.


def test_a_few_speakers_are_told_and_no_verdict_is_given(files) -> None:
    _, protocol = files
    few = {**protocol.columns, "speaker": [f"s{n % 3}" for n in range(600)]}
    key = Protocol("few", protocol.ids, protocol.codes, few)
    pair = compare_systems([labelled(1, 3.0), labelled(2, 0.1)], key, draws=50)[0]
    assert pair.verdict("eer") == "too few to tell"
    assert "only 3 bonafide speaker(s)" in pair.doubts[0]
    assert pair.to_dict()["units"] == 3


def test_attacks_alone_can_be_drawn(files) -> None:
    Path("t.txt").write_text(Path("s.txt").read_text())
    for unit in ("attack", "trial", "speaker"):
        text = told("compare", "s.txt", "t.txt", "-p", "key.csv", "--unit", unit, "--draws", "9")
        assert "cannot be told apart" in text


def test_opposite_labels_are_an_error(files) -> None:
    scores, protocol = files
    flipped = np.where(protocol.codes == 0, "spoof", "bonafide").tolist()
    with pytest.raises(ProtocolError, match="600 of 600 trials have opposite labels"):
        Scores(scores.ids, scores.values, flipped).join(protocol)


def test_unlabelled_trials_are_refused_everywhere(files) -> None:
    rows = Path("key.csv").read_text().replace(",spoof,", ",unknown,", 5)
    Path("part.csv").write_text(rows)
    for verb in (["compare", "s.txt", "s.txt"], ["threshold", "s.txt", "--false-alarm", "0.1"]):
        assert "5 of 600 trial(s) are neither" in told(*verb, "-p", "part.csv", code=1)


def test_numbers_that_are_names_are_not_binned(files) -> None:
    scores, protocol = files
    named = {
        "speaker": [str(100 + n % 20) for n in range(600)],
        "when": [f"16{n}.5" for n in range(600)],
    }
    key = Protocol("named", protocol.ids, protocol.codes, named)
    assert len(break_down(scores, key, "speaker").parts) == 21
    assert len(break_down(scores, key, "when").parts) == 5
    late = {"when": [f"{1612345678 + n}.5" for n in range(600)], "number": list(range(600))}
    key = Protocol("late", protocol.ids, protocol.codes, late)
    assert len({part.values for part in break_down(scores, key, "when").parts}) == 5
    assert len(break_down(scores, key, "number").parts) == 601


def test_a_spoof_without_an_attack_is_a_part_too(files) -> None:
    scores, protocol = files
    attacks = protocol.column("attack").to_list()
    place = next(n for n, one in enumerate(attacks) if one == "A1")
    attacks[place] = None
    key = Protocol("p", protocol.ids, protocol.codes, {"attack": attacks})
    told_of = break_down(scores, key, "attack")
    assert told_of["-"].n_spoof == 1


def test_a_choice_keeps_the_note_unless_it_is_of_subsets() -> None:
    key = Protocol(
        "p", "ab", ["spoof", "bonafide"], {"subset": "ee", "codec": "xx"}, note="mind the subset"
    )
    assert key.where({"codec": "x"}).note == "mind the subset"
    assert key.where({"subset": "e"}).note == ""


def test_calibration_remembers_how_scores_were_read(files) -> None:
    scores, _ = files
    shares = 1 / (1 + np.exp(scores.values))
    Path("p.txt").write_text(
        "".join(f"{i} {v!r}\n" for i, v in zip(scores.ids, shares.tolist(), strict=True))
    )
    told(
        *("calibrate", "p.txt", "-p", "key.csv", "-o", "c.json"),
        *("--probabilities", "--higher-is", "spoof"),
    )
    told("apply", "c.json", "p.txt", "-o", "llr.csv")
    fitted = Calibration.read("c.json")
    assert fitted.reading == {"probabilities": True, "higher_is": "spoof"}
    assert Scores.read("llr.csv").values == pytest.approx(fitted.apply(scores.values), abs=1e-6)
    said = told("apply", "c.json", "p.txt", "-o", "x.csv", "--higher-is", "bonafide", code=2)
    assert "was fitted with spoof" in said


def test_inverted_scores_are_not_calibrated_in_silence(files) -> None:
    scores, _ = files
    lines = (f"{i} {-v!r}\n" for i, v in zip(scores.ids, scores.values.tolist(), strict=True))
    Path("i.txt").write_text("".join(lines))
    result = CliRunner().invoke(app, ["calibrate", "i.txt", "-p", "key.csv", "-o", "c.json"])
    assert "turned round" in result.stderr


def test_calibration_by_attack_takes_all_bonafide_trials(files) -> None:
    domains = ("--by", "attack", "--leave-out", "attack")
    text = told("calibrate", "s.txt", "-p", "key.csv", "-o", "c.json", *domains)
    assert text.count("A10") == 3  # before, after, and left out


def test_a_verifier_with_a_header_and_a_choice_of_pairs(files, tmp_path) -> None:
    _, asv, _ = tandem_file(tmp_path / "t.tsv")
    rows = [f"{kind},{value}" for kind, values in asv._asdict().items() for value in values]
    Path("asv.csv").write_text("\n".join(["key,score", *rows]) + "\n")
    out = told(
        "metrics", "s.txt", "-p", "key.csv", "--json", "--no-intervals", "--asv-scores", "asv.csv"
    )
    assert "min_tdcf" in json.loads(out)
    lines = Path("t.tsv").read_text().splitlines()
    Path("plain.tsv").write_text("\n".join(line.rsplit("\t", 1)[0] for line in lines) + "\n")
    keys = [
        f"{cells[0]} {cells[1]} {'FM'[n % 2]} - {cells[5]}"
        for n, cells in enumerate(line.split("\t") for line in lines[1:])
    ]
    Path("pairs.txt").write_text("\n".join(keys) + "\n")
    whole = json.loads(told("metrics", "plain.tsv", "--sasv", "--json", "-p", "pairs.txt"))
    half = json.loads(
        told("metrics", "plain.tsv", "--sasv", "--json", "-p", "pairs.txt", "--where", "gender=F")
    )
    assert whole == json.loads(told("metrics", "t.tsv", "--sasv", "--json"))
    assert half != whole


# What a new user found.


def test_an_output_never_replaces_an_input_or_a_folder(files, tmp_path) -> None:
    before = Path("key.csv").read_text()
    for arguments in (
        ("evaluate", "s.txt", "-p", "key.csv", "--csv", "s.txt"),
        ("evaluate", "s.txt", "-p", "key.csv", "--html", "key.csv"),
        ("evaluate", "s.txt", "-p", "key.csv", "--html", "x", "--csv", "x"),
        ("calibrate", "s.txt", "-p", "key.csv", "-o", "key.csv"),
    ):
        assert re.search("would destroy it|written twice", told(*arguments, code=2))
    told("calibrate", "s.txt", "-p", "key.csv", "-o", "c.json")
    assert "would destroy it" in told("apply", "c.json", "s.txt", "-o", "c.json", code=2)
    assert "a folder is there" in told("evaluate", "s.txt", "-p", "key.csv", "--csv", ".", code=1)
    assert Path("key.csv").read_text() == before


def test_links_and_devices_are_written_into(files) -> None:
    Path("real.csv").write_text("old")
    Path("link.csv").symlink_to("real.csv")
    told("evaluate", "s.txt", "-p", "key.csv", "--csv", "link.csv")
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text().startswith("by,value")
    os.mkfifo("pipe")
    heard = []
    reader = threading.Thread(target=lambda: heard.append(Path("pipe").read_bytes()))
    reader.start()
    told("evaluate", "s.txt", "-p", "key.csv", "--csv", "pipe")
    reader.join(timeout=10)
    assert heard[0].startswith(b"by,value")
    assert Path("pipe").is_fifo()


def test_options_that_do_nothing_are_refused(files) -> None:
    for option in (("--reference", "x"), ("--metric", "auc"), ("--units", "seeds"), ("--out", "o")):
        said = told("compare", "s.txt", "s.txt", "-p", "key.csv", *option, code=2)
        assert f"{option[0]} is for run folders" in said
    assert "no such run folder or score file" in told("compare", "s.txt", "none.csv", code=1)
    assert "there is none" in told("metrics", "s.txt", "--unit", "speaker", code=2)
    assert "no metric 'foo'" in told("evaluate", "s.txt", "-p", "key.csv", "--metric", "foo", code=2)


def test_comparisons_doubt_themselves(files) -> None:
    scores, _ = files
    lines = (f"{i} {-v!r}\n" for i, v in zip(scores.ids, scores.values.tolist(), strict=True))
    Path("i.txt").write_text("".join(lines))
    result = CliRunner().invoke(app, ["compare", "s.txt", "i.txt", "-p", "key.csv", "--draws", "20"])
    assert "are its scores inverted?" in result.stderr
    assert "Take more draws" in result.stderr


def test_scores_between_0_and_1_are_asked_about(files) -> None:
    scores, _ = files
    shares = 1 / (1 + np.exp(-scores.values))
    lines = (f"{i} {v!r}\n" for i, v in zip(scores.ids, shares.tolist(), strict=True))
    Path("p.txt").write_text("".join(lines))
    for verb in (("metrics", "--no-intervals"), ("threshold", "--p-spoof", "0.1")):
        result = CliRunner().invoke(app, [verb[0], "p.txt", "-p", "key.csv", *verb[1:]])
        assert "If they are probabilities, say so" in result.stderr


def test_ratios_are_not_calibrated_again(files) -> None:
    told("calibrate", "s.txt", "-p", "key.csv", "-o", "c.json")
    told("apply", "c.json", "s.txt", "-o", "llr.csv")
    said = told("apply", "c.json", "llr.csv", "-o", "x.csv", code=2)
    assert "was it calibrated already" in said
    told("calibrate", "llr.csv", "-p", "key.csv", "-o", "again.json")
    assert "or not yet?" in told("apply", "again.json", "s.txt", "-o", "x.csv", code=2)


def test_a_key_with_integers_needs_the_word_too(files) -> None:
    text = Path("key.csv").read_text().replace(",bonafide,", ",1,").replace(",spoof,", ",0,")
    Path("int.csv").write_text(text)
    assert "--one-is" in told("metrics", "s.txt", "-p", "int.csv", code=1)
    plain = told("metrics", "s.txt", "-p", "key.csv", "--no-intervals")
    assert told("metrics", "s.txt", "-p", "int.csv", "--one-is", "bonafide", "--no-intervals") == plain


def test_ids_that_differ_by_their_folder_are_told(files) -> None:
    lines = (f"x/{line.replace(' ', '.flac ')}" for line in Path("s.txt").read_text().splitlines())
    Path("f.txt").write_text("\n".join(lines) + "\n")
    assert "differ by folder or extension alone" in told("metrics", "f.txt", "-p", "key.csv", code=1)


def test_very_many_values_and_a_single_one_are_refused(files) -> None:
    _, protocol = files
    rng = np.random.default_rng(0)
    many = Protocol(
        "many",
        [f"m{n}" for n in range(3000)],
        rng.integers(0, 2, 3000).astype(np.int8),
        {"uid": [f"u{n}" for n in range(3000)]},
    )
    with pytest.raises(SettingsError, match="uid has 3,000 values"):
        break_down(Scores(many.ids, rng.normal(size=3000)), many, "uid")
    one = {**protocol.columns, "site": ["here"] * 600}
    with pytest.raises(ProtocolError, match="nothing to draw"):
        sampling(Protocol("one", protocol.ids, protocol.codes, one), "site")


def test_the_page_tells_how_scores_were_read(files) -> None:
    scores, _ = files
    lines = (f"{i} {-v!r}\n" for i, v in zip(scores.ids, scores.values.tolist(), strict=True))
    Path("i.txt").write_text("".join(lines))
    told(
        *("evaluate", "i.txt", "-p", "key.csv", "--higher-is", "spoof", "--threshold", "0.5"),
        *("--html", "card.html"),
    )
    page = Path("card.html").read_text()
    assert "higher is spoof" in page
    assert "threshold 0.5" in page
