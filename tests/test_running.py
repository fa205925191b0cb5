"""Experiments: files, overrides, run folders, killing and resuming real processes."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earwitness.errors import AudioError, CheckpointError, ProtocolError, RunError, SettingsError
from earwitness.experiment import Experiment
from earwitness.running import run
from earwitness.runs import RunFolder
from earwitness.settings import read_settings
from earwitness.tuning.plan import read_plan

FILE = """
name = "toy"
seeds = [0]

[stream]
root = "{root}"

[detector]
front_end = {{ name = "logmel", bands = 16 }}
back_end = {{ name = "resnet", width = 4, blocks = [1, 1] }}
windows = {{ seconds = 0.5, hop = 0.25 }}

[training]
epochs = 3
batch_size = 8
seconds = 0.5
learning_rate = 0.02
checkpoint_every = 3
log_every = 2

[strategies.naive]
[strategies.rwm]
alpha = 0.5
training = {{ learning_rate = 0.01 }}
"""


@pytest.fixture
def file(toy_manifest, tmp_path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(FILE.format(root=toy_manifest.root))
    return path


@pytest.fixture(scope="module")
def undisturbed(toy_manifest, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    path = folder / "toy.toml"
    path.write_text(FILE.format(root=toy_manifest.root))
    run(Experiment.read(path), folder / "run")
    return folder / "run"


def bits(folder: Path) -> dict[str, str]:
    """Digest of every file but clocks, locks and the command line in the provenance."""
    skipped = {"seconds.jsonl", ".lock", "provenance.json"}
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in skipped
    }


def test_a_run_folder_is_complete(undisturbed):
    folder = RunFolder(undisturbed)
    assert [r.label for r in folder.finished()] == ["naive", "rwm"]
    for one in folder.finished():
        for split, count in (("dev", 16), ("test", 16)):
            for after in (-1, 0, 1):
                for on in (0, 1):
                    scores = one.scores(after, on, split)
                    assert len(scores) == count
        assert len(one.steps()) == 2 * 3 * 4
        assert len(one.storage()) == 2
        assert set(one.seconds()) == {"low", "high"}
        card = json.loads((one.path / "detector" / "card.json").read_text())
        assert [t["task"] for t in card["trained_on"]] == ["low", "high"]
        assert card["dev"]["bonafide"] == 16
    naive, rwm = folder.finished()
    assert naive.action() == []
    assert {a["task"] for a in rwm.action()} == {"high"}
    assert rwm.settings["training"]["learning_rate"] == 0.01
    assert naive.settings["training"]["learning_rate"] == 0.02
    provenance = folder.provenance
    assert provenance["manifests"]["low"]["train"]["bonafide"] == 16
    side = json.loads(one.score_file(1, 0).with_name("1-low.csv.json").read_text())
    assert side["coverage"] == {
        "trials": 16,
        "scored": 16,
        "failed": [],
        "decoders": {"soundfile": 16},
    }


def test_running_again_changes_nothing(undisturbed):
    before = bits(undisturbed)
    experiment = Experiment.read(undisturbed.parent / "toy.toml")
    run(experiment, undisturbed)
    assert bits(undisturbed) == before


def test_side_by_side_workers_give_the_same_bits(file, undisturbed, tmp_path):
    steps = []
    run(Experiment.read(file), tmp_path / "run", workers=2, on_step=lambda *s: steps.append(s))
    assert bits(tmp_path / "run") == bits(undisturbed)


def start(file: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "earwitness", "run", str(file), "--out", str(out), *more]
    # A shell starts what runs in its background deaf to Ctrl-C, and the child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen) -> None:
    for _ in range(12_000):
        if path.exists() and path.read_text().count("\n") >= count:
            return
        if process.poll() is not None:
            raise AssertionError(process.stderr.read().decode())
        time.sleep(0.01)
    raise AssertionError(f"{path} never had {count} lines")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_again_and_again_ends_with_the_same_bits(workers, file, undisturbed, tmp_path):
    out = tmp_path / "run"
    kills = [("naive", 2), ("naive", 14), ("rwm", 9), ("rwm", 17)]
    killed = 0
    for label, lines in kills:
        process = start(file, out, "--workers", workers)
        wait_for_lines(out / label / "seed-0" / "steps.jsonl", lines, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
        killed += process.returncode == -signal.SIGKILL
    assert killed == len(kills)
    process = start(file, out, "--workers", workers)
    assert process.wait(timeout=120) == 0, process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    assert bits(out) == bits(undisturbed)


@pytest.mark.slow
def test_ctrl_c_leaves_a_resumable_run(file, undisturbed, tmp_path):
    out = tmp_path / "run"
    process = start(file, out)
    wait_for_lines(out / "naive" / "seed-0" / "steps.jsonl", 5, process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"same command goes on" in told
    assert b"Traceback" not in told
    run(Experiment.read(file), out)
    assert bits(out) == bits(undisturbed)


def test_the_comparison_of_bits_can_fail(undisturbed, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(undisturbed, copy)
    assert bits(copy) == bits(undisturbed)
    log = copy / "rwm" / "seed-0" / "steps.jsonl"
    log.write_text(log.read_text().replace("low", "lov", 1))
    assert bits(copy) != bits(undisturbed)


def test_other_settings_in_the_same_folder_are_refused(file, tmp_path):
    experiment = Experiment.read(file, ["strategies.rwm.alpha=0.7"])
    quick = Experiment.read(file, ["training.epochs=1"])
    run(quick, tmp_path / "run")
    with pytest.raises(CheckpointError, match="other settings"):
        run(experiment, tmp_path / "run")


def test_a_stream_that_grows_goes_on(file, tmp_path):
    """Tuesday's new attack: the same command with one more task learns only that."""
    first = Experiment.read(file, ['stream.order=["low"]', "training.epochs=1"])
    run(first, tmp_path / "run")
    low = (tmp_path / "run/rwm/seed-0/scores/test/1-low/1-low.csv").read_bytes()
    grown = Experiment.read(file, ["training.epochs=1"])
    run(grown, tmp_path / "run")
    once = tmp_path / "once"
    run(grown, once)
    for label in ("naive", "rwm"):
        digests = [
            json.loads((f / label / "seed-0/done.json").read_text())["detector"]
            for f in (tmp_path / "run", once)
        ]
        assert digests[0] == digests[1]
    assert (tmp_path / "run/rwm/seed-0/scores/test/1-low/1-low.csv").read_bytes() == low


