"""Searches on dev: equal budgets, no look at test, resuming, failures, ends of what was searched."""

import csv
import json
import multiprocessing
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import CheckpointError, MissingExtra, RunError, SettingsError
from earwitness.experiment import Experiment
from earwitness.running import run
from earwitness.runs import RunFolder
from earwitness.tuning import Tried, tune
from earwitness.tuning import search as searching
from earwitness.tuning.search import Search
from earwitness.tuning.spaces import Choices, Numbers, size_of

DOMAINS = ("one", "two", "three")
FILE = """
name = "toy"
seeds = [0, 1]
selection = "The network was taken as it is."

[tuning]
trials = 3
seeds = [100, 101]

[stream]
corpus = "vectors"
root = "vectors"
order = ["one", "two", "three"]

[detector]
front_end = { name = "vectors", dim = 4 }
back_end = { name = "mlp", hidden = [6], pooling = "mean" }

[training]
epochs = 4
batch_size = 8
checkpoint_every = 1

[strategies.naive]
[strategies.owm.search]
alpha = { low = 0.01, high = 10.0, log = true }
"training.later_learning_rate" = { low = 0.001, high = 0.3, log = true }
[strategies.replay]
share = 0.5
[strategies.replay.search]
budget = { low = 6, high = 40 }
balance = ["none", "class"]

[evaluation]
splits = ["dev", "test"]
"""


def write_corpus(folder: Path) -> None:
    """Three domains that turn one direction into another, noisy enough that no EER is 0."""
    rng = np.random.default_rng(1)
    lines, rows = ["id\tlabel\tdomain\tsplit"], []
    for number, domain in enumerate(DOMAINS):
        for split, count in (("train", 12), ("dev", 10), ("test", 6)):
            for label, sign in (("bonafide", 1), ("spoof", -1)):
                for clip in range(count):
                    lines.append(f"{domain}-{split}-{label}-{clip}\t{label}\t{domain}\t{split}")
                    rows.append(sign * np.eye(4)[number] + 0.5 * rng.normal(size=4))
    folder.mkdir()
    np.save(folder / "vectors.npy", np.array(rows, dtype=np.float32))
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tuning")
    write_corpus(folder / "vectors")
    (folder / "toy.toml").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def file(place) -> Path:
    return place / "toy.toml"


@pytest.fixture(scope="module")
def told() -> list[Tried]:
    return []


@pytest.fixture(scope="module")
def tuned(file, told):
    return tune(file, file.parent / "tuned", on_trial=told.append)


def variant(place: Path, name: str, old: str, new: str) -> Path:
    assert old in FILE
    path = place / f"{name}.toml"
    path.write_text(FILE.replace(old, new))
    return path


