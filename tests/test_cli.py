"""The command line as a person meets it: answers, exit codes, and the wrong things."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earwitness import audio
from earwitness.detector import Detector, Windows
from earwitness.doctor import describe_strategies
from earwitness.strategies import STRATEGIES


def call(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "earwitness", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for name, seconds in (("a.wav", 1.0), ("b.flac", 2.3)):
        audio.write(folder / name, 0.1 * rng.normal(size=int(16_000 * seconds)).clip(-5, 5))
    (folder / "bad.wav").write_bytes(b"nothing")
    detector = Detector.build("logmel", "linear", seed=0, windows=Windows(1.0, 0.5))
    detector.card = {
        "trained_on": [{"task": "toy", "labels": {"bonafide": 3, "spoof": 4}}],
        "dev": {"threshold": 0.1, "eer": 0.25, "bonafide": 3, "spoof": 4},
        "stand_in": True,
    }
    detector.save(folder / "detector")
    return folder


def test_score_says_what_it_found_and_what_it_is_worth(place):
    told = call("score", "a.wav", "b.flac", "-d", "detector", "--csv", "out.csv", cwd=place)
    assert told.returncode == 0, told.stderr
    assert "not a probability" in told.stdout
    assert "about real recordings it says nothing" in told.stdout
    assert "25 %" in told.stdout
    lines = (place / "out.csv").read_text().splitlines()
    assert lines[0] == "file_name,score,label,worst,seconds,windows"
    assert [line.split(",")[0] for line in lines[1:]] == ["a.wav", "b.flac"]
    side = json.loads((place / "out.csv.json").read_text())
    assert side["coverage"] == {"trials": 2, "scored": 2, "failed": []}
    assert side["windows"] == {"seconds": 1.0, "hop": 0.5}
    assert side["detector"] == Detector.load(place / "detector").digest
    score = float(lines[1].split(",")[1])
    alone = Detector.load(place / "detector").score(place / "a.wav").mean
    assert score == pytest.approx(alone, abs=1e-6)  # rounding of the network's products


def test_a_bad_file_fails_the_call_but_not_the_others(place):
    told = call("score", "a.wav", "bad.wav", "absent.wav", "b.flac", "-d", "detector", cwd=place)
    assert told.returncode == 1
    assert "2 of 4 file(s) not scored" in told.stderr
    assert "bad.wav" in told.stdout
    assert told.stdout.count("failed") == 2
    assert "b.flac" in told.stdout
    told = call(
        "score", "a.wav", "bad.wav", "-d", "detector", "--skip-bad", "--csv", "o.csv", cwd=place
    )
    assert told.returncode == 0
    assert json.loads((place / "o.csv.json").read_text())["coverage"]["scored"] == 1


def test_metrics_of_a_score_file(place):
    (place / "s.csv").write_text("a,2.0,bonafide\nb,1.5,real\nc,0.3,real\nd,-3,spoof\ne,0.4,fake\n")
    told = call("metrics", "s.csv", "--json", "--no-intervals", cwd=place)
    found = json.loads(told.stdout)
    assert {"eer", "eer_challenge", "min_dcf", "auc", "n_bonafide", "n_spoof"} <= set(found)
    assert (found["n_bonafide"], found["n_spoof"]) == (3, 2)
    assert found["auc"] == pytest.approx(5 / 6)
    assert "EER" in call("metrics", "s.csv", cwd=place).stdout
    with_dev = json.loads(call("metrics", "s.csv", "--dev", "s.csv", "--json", cwd=place).stdout)
    assert 0 <= with_dev["accuracy"] <= 1


def test_inverted_scores_warn_and_are_not_flipped(place):
    (place / "i.csv").write_text("a,-2.0,bonafide\nb,-1.5,bonafide\nd,3,spoof\ne,4,spoof\n")
    told = call("metrics", "i.csv", "--json", cwd=place)
    assert json.loads(told.stdout)["eer"] == 1.0
    assert "inverted" in told.stderr


WRONG = {
    ("score", "a.wav"): (2, "--detector"),
    ("score", "a.wav", "-d", "nowhere"): (1, "no card.json"),
    ("score", "a.wav", "-d", "detector", "--hop", "9"): (2, "hop"),
    ("metrics", "absent.csv"): (1, "no such file"),
    ("metrics", "a.wav"): (1, "not a text file"),
    ("run", "absent.toml"): (2, "no such experiment file"),
    ("report", "."): (1, "not a run folder"),
    ("list", "strategy"): (2, "choose from"),
    ("manifest", "folderr", ".", "-o", "m.tsv"): (2, "did you mean 'folder'"),
    ("manifest", "folder", "absent", "-o", "m.tsv"): (1, "absent"),
    ("scroe",): (2, "scroe"),
    ("score", "--detektor", "x"): (2, "detektor"),
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_and_wrong_data(words, place):
    code, message = WRONG[words]
    told = call(*words, cwd=place)
    assert told.returncode == code, told.stderr
    assert message in told.stderr
    assert "Traceback" not in told.stderr


def test_lists_and_doctor_and_version(place):
    told = call("list", "strategies")
    assert told.returncode == 0
    assert [line.split()[0] for line in told.stdout.splitlines()[1:]] == list(STRATEGIES.table)
    assert call("doctor").returncode == 0
    assert call("--version").stdout.strip() == "0.1.0"


def test_a_folder_becomes_a_manifest(place):
    for label in ("bonafide", "spoof"):
        (place / "tree" / label).mkdir(parents=True)
        audio.write(place / "tree" / label / "x.wav", 0.1 * np.sin(np.arange(4000) / 9))
    told = call("manifest", "folder", "tree", "-o", "tree.tsv", cwd=place)
    assert told.returncode == 0, told.stderr
    assert len((place / "tree.tsv").read_text().splitlines()) == 3
    told = call("corpus", "manifest", "folder", "tree", "-o", "long.tsv", "--seconds", cwd=place)
    assert told.returncode == 0, told.stderr
    lines = (place / "long.tsv").read_text().splitlines()
    assert [lines[0].split("\t")[-1], lines[1].split("\t")[-1]] == ["seconds", "0.250"]
    (place / "tree" / "spoof" / "x.wav").write_bytes(b"nothing")
    told = call("corpus", "manifest", "folder", "tree", "-o", "bad.tsv", "--seconds", cwd=place)
    assert (told.returncode, "x.wav" in told.stderr) == (1, True)
    assert not (place / "bad.tsv").exists()


def test_strategies_say_what_they_keep_and_where_they_are_from(place):
    told = call("strategies")
    assert told.returncode == 0
    for name in STRATEGIES.table:
        assert name in told.stdout
    bounds = ("naive", "joint", "cumulative", "frozen", "chain")
    for name, line, keeps, source in describe_strategies():
        assert line, name
        assert keeps, name
        assert source or name in bounds, name


def test_embed_tune_and_compare_answer(place):
    for verb in ("embed", "tune", "compare", "legacy"):
        assert "Usage" in call(verb, "--help").stdout
    assert call("compare", "nowhere").returncode == 1
    assert call("tune", "nowhere.toml").returncode == 2
