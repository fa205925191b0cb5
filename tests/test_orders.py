"""Several orders of the tasks, fewer clips, and settings that are varied: planned, run, read again."""

import itertools
import json

import numpy as np
import pytest

from earwitness.errors import CheckpointError, ProtocolError, RunError, SettingsError
from earwitness.evaluation import matrix
from earwitness.experiment import Experiment
from earwitness.report import write
from earwitness.running import run
from earwitness.runs import RunFolder
from earwitness.settings import vary
from earwitness.streams import Stream
from earwitness.trials import Manifest, Trial

DOMAINS = ("one", "two", "three")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(1)
    lines, rows = ["id\tlabel\tdomain\tsplit"], []
    for number, domain in enumerate(DOMAINS):
        for split, count in (("train", 12), ("dev", 4), ("test", 6)):
            for label, sign in (("bonafide", 1), ("spoof", -1)):
                for clip in range(count):
                    lines.append(f"{domain}-{split}-{label}-{clip}\t{label}\t{domain}\t{split}")
                    rows.append(sign * np.eye(4)[number] + 0.3 * rng.normal(size=4))
    np.save(root / "vectors.npy", np.array(rows, dtype=np.float32))
    (root / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return root


def plan(corpus, stream=None, first=DOMAINS, **more) -> Experiment:
    own = {"order": list(first)} if first else {}
    settings = {
        "name": "orders",
        "stream": {"corpus": "vectors", "root": str(corpus), **own, **(stream or {})},
        "detector": {
            "front_end": {"name": "vectors", "dim": 4},
            "back_end": {"name": "linear", "pooling": "mean"},
        },
        "training": {"epochs": 2, "batch_size": 8},
        "strategies": {"naive": {}},
    }
    return Experiment.from_settings({**settings, **more})


def test_every_order_is_run_and_read_with_its_own_tasks(corpus, tmp_path):
    experiment = plan(corpus, {"orders": 3}, seeds=[0, 1])
    folder = run(experiment, tmp_path / "run", workers=2)
    runs = folder.finished()
    assert [(one.order, one.seed) for one in runs] == [(o, s) for o in range(3) for s in range(2)]
    orders = {one.order: one.tasks for one in runs}
    assert orders[0] == DOMAINS
    assert all(sorted(tasks) == sorted(DOMAINS) for tasks in orders.values())
    assert len(set(orders.values())) > 1
    for one in runs:
        assert (one.path / "scores" / "test" / f"1-{one.tasks[0]}").is_dir()
        assert matrix(one).shape == (3, 3)
    assert RunFolder(tmp_path / "run").provenance["orders"] == [list(o) for o in orders.values()]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("done.json")}
    run(experiment, tmp_path / "run")  # nothing is left to do
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("done.json")}


def test_the_first_order_is_the_same_run_as_without_others(corpus, tmp_path):
    run(plan(corpus), tmp_path / "one")
    run(plan(corpus, {"orders": 2}), tmp_path / "two")
    one, two = (RunFolder(tmp_path / n).finished()[0] for n in ("one", "two"))
    assert np.array_equal(matrix(one), matrix(two))


def test_given_orders_are_taken_as_they_are(corpus):
    orders = [["two", "one"], ["one", "two"]]
    experiment = plan(corpus, {"orders": orders}, first=None)
    stream = experiment.stream()
    assert experiment.orders(stream) == [("two", "one"), ("one", "two")]
    assert [task.name for task in stream] == ["two", "one"]
    assert experiment.left_out == {"three": 44}


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([["one", "two"], ["one"]], "same tasks"),
        ([["one", "two"]], "take the place of order"),  # order is given too
        (0, "expected how many"),
        (["one"], "expected how many"),
        ([[["one"]]], "expected how many"),
        ([], "expected how many"),
        (True, "expected how many"),
        (-1, "expected how many"),
    ],
)
def test_bad_orders_are_refused(orders, message, corpus):
    with pytest.raises(SettingsError, match=message):
        plan(corpus, {"orders": orders})


def test_an_order_given_twice_is_refused(corpus):
    orders = [["one", "two"], ["two", "one"], ["one", "two"]]
    with pytest.raises(SettingsError, match=r"orders has \['one', 'two'\] more than once"):
        plan(corpus, {"orders": orders}, first=None)
    with pytest.raises(SettingsError, match="same tasks"):
        plan(corpus, {"orders": [["one", "two"], ["one", "two", "two"]]}, first=None)