def bits(folder: Path) -> dict[str, object]:
    """Every file as bytes, but clocks: seconds.jsonl, and the seconds in the record.

    A process killed while safetensors writes leaves a file called ``.tmp`` and six letters.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        skipped = path.name in ("seconds.jsonl", ".lock", "provenance.json")
        if path.is_file() and not skipped:
            found[name] = path.read_bytes()
    record = json.loads((folder / "tuning.json").read_text())
    for one in record["tried"]:
        one.pop("seconds")
    rows = list(csv.reader((folder / "tuning.csv").read_text().splitlines()))
    return found | {"tuning.json": record, "tuning.csv": [[*row[:3], *row[4:]] for row in rows]}


def eer_by_hand(path: Path) -> float:
    """Where the two error rates differ least, by trying every threshold; the mean where two tie."""
    rows = list(csv.DictReader(path.read_text().splitlines()))
    good = np.array([float(r["score"]) for r in rows if r["label"] == "bonafide"])
    bad = np.array([float(r["score"]) for r in rows if r["label"] == "spoof"])
    rates = [((good < t).mean(), (bad >= t).mean()) for t in sorted({*good, *bad, np.inf})]
    least = min(abs(miss - alarm) for miss, alarm in rates)
    near = {(m + a) / 2 for m, a in rates if abs(m - a) <= least + 1e-12}
    return sum(near) / len(near)


def value_by_hand(folder: Path, label: str, number: int) -> float:
    last = folder / "trials" / str(number) / label
    found = [
        eer_by_hand(last / f"seed-{seed}" / "scores" / "dev" / "3-three" / f"{on + 1}-{name}.csv")
        for seed in (100, 101)
        for on, name in enumerate(DOMAINS)
    ]
    return sum(found) / len(found)


# What a search does.


def test_budgets_are_equal_and_nothing_is_tried_twice(tuned, told):
    assert [len(tuned.of(label)) for label in ("naive", "owm", "replay")] == [1, 3, 3]
    assert told == tuned.trials
    for label in ("owm", "replay"):
        assert [one.number for one in tuned.of(label)] == [1, 2, 3]
        settings = [one.settings for one in tuned.of(label)]
        assert all(settings.count(one) == 1 for one in settings)
    for one in tuned.of("owm"):
        assert 0.01 <= one.settings["alpha"] <= 10
        assert 0.001 <= one.settings["training.later_learning_rate"] <= 0.3
    for one in tuned.of("replay"):
        assert isinstance(one.settings["budget"], int)
        assert one.settings["balance"] in ("none", "class")
    assert tuned.of("naive")[0].settings == {}
    assert tuned.exhausted == []


def test_the_settings_of_a_trial_are_those_it_was_run_with(tuned):
    for one in tuned.trials:
        for run_ in RunFolder(tuned.path.parent / "trials" / str(one.number)).finished():
            if run_.label == one.label:
                now = run_.settings
                for name, value in one.settings.items():
                    table = now["training"] if name.startswith("training.") else now["strategy"]
                    assert table[name.removeprefix("training.")] == value
    assert one.label == "replay"
    assert now["strategy"]["share"] == 0.5


def test_test_is_never_scored(tuned):
    folders = [p for p in (tuned.path.parent / "trials").rglob("scores/*") if p.is_dir()]
    assert {p.name for p in folders} == {"dev"}
    assert len(folders) == 2 * len(tuned.trials)  # one a seed
    for number in (1, 2, 3):
        assert RunFolder(tuned.path.parent / "trials" / str(number)).provenance["splits"] == ["dev"]


def test_values_and_the_best_are_those_of_the_score_files(tuned):
    for one in tuned.trials:
        by_hand = value_by_hand(tuned.path.parent, one.label, one.number)
        assert one.value == pytest.approx(by_hand, abs=1e-12)
        assert one.failed is None
    for label, best in tuned.best.items():
        values = [one.value for one in tuned.of(label)]
        assert best.number == 1 + values.index(min(values))
    assert len({one.value for one in tuned.trials}) > 3  # the comparison could have failed


def test_other_settings_would_have_other_values(tuned):
    owm = tuned.of("owm")
    assert value_by_hand(tuned.path.parent, "owm", 1) != pytest.approx(owm[1].value, abs=1e-12)


def test_the_record_has_every_trial(tuned):
    record = json.loads(tuned.path.with_name("tuning.json").read_text())
    assert [Tried(**one) for one in record["tried"]] == tuned.trials
    assert (record["trials"], record["seeds"]) == (3, [100, 101])
    assert record["best"] == {label: one.number for label, one in tuned.best.items()}
    rows = list(csv.DictReader(tuned.path.with_name("tuning.csv").read_text().splitlines()))
    assert len(rows) == len(tuned.trials)
    for row, one in zip(rows, tuned.trials, strict=True):
        assert (row["label"], int(row["trial"]), float(row["value"])) == (
            one.label,
            one.number,
            one.value,
        )
        assert {k: v for k, v in row.items() if k in one.settings} == {
            k: str(v) for k, v in one.settings.items()
        }
    assert all(one.seconds > 0 for one in tuned.trials)
    assert [row[0] for row in tuned.rows()] == ["naive", "owm", "replay"]
    assert [row[3] for row in tuned.rows()] == ["1", "3", "3"]
    assert tuned.rows()[0][1:3] == ("nothing was searched", f"{100 * tuned.trials[0].value:.2f}")


def test_the_tuned_file_runs(tuned, tmp_path):
    tuned_file = Experiment.read(tuned.path)
    given = tomllib.loads(FILE)
    assert tuned_file.seeds == given["seeds"]
    assert tuned_file.splits == ["dev", "test"]
    assert "tuning" not in tuned_file.settings
    assert tuned_file.settings["strategies"]["replay"] == {
        "share": 0.5,
        **tuned.best["replay"].settings,
    }
    best = tuned.best["owm"].settings
    assert tuned_file.training("owm").later_learning_rate == best["training.later_learning_rate"]
    assert tuned_file.strategy("owm").alpha == best["alpha"]
    note = tuned_file.settings["selection"]
    assert note.startswith("The network was taken as it is. Settings were chosen on dev alone")
    for told in (
        "seed(s) 100, 101",
        "Trials: 3 for owm, 3 for replay.",
        "Nothing was searched for naive",
    ):
        assert told in note
    folder = run(Experiment.read(tuned.path, ["training.epochs=1", "seeds=[0]"]), tmp_path / "run")
    assert [one.label for one in folder.finished()] == ["naive", "owm", "replay"]


def test_the_tuned_file_gives_the_best_value_again(tuned, file):
    """The best trial, run once more from the tuned file with the search's seeds, has the same value."""
    again = run(
        Experiment.read(tuned.path, ["seeds=[100, 101]", 'evaluation.splits=["dev"]']),
        file.parent / "again",
    )
    from earwitness.evaluation import summary

    for label, best in tuned.best.items():
        runs = [one for one in again.finished() if one.label == label]
        values = [summary(one, split="dev")["final_average"] for one in runs]
        assert np.mean(values) == best.value


