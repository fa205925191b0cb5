"""Two processes at one run, as ``torchrun`` starts them, beside one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness import Detector, Scores, audio, distributed
from earwitness.errors import SettingsError
from earwitness.landmarks import Landmarks
from earwitness.references import Policy
from earwitness.strategies.ewc import EWC
from earwitness.strategies.naive import Naive
from earwitness.streams import Stream
from earwitness.training import Training, learn
from earwitness.trials import Manifest, Trial

pytestmark = pytest.mark.slow

EXPERIMENT = """
name = "two"
seeds = [1]
[stream]
corpus = "manifest"
root = "corpus"
[detector]
front_end = { name = "lfcc", normalise = "none" }
back_end = { name = "mlp", hidden = [8] }
windows = { seconds = 0.25, hop = 0.25 }
[training]
epochs = 4
batch_size = 5
seconds = 0.25
learning_rate = 0.01
checkpoint_every = 1
[strategies.naive]
[strategies.replay]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("two")
    (root / "corpus").mkdir()
    rng = np.random.default_rng(0)
    trials = []
    for task in ("one", "two"):
        for split in ("train", "dev", "test"):
            for n in range(13):
                label = "spoof" if n % 2 else "bonafide"
                name = f"{task}-{split}-{n}"
                audio.write(
                    root / f"corpus/{name}.wav", 0.1 * rng.normal(size=5000 + 99 * n).clip(-4, 4)
                )
                trials.append(Trial(name, f"{name}.wav", label, domain=task, split=split))
    Manifest("two", trials, root=root / "corpus").write(root / "corpus/manifest.tsv")
    (root / "two.toml").write_text(EXPERIMENT)
    return root


def command(processes: int, out: str, *more: str) -> list[str]:
    words = ["-m", "earwitness", "run", "two.toml", *more, "--out", out]
    if processes == 1:
        return [sys.executable, *words]
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *start, *words]


def start(place: Path, processes: int, out: str, *more: str) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(processes, out, *more), cwd=place, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen, code: int = 0) -> str:
    told, _ = process.communicate(timeout=240)
    assert process.returncode == code, told
    return told


