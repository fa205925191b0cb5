"""Running an experiment: every strategy with every seed, in parallel, resumable, into a run folder.

See ``runs`` for what is written. The same call on the same folder goes on where the last one was
stopped, however it was stopped; finished runs are left alone.
"""

import fcntl
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

import earwitness
from earwitness.detector import Detector
from earwitness.errors import CheckpointError, RunError
from earwitness.evaluation import dev_threshold, evaluate
from earwitness.experiment import Experiment
from earwitness.files import append_line, remove_leftovers, write_json, write_text
from earwitness.runs import Run, RunFolder
from earwitness.scores import Scores
from earwitness.scoring import score
from earwitness.streams import Stream
from earwitness.training import Done, learn

__all__ = ["run"]

OnStep = Callable[[str, int, dict[str, Any]], None]


def run(
    experiment: Experiment,
    folder: str | Path,
    *,
    workers: int = 1,
    on_step: OnStep = lambda label, seed, record: None,
) -> RunFolder:
    """Run or resume an experiment into ``folder``; each run computes with one thread.

    One thread a run makes results independent of the machine's number of cores; ``workers`` runs
    go side by side.

    Raises:
        CheckpointError: the folder holds runs of other settings.
        RunError: another process is at work in the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    places = [
        (folder / label / f"seed-{seed}", label, seed)
        for seed in experiment.seeds
        for label in experiment.labels
    ]
    stream = experiment.stream(learned=min(_learned(path) for path, _, _ in places))
    names = tuple(task.name for task in stream)
    runs = [Run(*place, names) for place in places]
    with _lock(folder / ".lock"):
        for one in runs:
            _keep_settings(experiment, one)
        _write_provenance(experiment, stream, folder)
        waiting = [one for one in runs if not _is_complete(one)]
        if workers == 1 or len(waiting) == 1:
            for one in waiting:
                _run_one(experiment, one, stream, on_step)
        elif waiting:
            _run_parallel(experiment, waiting, workers, on_step)
    return RunFolder(folder)


def _run_parallel(experiment: Experiment, waiting: list[Run], workers: int, on_step: OnStep) -> None:
    context = get_context("spawn")
    steps = context.SimpleQueue()
    start = (steps, os.getpid())
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=start) as pool:
        jobs = [pool.submit(_work, experiment, one) for one in waiting]
        try:
            while not all(job.done() for job in jobs):
                wait(jobs, timeout=0.2, return_when=FIRST_EXCEPTION)
                while not steps.empty():
                    on_step(*steps.get())
                for job in jobs:
                    if job.done():
                        job.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RunError(
                    "a worker process died (killed, or out of memory?); the same command goes on "
                    "from here, with fewer --workers if memory is short."
                ) from None
            raise


_worker: dict[str, Any] = {}  # what a worker process was started with


def _start_worker(steps: Any, parent: int) -> None:
    _worker["steps"] = steps
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed must not go on writing."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def _work(experiment: Experiment, one: Run) -> None:
    def report(label: str, seed: int, record: dict[str, Any]) -> None:
        _worker["steps"].put((label, seed, {k: record[k] for k in ("task", "step", "loss")}))

    _run_one(experiment, one, experiment.stream(learned=_learned(one.path)), report)


def _run_one(experiment: Experiment, one: Run, stream: Stream, on_step: OnStep) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one.path.mkdir(parents=True, exist_ok=True)
    try:
        with _lock(one.path / ".lock", wait=30):
            remove_leftovers(one.path)
            _learn_and_judge(experiment, one, stream, on_step)
    finally:
        torch.set_num_threads(threads)


def _learn_and_judge(experiment: Experiment, one: Run, stream: Stream, on_step: OnStep) -> None:
    detector = Detector.build(
        experiment.settings["detector"].get("front_end", "logmel"),
        experiment.settings["detector"].get("back_end", "resnet"),
        seed=one.seed,
        windows=experiment.windows(),
    )
    training, strategy = experiment.training(one.label), experiment.strategy(one.label)
    if experiment.settings["evaluation"].get("untrained", True):
        _judge(experiment, one, stream, detector, -1)
    _judge_earlier(experiment, one, stream)
    log = _StepLog(one, on_step)
    for done in learn(
        detector,
        strategy,
        stream,
        training=training,
        seed=one.seed,
        checkpoint=one.path / "checkpoint.safetensors",
        on_step=log,
    ):
        _judge(experiment, one, stream, detector, done.position)
        detector.card = _card(experiment, one, stream, done.position)
        detector.save(one.detector_after(done.position))
        write_json(one.path / "storage" / f"{done.position + 1}.json", vars(strategy.storage()))
        log.note_time(done)
    detector.save(one.path / "detector")
    write_json(one.path / "done.json", {"tasks": list(one.tasks), "detector": detector.digest})


def _learned(path: Path) -> int:
    """How many tasks the run in ``path`` has finished."""
    return len(list((path / "storage").glob("*.json")))


def _judge_earlier(experiment: Experiment, one: Run, stream: Stream) -> None:
    """Judge the detectors of earlier days on tasks that were added since."""
    for position in range(_learned(one.path)):
        earlier = one.detector_after(position)
        if earlier.is_dir():
            _judge(experiment, one, stream, Detector.load(earlier), position)


def _judge(experiment: Experiment, one: Run, stream: Stream, detector: Detector, position: int) -> None:
    for split in experiment.splits:
        for on, task in enumerate(stream):
            path = one.score_file(position, on, split)
            if not path.exists():
                score(detector, getattr(task, split)).write(path)


def _card(experiment: Experiment, one: Run, stream: Stream, position: int) -> dict[str, Any]:
    """What the detector after the task at ``position`` says of itself."""
    seen = list(stream)[: position + 1]
    card: dict[str, Any] = {
        "strategy": {"name": one.label, **experiment.settings["strategies"][one.label]},
        "seed": one.seed,
        "stand_in": bool(experiment.settings.get("stand_in", False)),
        "trained_on": [
            {
                "task": task.name,
                "fingerprint": task.train.fingerprint(),
                "labels": task.train.counts(),
                "attacks": sorted(a for a in task.train.counts("attack") if a != "-"),
            }
            for task in seen
        ],
    }
    if "dev" in experiment.splits:
        parts = [one.scores(position, on, "dev") for on in range(len(seen))]
        dev = Scores(
            (f"{n}/{i}" for n, p in enumerate(parts) for i in p.ids),
            np.concatenate([p.values for p in parts]),
            (label for p in parts for label in p.labels),
        )
        judged = evaluate(dev, intervals=False)
        card["dev"] = {
            "threshold": dev_threshold(dev),
            "eer": judged.values["eer"],
            "bonafide": judged.n_bonafide,
            "spoof": judged.n_spoof,
        }
    return card


class _StepLog:
    """steps.jsonl and action.jsonl of one run; a resumed run takes its repeated steps back first."""

    def __init__(self, one: Run, on_step: OnStep):
        self.one, self.on_step = one, on_step
        self.clean = False
        self.start = time.monotonic()

    def __call__(self, record: dict[str, Any]) -> None:
        if not self.clean:
            for name in ("steps.jsonl", "action.jsonl"):
                _cut_log(self.one.path / name, self.one.tasks.index(record["task"]), record, self.one)
            self.clean = True
        action = record.pop("action", [])
        append_line(self.one.path / "steps.jsonl", record)
        for entry in action:
            line = {"task": record["task"], "step": record["step"], **entry}
            append_line(self.one.path / "action.jsonl", line)
        self.on_step(self.one.label, self.one.seed, record)

    def note_time(self, done: Done) -> None:
        """Wall-clock seconds of a task: kept apart, as they are not the same bits twice."""
        now = time.monotonic()
        line = {"task": done.task.name, "seconds": round(now - self.start, 3)}
        append_line(self.one.path / "seconds.jsonl", line)
        self.start = now


def _cut_log(path: Path, task: int, record: dict[str, Any], one: Run) -> None:
    """Drop lines from the given task and step on, and a line cut off by a kill."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            break
        if (one.tasks.index(entry["task"]), entry["step"]) >= (task, record["step"]):
            break
        kept.append(line)
    write_text(path, "".join(line + "\n" for line in kept))