# The same again, and after a stop.


def test_the_same_call_changes_nothing_and_learns_nothing(tuned, file, monkeypatch):
    before = bits(tuned.path.parent)
    done = {p: p.stat().st_mtime_ns for p in tuned.path.parent.rglob("done.json")}
    again = tune(file, tuned.path.parent)
    assert again == tuned
    assert bits(tuned.path.parent) == before
    assert {p: p.stat().st_mtime_ns for p in tuned.path.parent.rglob("done.json")} == done


@pytest.mark.slow
def test_a_killed_search_ends_with_the_same_bits(tuned, file, tmp_path):
    code = f"from earwitness.tuning import tune; tune({str(file)!r}, {str(tmp_path / 'cut')!r})"
    for round_, label in ((1, "owm"), (2, "replay")):
        process = subprocess.Popen([sys.executable, "-c", code])
        log = tmp_path / "cut" / "trials" / str(round_) / label / "seed-101" / "steps.jsonl"
        while not (log.exists() and log.read_text().count("\n") > 5):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "cut" / "tuned.toml").exists()
    tune(file, tmp_path / "cut")
    cut, whole = bits(tmp_path / "cut"), bits(tuned.path.parent)
    assert tomllib.loads(cut.pop("tuned.toml").decode())["stream"].pop("root")
    whole.pop("tuned.toml")
    assert cut == whole


def test_more_trials_go_on(file, tuned, tmp_path):
    tune(file, tmp_path / "more", trials=1)
    first = (tmp_path / "more" / "tuning.json").read_text()
    assert len(json.loads(first)["tried"]) == 3
    more = tune(file, tmp_path / "more")
    settings = [[(o.label, o.number, o.settings, o.value) for o in t.trials] for t in (more, tuned)]
    assert settings[0] == settings[1]


def test_another_search_in_the_folder_is_refused(file, tuned):
    before = bits(tuned.path.parent)
    with pytest.raises(CheckpointError, match="another search"):
        tune(file, tuned.path.parent, overrides=["training.epochs=3"])
    with pytest.raises(CheckpointError, match="another search"):
        tune(file, tuned.path.parent, overrides=["tuning.sampler_seed=1"])
    assert bits(tuned.path.parent) == before


def test_workers_give_the_same(file, tuned, tmp_path):
    both = tune(file, tmp_path / "both", workers=2, trials=1)
    assert [(o.label, o.value) for o in both.trials] == [
        (o.label, o.value) for o in tuned.trials if o.number == 1
    ]


# Failures.