def test_a_stream_grown_in_steps_has_no_gaps_and_needs_no_old_training_clips(tmp_path):
    """Three tasks, two at first: earlier detectors are judged on the third; task 1's clips are gone."""
    import shutil

    from earwitness.corpora import synthetic
    from earwitness.evaluation import matrix

    domains = ("pulse-vocoder", "upsampler", "sinusoidal")
    reader = {"domains": domains, "clips": (4, 2, 2), "seconds": (0.5, 0.6)}
    synthetic.make(tmp_path / "corpus", **reader)
    settings = {
        "stream": {"corpus": "manifest", "root": "corpus", "order": list(domains[:2])},
        "detector": {"back_end": {"name": "mlp", "hidden": [6]}},
        "training": {"epochs": 1, "seconds": 0.5},
        "strategies": {"rwm": {}},
    }
    run(Experiment.from_settings(settings, folder=tmp_path), tmp_path / "run")
    for clip in (tmp_path / "corpus").rglob("pulse-vocoder-train-*"):
        clip.unlink()
    settings["stream"]["order"] = list(domains)
    run(Experiment.from_settings(settings, folder=tmp_path), tmp_path / "run")
    (one,) = RunFolder(tmp_path / "run").finished()
    assert matrix(one).shape == (3, 3)
    shutil.rmtree(tmp_path / "run" / "rwm")
    with pytest.raises(ProtocolError, match=r"8 of 8 audio file\(s\) not found"):
        run(Experiment.from_settings(settings, folder=tmp_path), tmp_path / "run")