def children(pid: int) -> list[int]:
    """Processes that a process has started (Linux tells in /proc, others by ps)."""
    told = Path(f"/proc/{pid}/task/{pid}/children")
    if told.exists():
        return sorted(map(int, told.read_text().split()))
    listed = subprocess.run(["ps", "-Ao", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in listed.stdout.splitlines())
    return sorted(int(own) for own, parent in pairs if int(parent) == pid)


def words_of(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    if path.exists():
        return path.read_text()
    return subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout


def steps(folder: Path) -> list[float]:
    lines = (folder / "steps.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def wait_for_steps(process: subprocess.Popen, log: Path, count: int = 5) -> None:
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= count):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


def test_two_processes_are_one_with_the_same_batches(place) -> None:
    finish(start(place, 1, "alone"))
    told = finish(start(place, 2, "both"))
    assert told.count("done: both") == 1
    for strategy in ("naive", "replay"):
        one, two = (place / f"{out}/{strategy}/seed-1" for out in ("alone", "both"))
        np.testing.assert_allclose(steps(two), steps(one), rtol=1e-4)
        files = sorted(p.relative_to(one) for p in one.rglob("*.csv"))
        assert len(files) > 6
        assert files == sorted(p.relative_to(two) for p in two.rglob("*.csv"))
        for name in files:
            alone, both = Scores.read(one / name), Scores.read(two / name)
            assert both.ids == alone.ids
            np.testing.assert_allclose(both.values, alone.values, atol=2e-3)
        marks = [Landmarks.read(p / "detector") for p in (one, two)]
        assert marks[0].counts == marks[1].counts == {
            "training": {"bonafide": 14, "spoof": 12}, "held_out": {"bonafide": 14, "spoof": 12},
        }  # fmt: skip
        assert marks[0].example_ids == marks[1].example_ids
        np.testing.assert_allclose(marks[1].means, marks[0].means, atol=1e-3)
        weights = [Detector.load(p / "detector").back_end.head.weight for p in (one, two)]
        torch.testing.assert_close(*weights, rtol=0, atol=1e-4)
    coverage = json.loads(next((place / "both").rglob("*.csv.json")).read_text())["coverage"]
    assert coverage["trials"] == coverage["scored"] == 13
    assert sum(coverage["decoders"].values()) == 13


def test_a_dead_process_fails_the_run_and_the_same_command_goes_on(place) -> None:
    finish(start(place, 2, "undisturbed", "strategies.naive={}"))
    process = start(place, 2, "cut", "strategies.naive={}")
    wait_for_steps(process, place / "cut/naive/seed-1/steps.jsonl")
    workers = [pid for pid in children(process.pid) if "earwitness" in words_of(pid)]
    os.kill(workers[-1], signal.SIGKILL)
    finish(process, code=1)
    assert not (place / "cut/naive/seed-1/done.json").exists()
    finish(start(place, 2, "cut", "strategies.naive={}"))
    one, two = (Detector.load(place / f"{n}/naive/seed-1/detector") for n in ("undisturbed", "cut"))
    assert one.digest == two.digest
    assert steps(place / "cut/naive/seed-1") == steps(place / "undisturbed/naive/seed-1")


def test_what_several_processes_cannot_do(place) -> None:
    told = finish(start(place, 2, "owm", "strategies.owm={}"), code=1)
    assert "listens to whole batches" in told
    told = finish(start(place, 2, "workers", "--workers=2"), code=1)
    assert "go without --workers" in told


def test_alone_nothing_is_shared() -> None:
    assert (distributed.rank(), distributed.size(), distributed.is_first()) == (0, 1, True)
    assert distributed.share(4).tolist() == [0, 1, 2, 3]
    assert distributed.gather(3) == [3]


def encoder(tune: str, optimiser: str) -> list[str]:
    front_end = f'name="ssl", config={{shape="tiny"}}, tune="{tune}", dropout=0.0'
    return [
        f"detector.front_end={{{front_end}}}", 'training.restore="best"', "training.accumulate=3",
        "training.epochs=2",
        "training.clip_norm=0.3", f'training.optimiser="{optimiser}"',
    ]  # fmt: skip


@pytest.mark.parametrize(("tune", "strategy"), [("all", "replay"), ("lora", "naive")])
def test_weights_that_are_dealt_out_learn_what_whole_ones_do(place, tune, strategy) -> None:
    pytest.importorskip("transformers")
    more = [*encoder(tune, "sgd"), f"strategies.{strategy}={{}}"]
    finish(start(place, 1, f"whole-{tune}", *more))
    finish(start(place, 2, f"dealt-{tune}", *more, "training.shard=true"))
    one, two = (place / f"{out}-{tune}/{strategy}/seed-1" for out in ("whole", "dealt"))
    np.testing.assert_allclose(steps(two), steps(one), rtol=1e-3)
    weights = [dict(Detector.load(p / "detector").named_parameters()) for p in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=0, atol=1e-3)
    for name in (p.relative_to(one) for p in one.rglob("*.csv")):
        alone, both = Scores.read(one / name), Scores.read(two / name)
        np.testing.assert_allclose(both.values, alone.values, atol=1e-2)


def test_a_run_of_dealt_out_weights_goes_on_to_the_same_bits(place) -> None:
    pytest.importorskip("transformers")
    more = [*encoder("all", "adam"), "training.shard=true", "strategies.naive={}"]
    finish(start(place, 2, "dealt-undisturbed", *more))
    process = start(place, 2, "dealt-cut", *more)
    wait_for_steps(process, place / "dealt-cut/naive/seed-1/steps.jsonl")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    finish(start(place, 2, "dealt-cut", *more))
    one, two = (
        Detector.load(place / f"{n}/naive/seed-1/detector") for n in ("dealt-undisturbed", "dealt-cut")
    )
    assert one.digest == two.digest


def test_what_cannot_be_dealt_out(place, monkeypatch) -> None:
    told = finish(start(place, 2, "no-layers", "training.shard=true"), code=1)
    assert "the front end 'ssl'; 'lfcc' has none" in told
    monkeypatch.setattr(distributed, "size", lambda: 2)
    stream = Stream.by(Manifest.read(place / "corpus/manifest.tsv"), "domain")
    detector = Detector.build("lfcc", {"name": "mlp"})
    settings = {"seconds": 0.25, "shard": True}
    with pytest.raises(SettingsError, match="looks at whole weights"):
        next(learn(detector, EWC(), stream, training=Training(**settings)))
    detector = Detector.build("lfcc", {"name": "rat"})
    with pytest.raises(SettingsError, match="leave-out"):
        next(
            learn(
                detector, Naive(), stream, training=Training(**settings),
                references=Policy(training="same-speaker"),
            )
        )  # fmt: skip