DIVERGES = """[strategies.naive]
[strategies.naive.search]
"training.learning_rate" = [0.01, 1e30]
[strategies.joint]
training = { clip_norm = 0.0 }
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_setting_that_diverges_is_recorded_and_survived(place, workers, tmp_path):
    path = variant(place, "diverging", "[strategies.naive]\n", DIVERGES)
    found = tune(
        path, tmp_path / "out", workers=workers, trials=2, overrides=["training.clip_norm=0.0"]
    )
    naive = {one.settings["training.learning_rate"]: one for one in found.of("naive")}
    bad, good = naive[1e30], naive[0.01]
    assert bad.value == 1.0
    assert "the loss became" in bad.failed or "NaN or infinite" in bad.failed
    assert good.failed is None
    assert found.best["naive"] == good
    assert [len(found.of(n)) for n in ("naive", "joint", "owm", "replay")] == [2, 1, 2, 2]
    assert [one.failed for one in found.trials if one.label != "naive"] == [None] * 5
    assert "1 trial(s) failed" in Experiment.read(found.path).settings["selection"]
    record = json.loads((tmp_path / "out" / "tuning.json").read_text())
    assert [one["failed"] for one in record["tried"] if one["failed"]] == [bad.failed]
    folder = RunFolder(tmp_path / "out" / "trials" / str(bad.number))
    assert {"owm", "replay"} <= {one.label for one in folder.finished()}
    before = bits(tmp_path / "out")
    assert tune(path, tmp_path / "out", trials=2, overrides=["training.clip_norm=0.0"]) == found
    assert bits(tmp_path / "out") == before  # the failed runs too were left alone


def test_a_strategy_without_one_good_trial_is_named(place, tmp_path):
    path = variant(place, "hopeless", "[strategies.naive]\n", DIVERGES)
    overrides = ["training.clip_norm=0.0", "strategies.joint.training.learning_rate=1e30"]
    with pytest.raises(RunError, match=r"all 1 trial\(s\) of joint failed, the first because: "):
        tune(path, tmp_path / "out", trials=2, overrides=overrides)
    assert not (tmp_path / "out" / "tuned.toml").exists()
    assert len(json.loads((tmp_path / "out" / "tuning.json").read_text())["tried"]) == 7


def test_a_folder_in_use_is_no_failed_trial(file, tmp_path):
    import fcntl

    place = tmp_path / "out" / "trials" / "1"
    (place / "naive" / "seed-100").mkdir(parents=True)  # begun, by the other process
    with open(place / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process"):
            tune(file, tmp_path / "out")
    assert not (place / "failed.json").exists()


def test_a_killed_worker_is_no_failed_trial(file, tmp_path, monkeypatch):
    from earwitness import processes

    killed = []

    def wait(jobs, **more):
        """Kill a worker once a run is under way."""
        if not killed and list(tmp_path.rglob("steps.jsonl")):
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()
        return waited(jobs, **more)

    waited = processes.wait
    monkeypatch.setattr(processes, "wait", wait)
    with pytest.raises(RunError, match="a worker process died"):
        tune(file, tmp_path / "out", workers=2)
    assert not (tmp_path / "out" / "trials" / "1" / "failed.json").exists()


def test_a_failure_before_anything_has_begun_stops_the_search(file, tmp_path, monkeypatch):
    def fail(*anything, **more):
        raise RunError("no room")

    monkeypatch.setattr(searching, "run", fail)
    with pytest.raises(RunError, match="no room"):
        tune(file, tmp_path / "out")


# What is asked next, and ends of what was searched.


def asked(space, values, seed=0) -> list[dict]:
    search, found = Search(space, seed=seed, minimise=True), []
    while (settings := search.ask()) is not None and len(found) < 40:
        found.append(settings)
        search.tell(values(settings))
    return found


def test_few_settings_are_all_tried_once():
    space = {"a": Choices(["x", "y", ["z", "w"]]), "b": Numbers(1, 4)}
    found = asked(space, lambda s: s["b"])
    assert len(found) == size_of(space) == 12
    assert all(found.count(one) == 1 for one in found)
    assert {repr(one["a"]) for one in found} == {"'x'", "'y'", "['z', 'w']"}


def test_the_same_seed_asks_the_same_and_another_does_not():
    space = {"a": Numbers(0.1, 10.0, log=True)}
    assert asked(space, lambda s: s["a"]) == asked(space, lambda s: s["a"])
    assert asked(space, lambda s: s["a"]) != asked(space, lambda s: s["a"], seed=1)


def test_the_estimator_learns_which_way_is_better():
    space = {"a": Numbers(0.0, 1.0)}
    low, high = (asked(space, lambda s, sign=sign: sign * s["a"])[20:] for sign in (1, -1))
    assert np.mean([s["a"] for s in low]) < 0.3
    assert np.mean([s["a"] for s in high]) > 0.7


def test_the_log_scale_is_searched_evenly():
    found = [s["a"] for s in asked({"a": Numbers(0.001, 1000.0, log=True)}, lambda s: 0.0)]
    assert 10 <= sum(value < 1 for value in found) <= 30
    flat = [s["a"] for s in asked({"a": Numbers(0.001, 1000.0)}, lambda s: 0.0)]
    assert sum(value < 1 for value in flat) <= 1


@pytest.mark.parametrize(
    ("values", "value", "edge"),
    [
        (Numbers(0.1, 1000.0, log=True), 0.15, "lower"),  # 0.044 of the four decades
        (Numbers(0.1, 1000.0, log=True), 0.17, None),
        (Numbers(0.1, 1000.0, log=True), 900.0, "upper"),
        (Numbers(0.1, 1000.0, log=True), 500.0, None),
        (Numbers(0.1, 1000.0), 500.0, None),
        (Numbers(0.1, 1000.0), 20.0, "lower"),
        (Numbers(1, 5), 5, "upper"),
        (Numbers(1, 5), 4, None),
        (Choices([3, 1, 2]), 1, "lower"),
        (Choices([3, 1, 2]), 2, None),
        (Choices([True, False]), True, None),
        (Choices(["a", "b"]), "b", None),
        (Choices([7]), 7, None),
    ],
)
def test_ends_of_what_was_searched(values, value, edge):
    assert values.edge(value) == edge


@pytest.mark.parametrize(("target", "edge"), [(0.001, "lower"), (0.3, None), (100.0, "upper")])
def test_a_best_value_at_an_end_is_told(target, edge, file, tmp_path, monkeypatch):
    """On a made-up landscape whose best value is known: beyond either end, or in the middle."""

    def judge(plan, number, chosen, folder, workers):
        value = {"owm": lambda s: abs(np.log(s["alpha"] / target)) / 20}
        fixed = lambda s: 0.5  # noqa: E731
        return [Tried(n, number, s, value.get(n, fixed)(s), 0.0) for n, s in chosen.items()]

    monkeypatch.setattr(searching, "_try", judge)
    tuned = tune(file, tmp_path / "out", trials=25)
    assert [len(tuned.of(label)) for label in ("naive", "owm", "replay")] == [1, 25, 25]
    alpha = tuned.best["owm"].settings["alpha"]
    assert abs(np.log(alpha / np.clip(target, 0.01, 10))) < 0.4
    told = f"alpha = {alpha:g}, at the {edge} end of 0.01 to 10, log"
    found = [one for one in tuned.edges["owm"] if one.startswith("alpha")]
    assert found == ([told] if edge else [])
    assert (told in Experiment.read(tuned.path).settings["selection"]) == bool(edge)
    assert tuned.best["replay"].number == 1  # the first of equals


def test_a_list_shorter_than_the_trials_is_exhausted(place, tmp_path):
    found = "[strategies.naive]\nsearch = { 'training.later_learning_rate' = [0.01, 0.1] }\n"
    path = variant(place, "short", "[strategies.naive]\n", found)
    tuned = tune(path, tmp_path / "out", overrides=["strategies.owm={}", "strategies.replay={}"])
    assert tuned.exhausted == ["naive"]
    rates = [one.settings["training.later_learning_rate"] for one in tuned.of("naive")]
    assert sorted(rates) == [0.01, 0.1]
    assert "2 for naive (all there are)" in Experiment.read(tuned.path).settings["selection"]


# Orders, variants, other classes.


def test_only_the_first_order_is_searched(place, tmp_path):
    orders = 'orders = [["two", "one"], ["one", "two"]]'
    path = variant(place, "orders", 'order = ["one", "two", "three"]', orders)
    tuned = tune(path, tmp_path / "out", trials=1)
    assert RunFolder(tmp_path / "out" / "trials" / "1").provenance["orders"] == [["two", "one"]]
    assert Experiment.read(tuned.path).settings["stream"]["orders"] == [["two", "one"], ["one", "two"]]


def test_a_varied_strategy_is_searched_for_each_variant(place, tmp_path):
    varied = (
        "[strategies.naive]\n[strategies.r]\nname = 'replay'\nvary = { share = [0.5, 1.0] }\n"
        "search = { budget = [6, 12, 24] }\n"
    )
    path = variant(place, "varied", "[strategies.naive]\n", varied)
    tuned = tune(path, tmp_path / "out", trials=2)
    labels = ["naive", "r-share-0.5", "r-share-1.0", "owm", "replay"]
    assert [len(tuned.of(label)) for label in labels] == [1, 2, 2, 2, 2]
    read = Experiment.read(tuned.path)
    assert read.labels == labels
    assert read.strategy("r-share-1.0").share == 1.0


def test_other_classes_are_judged_by_accuracy(tmp_path):
    rng = np.random.default_rng(3)
    lines, rows = ["id\tlabel\tdomain\tsplit"], []
    for number, domain in enumerate(("one", "two")):
        for split, count in (("train", 8), ("dev", 8), ("test", 4)):
            for place, label in enumerate(("cat", "dog", "hen")):
                for clip in range(count):
                    lines.append(f"{domain}-{split}-{label}-{clip}\t{label}\t{domain}\t{split}")
                    rows.append(np.roll(np.eye(4)[place], number) + 0.6 * rng.normal(size=4))
    (tmp_path / "vectors").mkdir()
    np.save(tmp_path / "vectors" / "vectors.npy", np.array(rows, dtype=np.float32))
    (tmp_path / "vectors" / "manifest.tsv").write_text("\n".join(lines) + "\n")
    path = tmp_path / "toy.toml"
    path.write_text(FILE.replace('["one", "two", "three"]', '["one", "two"]'))
    classes = "stream.reader={classes=['cat', 'dog', 'hen']}"
    tuned = tune(path, tmp_path / "out", overrides=[classes])
    assert tuned.metric == "accuracy"
    for label in ("owm", "replay"):
        assert tuned.best[label].value == max(one.value for one in tuned.of(label))
    assert len({one.value for one in tuned.trials}) > 1
    assert "the highest mean accuracy" in Experiment.read(tuned.path).settings["selection"]


# What is refused.

WRONG = {
    "tuning.trails=3": "no setting 'trails'; did you mean 'trials'",
    "tuning.trials=0": "expected trials from 1",
    "tuning.seeds=[1, 7]": "seeds has 1, which is among the experiment's seeds",
    "tuning.seeds=[7, 7]": "different whole numbers",
    "tuning=3": r"\[tuning\] is 3",
    "strategies.owm.search=3": r"\[strategies\.owm\.search\] is 3",
    "strategies.owm.search.alpha={low=2, high=1}": r"search\] alpha: low is 2, high 1; expected",
    "strategies.owm.search.alpha={low=0, high=1, log=true}": "expected 0 < low < high",
    "strategies.owm.search.alpha={low=0, hihg=1}": "did you mean 'high'",
    "strategies.owm.search.alpha=[1, 1.0]": "list of different values",
    "strategies.owm.search.alpha=[]": "list of different values",
    "strategies.owm.search.alpha=5": "list of different values",
    "strategies.replay.search.share=[0.5, -1.0]": r"\[strategies\.replay\.search\] share: .*-1\.0",
    "strategies.owm.search.alpha=[0.1, 'many']": r"search\] alpha: .*'many', expected float",
    "strategies.owm.search.alhpa=[0.1]": "no setting 'alhpa'; did you mean 'alpha'",
    "strategies.replay.search.budget={low=-3, high=8}": "expected budget >= 0",
    "strategies.owm.search.alpha.x=1": "no setting 'x'",
    "training.epoch=1": "did you mean 'epochs'",
}


@pytest.mark.parametrize("override", WRONG)
def test_what_is_wrong_is_refused_before_anything_is_written(override, file, tmp_path):
    with pytest.raises(SettingsError, match=WRONG[override]) as caught:
        tune(file, tmp_path / "out", overrides=[override])
    assert str(file) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_path_through_a_number_is_refused(place, tmp_path):
    wrong = "[strategies.replay.search]\n'share.x' = [1]\n"
    path = variant(place, "path", "[strategies.replay.search]\n", wrong)
    with pytest.raises(SettingsError, match=r"share is 0\.5, expected a section"):
        tune(path, tmp_path / "out")


def test_a_file_without_a_search_and_files_that_cannot_be_read(place, tmp_path):
    overrides = ["strategies={naive={}}"]
    with pytest.raises(SettingsError, match="nothing is to be searched"):
        tune(place / "toy.toml", tmp_path / "out", overrides=overrides)
    with pytest.raises(SettingsError, match="no such experiment file"):
        tune(place / "absent.toml", tmp_path / "out")
    (tmp_path / "broken.toml").write_text("a = = 1")
    with pytest.raises(SettingsError, match="not a TOML file"):
        tune(tmp_path / "broken.toml", tmp_path / "out")


def test_without_optuna_it_says_what_to_install(file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'earwitness\[tune\]'"):
        tune(file, tmp_path / "out")


@pytest.mark.parametrize("name", ["toy", "toy-tuning"])
def test_the_folder_unless_one_is_given(name, place, tmp_path):
    path = variant(place, name, "trials = 3", "trials = 1") if name != "toy" else place / "toy.toml"
    command = [sys.executable, "-m", "earwitness", "tune", str(path), "--trials", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [found.name for found in (tmp_path / "runs").iterdir()] == ["toy-tuning"]