def test_drawn_orders_are_all_different_and_the_same_as_before_where_none_was_drawn_twice(corpus):
    drawn = [
        tuple(np.random.default_rng(np.random.SeedSequence([n])).permutation(DOMAINS).tolist())
        for n in range(1, 40)
    ]
    stream = plan(corpus).stream()
    for count in range(1, 7):
        orders = plan(corpus, {"orders": count}).orders(stream)
        assert len(set(orders)) == len(orders) == count
        with_repeats = [DOMAINS, *drawn]
        assert orders == list(dict.fromkeys(with_repeats))[:count]
    assert len({DOMAINS, *drawn[:5]}) < 6  # so six drawn blindly would have had repeats
    assert sorted(orders) == sorted(itertools.permutations(DOMAINS))
    with pytest.raises(SettingsError, match=r"orders is 7, expected at most 6: 3 task\(s\)"):
        plan(corpus, {"orders": 7}).orders(stream)


def test_a_report_of_several_orders_points_to_compare(corpus, tmp_path):
    folder = run(plan(corpus, {"orders": 2}), tmp_path / "run")
    with pytest.raises(RunError, match="earwitness compare"):
        write([folder])


def test_varied_settings_become_strategies_of_their_own(corpus):
    varied = {"replay": {"share": 0.5, "vary": {"budget": [4, 8], "balance": ["none"]}}}
    experiment = plan(corpus, strategies={"naive": {}} | varied)
    assert experiment.labels == [
        "naive",
        "replay-budget-4-balance-none",
        "replay-budget-8-balance-none",
    ]
    assert experiment.strategy(experiment.labels[2]).built_from == {
        **{"name": "replay", "budget": 8, "share": 0.5, "balance": "none"},
        **{k: v for k, v in experiment.strategy(experiment.labels[2]).built_from.items()
           if k not in ("name", "budget", "share", "balance")},
    }  # fmt: skip
    with pytest.raises(SettingsError, match="expected lists of values"):
        plan(corpus, strategies={"replay": {"vary": {"budget": 3}}})
    with pytest.raises(SettingsError, match="no setting 'budgte'"):
        plan(corpus, strategies={"replay": {"vary": {"budgte": [3]}}})


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (3, "is 3, expected lists"),
        ([1], r"is \[1\], expected lists"),
        ({"budget": []}, "expected lists"),
        ({"budget": [4, 8, 4]}, "4 more than once in budget"),
    ],
)
def test_what_cannot_be_varied_is_refused(lists, message, corpus):
    with pytest.raises(SettingsError, match=rf"\[strategies\.replay\] .*{message}"):
        plan(corpus, strategies={"replay": {"vary": lists}})


@pytest.mark.parametrize("first", ["given", "varied"])
def test_no_strategy_is_lost_to_another_of_its_label(first, corpus):
    given = {"replay-budget-4": {"name": "replay", "share": 0.25}}
    varied = {"replay": {"vary": {"budget": [4, 8]}}}
    strategies = given | varied if first == "given" else varied | given
    with pytest.raises(SettingsError, match="two strategies would be labelled 'replay-budget-4'"):
        plan(corpus, strategies=strategies)


@pytest.mark.parametrize("label", ["", ".", "..", "a/b", "a\\b", "a b", "a\n", "/a", "\u03b1"])
def test_a_label_must_be_a_name_for_a_folder(label, corpus):
    with pytest.raises(SettingsError, match="labels become folders"):
        plan(corpus, strategies={label: {"name": "naive"}})


def test_labels_of_varied_values_are_names_for_folders():
    def labels(values):
        return list(vary({"x": {"vary": {"key": values}}}))

    assert labels([1, -1, 1.5e-7, "a_b"]) == ["x-key-1", "x-key--1", "x-key-1.5e-07", "x-key-a_b"]
    assert labels(["a / b", "../c", [-1, 2]]) == ["x-key-a-b", "x-key-..-c", "x-key--1-2"]
    assert labels(["a/b", "a b", "c"]) == ["x-key-1", "x-key-2", "x-key-3"]
    assert labels(["a" * 75, "b"]) == ["x-key-" + "1", "x-key-2"]
    assert labels(["a" * 74, "b"]) == ["x-key-" + "a" * 74, "x-key-b"]
    two = vary({"x": {"vary": {"k": ["/", "//"], "l": [1]}}})
    assert list(two) == ["x-k-l-1", "x-k-l-2"]
    assert two["x-k-l-2"] == {"name": "x", "k": "//", "l": 1}
    with pytest.raises(SettingsError, match="labelled 'x-key-1'"):
        vary({"x": {"vary": {"key": ["/", "//"]}}, "x-key-1": {"name": "x"}})