def _is_complete(one: Run) -> bool:
    if not one.is_done:
        return False
    done = json.loads((one.path / "done.json").read_text(encoding="utf-8"))
    if done["tasks"] == list(one.tasks):
        return True
    # The stream has grown: the finished run goes on with the new tasks.
    (one.path / "done.json").unlink()
    return False


def _keep_settings(experiment: Experiment, one: Run) -> None:
    """Write the run's settings; a folder with other settings is refused rather than mixed."""
    settings = {
        "strategy": {"name": one.label, **experiment.settings["strategies"][one.label]},
        "detector": experiment.settings["detector"],
        "training": vars(experiment.training(one.label)),
        "seed": one.seed,
    }
    path = one.path / "settings.json"
    plain = json.loads(json.dumps(settings))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [k for k in plain if found.get(k) != plain[k]]
        if differing:
            raise CheckpointError(
                f"{one.path}: made with other settings ({', '.join(differing)}); choose another "
                "run folder with --out, or delete this one."
            )
    else:
        write_json(path, plain)


def _write_provenance(experiment: Experiment, stream: Stream, folder: Path) -> None:
    write_text(folder / "experiment.toml", tomli_w.dumps(experiment.settings))
    write_json(
        folder / "provenance.json",
        {
            "name": experiment.name,
            "note": experiment.settings.get("note", ""),
            "selection": experiment.settings.get("selection", ""),
            "stand_in": bool(experiment.settings.get("stand_in", False)),
            "skipped": experiment.skipped,
            "tasks": [task.name for task in stream],
            "strategies": experiment.labels,
            "seeds": experiment.seeds,
            "metric": "eer",
            "splits": experiment.splits,
            "split": "test" if "test" in experiment.splits else "dev",
            "manifests": {
                task.name: {
                    part: {"fingerprint": m.fingerprint(), **m.counts()}
                    for part, m in (("train", task.train), ("dev", task.dev), ("test", task.test))
                }
                for task in stream
            },
            "versions": {
                "earwitness": earwitness.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            "machine": {"system": platform.system(), "processor": platform.machine()},
            "commit": _commit(),
            "command": " ".join(["earwitness", *sys.argv[1:]]),
        },
    )


def _commit() -> str:
    """The commit of the checkout that earwitness runs from, if it runs from one."""
    here = Path(earwitness.__file__).parent
    try:
        told = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()


@contextmanager
def _lock(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a file lock: two processes never write into one folder."""
    with open(path, "w") as file:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{path.parent}: another process is at work in this folder; "
                        "wait for it, or choose another folder with --out."
                    ) from None
                time.sleep(0.2)
        yield
