"""From score files to numbers: joins, guards, task matrices, intervals over seeds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from run_folder import write_run_folder
from scipy import stats

from earwitness import evaluation
from earwitness.errors import ProtocolError, RunError, SettingsError
from earwitness.evaluation import (
    accuracy_matrix,
    dev_threshold,
    evaluate,
    matrix,
    mean_interval,
    paired_difference,
    pooled,
    summary,
    untrained_row,
)
from earwitness.metrics import METRICS
from earwitness.metrics.asv import AsvErrors
from earwitness.metrics.auc import auc
from earwitness.metrics.bootstrap import bootstrap_interval
from earwitness.metrics.continual import summarise
from earwitness.metrics.eer import eer
from earwitness.metrics.min_dcf import min_dcf
from earwitness.metrics.min_tdcf import min_tdcf
from earwitness.runs import Run
from earwitness.scores import Scores
from earwitness.trials import Manifest, Trial

TOY = [2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0]


def scores_of(bonafide: object, spoof: object) -> Scores:
    bonafide, spoof = np.asarray(bonafide), np.asarray(spoof)
    labels = ["bonafide"] * len(bonafide) + ["spoof"] * len(spoof)
    return Scores([f"t{i}" for i in range(len(labels))], [*bonafide, *spoof], labels)


def drawn(seed: int, n: int = 60, shift: float = 1.0) -> Scores:
    rng = np.random.default_rng(seed)
    return scores_of(rng.normal(shift, 1, n), rng.normal(0, 1, n))


def manifest_of(scores: Scores, speakers: list[str] | None = None) -> Manifest:
    speakers = speakers or ["-"] * len(scores)
    return Manifest(
        "m",
        [
            Trial(i, f"{i}.wav", label, speaker=speaker)
            for i, label, speaker in zip(scores.ids, scores.labels, speakers, strict=True)
        ],
    )


# --- one set of scores ---


def test_toy_vector_and_its_flat_form() -> None:
    judged = evaluate(scores_of(*TOY), threshold=0.0)
    assert judged.values["eer"] == pytest.approx(0.24285714285714285)
    assert judged.values["eer_challenge"] == pytest.approx(0.24285714285714285)
    assert judged.values["min_dcf"] == pytest.approx(0.2857142857142856)
    assert judged.values["accuracy"] == pytest.approx(9 / 12)
    flat = json.loads(json.dumps(judged.to_dict(), allow_nan=False))
    names = [
        *("eer", "eer_challenge", "min_dcf", "act_dcf", "cllr", "min_cllr", "auc"),
        *("average_precision", "accuracy", "balanced_accuracy", "f1"),
    ]
    drawn_too = [name for name in names if name not in ("eer_challenge", "min_cllr")]
    assert list(flat) == [
        *names,
        *(f"{name}_{end}" for name in drawn_too for end in ("low", "high")),
        *("n_bonafide", "n_spoof", "n_tied", "sampling_unit"),
    ]
    assert (flat["n_bonafide"], flat["n_spoof"], flat["n_tied"]) == (5, 7, 0)
    assert flat["eer_low"] <= flat["eer"] <= flat["eer_high"]
    assert flat["sampling_unit"] == "trial"


def test_table_is_readable_and_in_per_cent() -> None:
    text = str(evaluate(scores_of(*TOY)))
    lines = text.splitlines()
    assert lines[0] == "5 bonafide, 7 spoof, 0 tied, 95 % intervals by trial"
    assert lines[1].startswith("EER, %")
    assert " 24.29  (" in lines[1]
    assert len(lines) == 9
    plain = str(evaluate(scores_of(*TOY), intervals=False))
    assert "(" not in plain
    assert "interval" not in plain


def test_without_a_threshold_there_is_no_accuracy_and_without_intervals_none() -> None:
    judged = evaluate(drawn(0), intervals=False)
    assert set(judged.values) == {
        *("eer", "eer_challenge", "min_dcf", "act_dcf", "cllr", "min_cllr", "auc"),
        "average_precision",
    }
    assert judged.intervals == {}
    assert judged.sampling_unit is None
    assert judged.warnings == ()


def test_ties_are_counted_over_both_classes() -> None:
    assert evaluate(scores_of([1, 1, 2], [2, 0]), intervals=False).n_tied == 4


def test_same_seed_same_intervals() -> None:
    one, same, other = (evaluate(drawn(1), draws=100, seed=s).intervals for s in (1, 1, 2))
    assert one == same
    assert one != other


def test_inverted_scores_are_warned_of_and_not_flipped() -> None:
    judged = evaluate(drawn(2, shift=-2.0), intervals=False)
    assert judged.values["eer"] > 0.7
    assert judged.values["auc"] < 0.3
    assert len(judged.warnings) == 1
    assert "probably inverted" in judged.warnings[0]


def test_misleading_ratios_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    judged = evaluate(scores_of(rng.normal(30, 20, 90), rng.normal(0, 20, 90)), intervals=False)
    assert len(judged.warnings) == 1
    assert "read as log-likelihood ratios, these scores mislead" in judged.warnings[0]


def test_further_metrics_and_other_settings() -> None:
    plain = evaluate(drawn(0), intervals=False)
    asv = AsvErrors(0.1, 0.1, 0.5)
    more = {"min_tdcf": {"asv": asv}, "min_dcf": {"p_spoof": 0.5, "c_fa": 1.0}}
    judged = evaluate(drawn(0), more=more, draws=20)
    both = drawn(0).bonafide, drawn(0).spoof
    assert judged.values["min_tdcf"] == min_tdcf(*both, asv=asv)
    assert judged.values["min_dcf"] == min_dcf(*both, p_spoof=0.5, c_fa=1.0)
    assert judged.values["min_dcf"] != plain.values["min_dcf"]
    assert "min_tdcf" in judged.intervals
    for name in ("auc", "min_cllr", "average_precision"):  # read off one sweep
        assert judged.values[name] == METRICS.get(name)(*both)
    with pytest.raises(SettingsError, match="did you mean 'min_tdcf'"):
        evaluate(drawn(0), more={"min_tdfc": {}})
    with pytest.raises(SettingsError, match="no setting 'p_spof'; did you mean 'p_spoof'"):
        evaluate(drawn(0), more={"min_dcf": {"p_spof": 0.5}})
    with pytest.raises(SettingsError, match="'f1' needs the setting 'threshold'"):
        evaluate(drawn(0), more={"f1": {}})


def test_few_trials_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    judged = evaluate(scores_of(rng.normal(3, 1, 29), rng.normal(0, 1, 30)), intervals=False)
    assert judged.warnings == ("only 29 bonafide trial(s): the values are coarse.",)


# --- with a manifest ---


def test_labels_come_from_the_manifest() -> None:
    labelled = drawn(3)
    bare = Scores(labelled.ids[::-1], labelled.values[::-1])
    judged = evaluate(bare, manifest_of(labelled), intervals=False)
    assert judged.values == evaluate(labelled, intervals=False).values


def test_speakers_are_drawn_whole_where_all_are_known() -> None:
    scores = drawn(4)
    speakers = [f"s{i // 4}" for i in range(len(scores))]
    judged = evaluate(scores, manifest_of(scores, speakers), draws=200)
    assert judged.sampling_unit == "speaker"
    assert "by speaker" in str(judged)
    assert judged.warnings == ()
    clusters = speakers[:60], speakers[60:]
    expected = bootstrap_interval(eer, scores.bonafide, scores.spoof, draws=200, clusters=clusters)
    assert judged.intervals["eer"] == expected
    assert judged.intervals != evaluate(scores, draws=200).intervals


def test_partly_known_or_few_speakers_are_said() -> None:
    scores = drawn(5)
    partly = evaluate(scores, manifest_of(scores, ["a", *["-"] * 119]), draws=10)
    assert partly.sampling_unit == "trial"
    assert partly.warnings[0].startswith("speakers are known for 1 of 120 trials")
    few = evaluate(scores, manifest_of(scores, ["a", "b"] * 60), draws=10)
    assert few.sampling_unit == "speaker"
    assert [w.split(":")[0] for w in few.warnings] == [
        "only 2 bonafide speaker(s)",
        "only 2 spoof speaker(s)",
    ]


def test_unlabelled_trials_are_refused_with_their_number() -> None:
    scores = Scores("abcd", [1, 2, 3, 4], ["bonafide", "unknown", "spoof", "unknown"])
    for judge in (evaluate, dev_threshold):
        with pytest.raises(ProtocolError, match=r"2 of 4 trial\(s\).*first 'b' \(unknown\)"):
            judge(scores)
    with pytest.raises(ProtocolError, match=r"1 label\(s\) are not.*genuine"):
        evaluate(Scores("ab", [1, 2], ["genuine", "spoof"]))


def test_one_class_or_a_bad_join_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no spoof scores"):
        evaluate(scores_of([1, 2], []))
    scores = drawn(6)
    with pytest.raises(ProtocolError, match="1 without a score"):
        evaluate(Scores(scores.ids[1:], scores.values[1:]), manifest_of(scores))


def test_dev_threshold_parts_the_classes_in_the_middle() -> None:
    assert dev_threshold(scores_of([3, 5], [-3, -1])) == 1.0
    judged = evaluate(scores_of([0.5, 3], [-1, 0]), threshold=1.0, intervals=False)
    assert judged.values["accuracy"] == 0.75


# --- a run ---


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = write_run_folder(
        tmp_path_factory.mktemp("run"), strategies=["naive"], seeds=[1], trials=40
    )
    return folder.runs()[0]


def test_matrix_is_every_cell_from_its_score_file(run: Run) -> None:
    found = matrix(run)
    assert found.shape == (4, 4)
    cells = 0
    for after in range(4):
        for on in range(4):
            scores = Scores.read(run.score_file(after, on))
            assert found[after, on] == eer(scores.bonafide, scores.spoof)
            cells += 1
    assert cells == 16
    assert not np.array_equal(found, matrix(run, "eer", "dev"))
    on_dev = run.scores(2, 1, "dev")
    assert matrix(run, "auc", "dev")[2, 1] == auc(on_dev.bonafide, on_dev.spoof)


def test_accuracy_matrix_takes_each_threshold_from_dev(run: Run) -> None:
    found = accuracy_matrix(run)
    for after, on in ((0, 3), (3, 0), (2, 2)):
        threshold = dev_threshold(run.scores(after, on, "dev"))
        test = run.scores(after, on)
        right = (test.bonafide >= threshold).sum() + (test.spoof < threshold).sum()
        assert found[after, on] == right / len(test)
    assert np.array_equal(found, matrix(run, "accuracy"))


def test_untrained_row(run: Run) -> None:
    row = untrained_row(run)
    assert row is not None
    expected = [eer(s.bonafide, s.spoof) for s in (run.scores(-1, on) for on in range(4))]
    assert row.tolist() == expected


def test_summary_uses_the_direction_of_the_metric(run: Run) -> None:
    assert summary(run) == summarise(matrix(run), lower_is_better=True, untrained=untrained_row(run))
    by_auc = summary(run, "auc", "dev")
    assert by_auc["final_average"] == matrix(run, "auc", "dev")[-1].mean()
    # The run forgets, whichever way it is measured.
    for metric in ("eer", "auc", "min_dcf", "accuracy"):
        forgotten = summary(run, metric)["forgetting"]
        assert forgotten is not None
        assert forgotten > 0


def test_pooled_is_one_sweep_over_the_tasks_learned_so_far(run: Run) -> None:
    assert pooled(run, 0) == matrix(run)[0, 0]
    parts = [run.scores(2, on) for on in range(3)]
    bonafide = np.concatenate([part.bonafide for part in parts])
    spoof = np.concatenate([part.spoof for part in parts])
    assert len(bonafide) == 120
    assert pooled(run, 2) == eer(bonafide, spoof)
    assert pooled(run, 2, "auc") == auc(bonafide, spoof)
    assert 0.5 < pooled(run, 3, "accuracy") < 1


def test_pooled_sees_scores_that_move_from_task_to_task(tmp_path: Path) -> None:
    run = Run(tmp_path, "x", 1, ("a", "b"))
    for on, shift in enumerate((0, 10)):
        scores_of([2 + shift, 3 + shift], [0 + shift, 1 + shift]).write(run.score_file(1, on))
    assert pooled(run, 1) == 0.5


def test_runs_that_lack_files_are_refused(tmp_path: Path) -> None:
    folder = write_run_folder(tmp_path, strategies=["naive"], seeds=[1], trials=5)
    run = folder.runs()[0]
    run.score_file(-1, 2).unlink()
    with pytest.raises(ProtocolError, match="no such file"):
        untrained_row(run)
    for on in (0, 1, 3):
        run.score_file(-1, on).unlink()
    assert untrained_row(run) is None
    assert summary(run)["forward_transfer"] is None
    run.score_file(1, 1).unlink()
    with pytest.raises(ProtocolError, match="no such file"):
        matrix(run)


def test_bad_questions_to_a_run_are_refused(run: Run) -> None:
    for after in (-1, 4):
        with pytest.raises(RunError, match="tasks 0 to 3"):
            pooled(run, after)
    with pytest.raises(SettingsError, match="did you mean 'eer'"):
        matrix(run, "err")


# --- over seeds ---


def test_mean_interval_is_student_t() -> None:
    values = [0.12, 0.15, 0.11, 0.19]
    expected = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    mean, low, high = mean_interval(values, level=0.9)
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(expected)


def test_paired_difference_cancels_what_seeds_share() -> None:
    ours, theirs = [0.1, 0.5, 0.9], [0.2, 0.61, 0.99]
    mean, low, high = paired_difference(ours, theirs)
    assert mean == pytest.approx(-0.1)
    assert low is not None
    assert high is not None
    assert high < 0
    assert stats.ttest_rel(ours, theirs).pvalue < 0.05
    assert paired_difference([0.5], [0.25]) == (0.25, None, None)


def test_intervals_over_seeds_refuse_nonsense() -> None:
    for values in ([], [0.1, None], [0.1, float("nan")], [[0.1, 0.2]], 0.1):
        with pytest.raises(ProtocolError, match="at least one, all finite"):
            mean_interval(values)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="not numbers"):
        mean_interval(["many"])
    with pytest.raises(ProtocolError, match="2 and 1 values"):
        paired_difference([0.1, 0.2], [0.1])
    with pytest.raises(SettingsError, match="level=95"):
        mean_interval([0.1, 0.2], level=95)


# --- what it costs to import ---


def test_needs_neither_torch_nor_scipy_at_start() -> None:
    code = (
        "import sys, earwitness.evaluation as e\n"
        "from earwitness.scores import Scores\n"
        "e.dev_threshold(Scores('ab', [1, 0], ['bonafide', 'spoof']))\n"
        "print([m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    assert len(evaluation.__all__) == 13
    assert all(hasattr(evaluation, name) for name in evaluation.__all__)