def test_later_tasks_can_have_few_clips(corpus):
    whole, few = plan(corpus).stream(), plan(corpus, {"later_clips": 6}).stream()
    assert few[0].train.fingerprint() == whole[0].train.fingerprint()
    for task, of_all in zip(list(few)[1:], list(whole)[1:], strict=True):
        assert task.train.counts() == {"bonafide": 3, "spoof": 3}
        assert {t.id for t in task.train} < {t.id for t in of_all.train}
        assert task.test.fingerprint() == of_all.test.fingerprint()


def test_a_class_can_be_made_rare(corpus):
    for task in plan(corpus, {"bonafide_share": 0.2}).stream():
        assert task.train.counts() == {"bonafide": 3, "spoof": 12}
        assert task.test.counts() == {"bonafide": 6, "spoof": 6}


@pytest.mark.parametrize("value", ["x", -1, 0, 1.5, True, float("nan")])
def test_clips_that_cannot_be_counted_are_refused(value, corpus):
    with pytest.raises(SettingsError, match=r"\[stream\] later_clips is .*whole number from 1"):
        plan(corpus, {"later_clips": value})
    with pytest.raises(SettingsError, match="later_clips is"):
        plan(corpus).stream().thinned(later_clips=value)


@pytest.mark.parametrize("value", ["x", -0.1, 0, 1, 0.0, 1.0, True, float("nan"), [0.5]])
def test_what_is_no_share_is_refused(value, corpus):
    with pytest.raises(SettingsError, match=r"\[stream\] bonafide_share is .*between 0 and 1"):
        plan(corpus, {"bonafide_share": value})
    with pytest.raises(SettingsError, match="bonafide_share is"):
        plan(corpus).stream().thinned(bonafide_share=value)


def test_a_share_of_bonafide_needs_labels():
    trials = [Trial(f"{n}", f"{n}.wav", ("bonafide", "spoof", "unknown")[n % 3]) for n in range(30)]
    with pytest.raises(ProtocolError, match=r"'b': 10 of 30 training trial\(s\) are labelled unknown"):
        _stream(trials).thinned(bonafide_share=0.5)


def test_lots_do_not_depend_on_the_other_trials():
    trials = [Trial(f"{n}", f"{n}.wav", ("bonafide", "spoof")[n % 2]) for n in range(40)]
    some = Manifest("some", trials[:20]).trials
    stream = [_stream(trials), _stream(some)]
    kept = [{t.id for t in s.thinned(later_clips=10)[1].train} for s in stream]
    assert kept[0] & {t.id for t in some} <= kept[1]  # who stays in the crowd stays in the few


def _stream(trials) -> Stream:
    from earwitness.streams import Task

    def part(name, chosen):
        return Manifest(name, [Trial(f"{name}{t.id}", f"{name}{t.path}", t.label) for t in chosen])

    first = Task("a", *(part(f"a-{n}", trials[:2]) for n in ("train", "dev", "test")))
    second = Task("b", Manifest("b", trials), *(part(f"b-{n}", trials[:2]) for n in ("dev", "test")))
    return Stream([first, second])


def test_tasks_in_another_order_must_be_the_streams(corpus):
    with pytest.raises(ProtocolError, match="no domain 'four'"):
        plan(corpus).stream(order=["four"])
    with pytest.raises(ProtocolError, match="no task 'twoo'; did you mean 'two'.*one, two, three"):
        plan(corpus).stream().in_order(["one", "twoo"])


def test_provenance_says_how_a_run_is_judged(corpus, tmp_path):
    run(plan(corpus), tmp_path / "run")
    told = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert (told["metric"], told["classes"]) == ("eer", ["bonafide", "spoof"])