def test_a_refused_run_leaves_the_folder_as_it_was(file, undisturbed, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(undisturbed, copy)
    with pytest.raises(CheckpointError, match="other settings"):
        run(Experiment.read(file, ["training.epochs=1"]), copy)
    assert bits(copy) == bits(undisturbed)
    assert (copy / "provenance.json").read_bytes() == (undisturbed / "provenance.json").read_bytes()


def test_a_reordered_stream_is_refused_before_anything_is_written(file, undisturbed, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(undisturbed, copy)
    with pytest.raises(CheckpointError, match=r"not this stream's\s+first \(task 1 differs\)"):
        run(Experiment.read(file, ['stream.order=["high", "low"]']), copy)
    assert bits(copy) == bits(undisturbed)


def test_changed_test_data_are_judged_again(toy_manifest, tmp_path):
    """Dev only, then test too, then a test trial less: scores always are of the present data."""
    import shutil

    root = tmp_path / "toy"
    shutil.copytree(toy_manifest.root, root)
    path = tmp_path / "toy.toml"
    path.write_text(FILE.format(root=root))
    quick = ["training.epochs=1", "strategies={naive={}}"]
    run(Experiment.read(path, [*quick, 'evaluation.splits=["dev"]']), tmp_path / "run")
    run(Experiment.read(path, quick), tmp_path / "run")
    (one,) = RunFolder(tmp_path / "run").finished()
    assert len(one.scores(0, 1)) == 16
    lines = (root / "manifest.tsv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("high-test-spoof-7")]
    assert len(kept) == len(lines) - 1
    (root / "manifest.tsv").write_text("\n".join(kept) + "\n")
    run(Experiment.read(path, quick), tmp_path / "run")
    for after in (-1, 0, 1):
        assert len(one.scores(after, 1)) == 15
    assert one.seconds().keys() == {"low", "high"}


def test_two_processes_cannot_share_a_folder(file, tmp_path):
    import fcntl

    (tmp_path / "run").mkdir()
    with open(tmp_path / "run" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process"):
            run(Experiment.read(file), tmp_path / "run")


WRONG = {
    "trainin.epochs=3": r"no key 'trainin'; did you mean 'training'",
    "training.epoch=3": r"no setting 'epoch'; did you mean 'epochs'",
    "training.epochs=many": r"epochs is 'many', expected int",
    "strategies.rwm.alfa=1": r"no setting 'alfa'; did you mean 'alpha'",
    "strategies.rwmm={}": r"no strategy is called 'rwmm'; did you mean 'rwm'",
    "stream.ordr=[1]": r"no key 'ordr'; did you mean 'order'",
    "seeds=[]": r"seeds is \[\]",
    'evaluation.splits=["tset"]': r"'tset'",
    "training.optimiser=sdg": r"did you mean 'sgd'",
    "seeds=[0,0]": r"different whole numbers",
    "seeds=5": r"expected a list",
    "training=3": r"\[training\] is 3",
    "strategies.naive=3": r"\[strategies\.naive\] is 3",
    "detector.windows=3": r"detector\.windows is 3",
    "detector.back_end=resnett": r"did you mean 'resnet'",
    "detector.windows={seconds=0.01, hop=0.01}": r"windows\.seconds is 0\.01 s",
    "nonsense": r"not an override",
    "name.x=1": r"is a value, not a section",
}


@pytest.mark.parametrize("override", WRONG)
def test_typos_dont_pass(override, file):
    with pytest.raises(SettingsError, match=WRONG[override]):
        Experiment.read(file, [override])


def test_unusable_files_are_refused_or_left_out_by_name(toy_manifest, tmp_path):
    import shutil

    root = tmp_path / "toy"
    shutil.copytree(toy_manifest.root, root)
    (root / "low-train-spoof-3.wav").write_bytes(b"nothing")
    path = tmp_path / "toy.toml"
    path.write_text(FILE.format(root=root))
    quick = ["training.epochs=1", "strategies={naive={}}"]
    with pytest.raises(AudioError, match=r"low-train-spoof-3\.wav"):
        run(Experiment.read(path, quick), tmp_path / "refused")
    run(Experiment.read(path, [*quick, "stream.unusable=skip"]), tmp_path / "skipped")
    provenance = RunFolder(tmp_path / "skipped").provenance
    assert [Path(s["path"]).name for s in provenance["skipped"]] == ["low-train-spoof-3.wav"]
    assert provenance["manifests"]["low"]["train"]["spoof"] == 15


def test_an_unknown_task_or_corpus_names_what_there_is(file):
    with pytest.raises(ProtocolError, match="did you mean 'low'"):
        Experiment.read(file, ['stream.order=["lo"]']).stream()
    with pytest.raises(SettingsError, match="no corpus is called"):
        Experiment.read(file, ["stream.corpus=nope"]).stream()


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(SettingsError, match="no such experiment file"):
        Experiment.read(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("a = = 1")
    with pytest.raises(SettingsError, match="not a TOML file"):
        Experiment.read(tmp_path / "broken.toml")
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder(tmp_path)


def test_an_empty_experiment_file_is_refused(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("# nothing\n")
    with pytest.raises(SettingsError, match="nothing in it; expected at least"):
        read_settings(path)
    assert read_settings(path, ["stream.root=here"])["name"] == "empty"


def test_every_committed_experiment_is_valid():
    files = sorted((Path(__file__).parents[1] / "experiments").glob("*.toml"))
    assert len(files) >= 1
    for path in files:
        if "tuning" in read_settings(path):
            assert read_plan(path, (), None).spaces
        else:
            assert Experiment.read(path).labels