def test_equal_runs_are_copied_and_others_are_not(corpus, tmp_path):
    run(plan(corpus, strategies={"naive": {}, "owm": {}}), tmp_path / "old")
    learned = []
    strategies = {"plain": {"name": "naive"}, "owm": {"alpha": 0.5}, "joint": {}}
    experiment = plan(corpus, strategies=strategies)
    folder = run(
        experiment,
        tmp_path / "new",
        reuse=[tmp_path / "old"],
        on_step=lambda label, seed, record: learned.append(label),
    )
    assert set(learned) == {"owm", "joint"}  # another alpha, and a new one
    plain = folder.finished()[0]
    old = RunFolder(tmp_path / "old").finished()[0]
    assert np.array_equal(matrix(plain), matrix(old))
    again = run(experiment, tmp_path / "again", workers=2)
    assert np.array_equal(matrix(plain), matrix(again.finished()[0]))
    other = run(plan(corpus, {"later_clips": 4}), tmp_path / "other", reuse=[tmp_path / "old"])
    assert not np.array_equal(matrix(other.finished()[0]), matrix(old))  # other data: run anew


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_fails_is_noted_and_the_others_go_on(workers, corpus, tmp_path):
    wild = {"name": "naive", "training": {"learning_rate": 1e38, "clip_norm": 0.0}}
    experiment = plan(corpus, strategies={"naive": {}, "wild": wild, "owm": {}})
    with pytest.raises((RunError, ProtocolError), match="loss became|NaN or infinite"):
        run(experiment, tmp_path / "strict", workers=workers)
    tried = []
    for _ in range(2):
        folder = run(
            experiment,
            tmp_path / "run",
            workers=workers,
            keep_going=True,
            on_step=lambda label, seed, record, tried=tried: tried.append(label),
        )
        assert [one.label for one in folder.finished()] == ["naive", "owm"]
        assert list(folder.failed()) == ["wild/seed-0"]
        assert "infinite" in folder.failed()["wild/seed-0"]
        attempts, tried = set(tried), []
    assert attempts == set()  # nothing was left to try the second time


def test_fewer_clips_in_several_orders_are_the_same_with_any_number_of_workers(corpus, tmp_path):
    experiment = plan(corpus, {"orders": [["one", "two", "three"], ["three", "one", "two"]],
                               "later_clips": 6}, first=None)  # fmt: skip
    one = run(experiment, tmp_path / "one")
    two = run(experiment, tmp_path / "two", workers=2)
    for a, b in zip(one.finished(), two.finished(), strict=True):
        assert np.array_equal(matrix(a), matrix(b))
        clips = [
            r["labels"]
            for r in json.loads((a.path / "detector" / "card.json").read_text())["trained_on"]
        ]
        assert [sum(c.values()) for c in clips] == [24, 6, 6]  # the first task of this order is whole
    run(experiment, tmp_path / "two")  # and it is complete for the other way


def test_equal_runs_of_other_code_are_not_copied(corpus, tmp_path, monkeypatch):
    run(plan(corpus), tmp_path / "old")
    monkeypatch.setattr("earwitness.records._code", lambda: "other")
    tried = []
    note = lambda label, seed, record: tried.append(label)  # noqa: E731
    run(plan(corpus), tmp_path / "new", reuse=[tmp_path / "old"], on_step=note)
    assert tried


def test_other_data_under_way_is_refused_before_the_first_write(corpus, tmp_path):
    experiment = plan(corpus, training={"epochs": 2, "batch_size": 8, "checkpoint_every": 1})

    def stop(label, seed, record):
        if record["position"] == 1 and record["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path / "run", on_step=stop)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    other = plan(corpus, {"later_clips": 4}, training=experiment.settings["training"])
    with pytest.raises(CheckpointError, match="task 2 was begun on other training data"):
        run(other, tmp_path / "run")
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_every_task_has_its_time_also_without_training(corpus, tmp_path):
    folder = run(plan(corpus, strategies={"frozen": {}}), tmp_path / "run")
    assert list(folder.finished()[0].seconds()) == list(DOMAINS)


def test_what_starts_again_keeps_the_first_learning_rate(corpus, tmp_path):
    training = {"epochs": 2, "batch_size": 8, "later_learning_rate": 1e-6, "schedule": "constant"}
    rates = {}

    def note(label, seed, record):
        rates.setdefault(label, set()).add(record["learning_rate"])

    run(
        plan(corpus, training=training, strategies={"joint": {}, "cumulative": {}}),
        tmp_path,
        on_step=note,
    )
    assert rates == {"joint": {0.05}, "cumulative": {0.05, 1e-6}}
