"""Running an experiment: every strategy with every seed, in parallel, resumable, into a run folder.

See ``runs`` for what is written. The same call on the same folder goes on where the last one was
stopped, however it was stopped; finished runs are left alone.
"""

import fcntl
import json
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from earwitness import distributed
from earwitness.detector import Detector
from earwitness.errors import ProtocolError, RunError, SettingsError
from earwitness.experiment import Experiment
from earwitness.files import append_line, remove_leftovers, write_json, write_text
from earwitness.landmarks import FILE, Landmarks, joined
from earwitness.processes import side_by_side, tell
from earwitness.records import (
    check_run,
    content_key,
    data_of,
    describe,
    is_complete,
    learned,
    write_provenance,
    write_settings,
)
from earwitness.runs import Run, RunFolder, plan_runs, read_lines
from earwitness.scoring import hear_manifest, score
from earwitness.streams import Stream
from earwitness.training import Done, learn, one_thread
from earwitness.trials import CLASSES, Manifest

__all__ = ["run"]

OnStep = Callable[[str, int, dict[str, Any]], None]


def run(
    experiment: Experiment,
    folder: str | Path,
    *,
    workers: int = 1,
    reuse: Sequence[str | Path] = (),
    keep_going: bool = False,
    on_step: OnStep = lambda label, seed, record: None,
) -> RunFolder:
    """Run or resume an experiment into ``folder``; each run computes with one thread.

    One thread a run makes results independent of the machine's number of cores; ``workers`` runs
    go side by side. A finished run in one of the run folders ``reuse`` that has the same settings,
    data, order and library versions is copied instead of being run again, whatever its label.

    With ``keep_going`` a run that fails (its loss becomes NaN, say) leaves ``failed.json`` with the
    reason, the others go on, and `RunFolder.failed` names it; it is not tried again.

    Started by ``torchrun``, several processes learn each run together: each hears its share of every
    batch and scores its share of every manifest, and the first one writes.

    Raises:
        CheckpointError: the folder holds runs of other settings.
        RunError: a run failed, or another process is at work in the folder.
    """
    if distributed.is_asked_for() and (workers > 1 or reuse):
        raise SettingsError("several processes at one run go without --workers and --reuse.")
    with distributed.joined(experiment.training(experiment.labels[0]).device):
        return _run(experiment, Path(folder), workers, reuse, keep_going, on_step)


def _run(
    experiment: Experiment,
    folder: Path,
    workers: int,
    reuse: Sequence[str | Path],
    keep_going: bool,
    on_step: OnStep,
) -> RunFolder:
    for label in experiment.labels:  # what a strategy reads from disk is missed now, not in an hour
        _ = experiment.strategy(label).built_from
    folder.mkdir(parents=True, exist_ok=True)
    stream = experiment.stream(learned=_least_learned(experiment, folder))
    orders = experiment.orders(stream)
    streams = [stream, *(experiment.stream(order=order) for order in orders[1:])]
    runs = _sorted_by_seed(plan_runs(folder, experiment.labels, experiment.seeds, orders))
    with _lock(folder / ".lock"):
        for one in runs:
            check_run(experiment, one, streams[one.order])
        waiting = [one for one in runs if not is_complete(experiment, one, streams[one.order])]
        if waiting:
            write_provenance(experiment, streams, folder)
        waiting = _copy_known(experiment, waiting, streams, reuse)
        if keep_going:
            waiting = [o for o in waiting if not _is_known_to_fail(experiment, o, streams[o.order])]
        if workers == 1 or len(waiting) == 1:
            for one in waiting:
                _run_one(experiment, one, streams[one.order], on_step, keep_going)
        elif waiting:
            _run_parallel(experiment, waiting, workers, on_step, keep_going)
    return RunFolder(folder)


def _is_known_to_fail(experiment: Experiment, one: Run, stream: Stream) -> bool:
    path = one.path / "failed.json"
    if not path.is_file():
        return False
    told = json.loads(path.read_text(encoding="utf-8"))
    return told["content"] == content_key(experiment, one, stream)


def _copy_known(
    experiment: Experiment, waiting: list[Run], streams: list[Stream], reuse: Sequence[str | Path]
) -> list[Run]:
    """Copy runs that are finished elsewhere; gives those that are left to do."""
    known = {}
    for done in (path for folder in reuse for path in Path(folder).rglob("done.json")):
        known[json.loads(done.read_text(encoding="utf-8")).get("content")] = done.parent
    left = []
    for one in waiting:
        source = known.get(content_key(experiment, one, streams[one.order])) if known else None
        if source is None:
            left.append(one)
            continue
        half = one.path.with_name(f".{one.path.name}.copy")
        for old in (half, one.path):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(source, half, ignore=shutil.ignore_patterns(".lock"))
        half.rename(one.path)
    return left


def _least_learned(experiment: Experiment, folder: Path) -> int:
    """How many tasks every run has finished, where the order of the tasks is the same for all."""
    if experiment.settings["stream"].get("orders", 1) != 1:
        return 0
    own: list[list[str]] = [
        []
    ]  # the names are not known yet, and the places of one order don't need them
    return min(learned(one.path) for one in plan_runs(folder, experiment.labels, experiment.seeds, own))


def _sorted_by_seed(runs: list[Run]) -> list[Run]:
    """One seed of everything before the next, so that an early look shows all strategies."""
    return sorted(runs, key=lambda run: (run.seed, run.order))


def _run_parallel(
    experiment: Experiment, waiting: list[Run], workers: int, on_step: OnStep, keep_going: bool
) -> None:
    jobs = [(experiment, one, keep_going) for one in waiting]
    side_by_side(_work, jobs, workers, on_step)


def _work(experiment: Experiment, one: Run, keep_going: bool) -> None:
    def report(label: str, seed: int, record: dict[str, Any]) -> None:
        tell(label, seed, {k: record[k] for k in ("task", "position", "step", "steps", "loss")})

    stream = experiment.stream(learned=learned(one.path), order=one.tasks)
    _run_one(experiment, one, stream, report, keep_going)


def _run_one(
    experiment: Experiment, one: Run, stream: Stream, on_step: OnStep, keep_going: bool
) -> None:
    one.path.mkdir(parents=True, exist_ok=True)
    with one_thread(), _lock(one.path / ".lock", wait=30):
        remove_leftovers(one.path)
        if distributed.is_first():
            (one.path / "failed.json").unlink(missing_ok=True)
        try:
            _learn_and_judge(experiment, one, stream, on_step)
        except (RunError, ProtocolError) as error:  # the latter: scores that are not finite
            if not keep_going:
                raise
            told = {"reason": str(error), "content": content_key(experiment, one, stream)}
            write_json(one.path / "failed.json", told)


def _learn_and_judge(experiment: Experiment, one: Run, stream: Stream, on_step: OnStep) -> None:
    if distributed.is_first():
        (one.path / "done.json").unlink(missing_ok=True)
    write_settings(experiment, one, stream)
    detector = experiment.detector(one.seed, stream.classes).to(experiment.training(one.label).device)
    strategy = experiment.strategy(one.label)
    if experiment.settings["evaluation"].get("untrained", True):
        _judge(experiment, one, stream, detector, -1)
    _judge_earlier(experiment, one, stream)
    log, finished = _StepLog(one, on_step), learned(one.path)
    for done in learn(
        detector,
        strategy,
        stream,
        training=experiment.training(one.label),
        references=experiment.references,
        seed=one.seed,
        checkpoint=one.path / "checkpoint.safetensors",
        on_step=log,
        on_collapse=log.note_collapse,
    ):
        _judge(experiment, one, stream, detector, done.position)
        detector.card = describe(experiment, one, stream, done.position)
        detector.save(one.detector_after(done.position))
        write_json(one.path / "storage" / f"{done.position + 1}.json", vars(strategy.storage()))
        if done.position >= finished:  # a finished task that is only yielded again took no time
            log.note_time(done)
    detector.save(one.path / "detector")
    _note_landmarks(experiment, one, stream, detector)
    write_json(
        one.path / "done.json",
        {
            "data": data_of(experiment, stream),
            "detector": detector.digest,
            "content": content_key(experiment, one, stream),
        },
    )


def _note_landmarks(experiment: Experiment, one: Run, stream: Stream, detector: Detector) -> None:
    """Where the clips that were learned from lie, so that verdicts can be explained without them.

    Recordings of earlier days may be gone: the landmarks are then of those that are still there.
    """
    if distributed.is_first():  # of an earlier day, or not wanted any more
        (one.path / "detector" / FILE).unlink(missing_ok=True)
    wanted = experiment.settings["evaluation"].get("landmarks", True)
    can = detector.front_end.eats == "wave" and detector.classes == CLASSES and detector.rule is None
    if not (wanted and can):
        return
    training, held_out = (
        joined([hear_manifest(detector, getattr(task, part), on_error="skip") for task in stream])
        for part in ("train", "dev")
    )
    try:
        marks = Landmarks.fit(training, held_out, detector=detector.digest)
    except ProtocolError as error:  # a class has no recording any more, say: the run itself is sound
        warnings.warn(f"{one.path}: no landmarks to explain verdicts by ({error}).", stacklevel=2)
        return
    if distributed.is_first():
        marks.write(one.path / "detector")


def _judge_earlier(experiment: Experiment, one: Run, stream: Stream) -> None:
    """Judge the detectors of earlier days on tasks that were added since."""
    device = experiment.training(one.label).device
    for position in range(learned(one.path)):
        detector = experiment.with_cache(Detector.load(one.detector_after(position)).to(device))
        _judge(experiment, one, stream, detector, position)


def _judge(experiment: Experiment, one: Run, stream: Stream, detector: Detector, position: int) -> None:
    """Score every task's splits; what was scored before, by this detector on this data, stands."""
    for split in experiment.splits:
        for on, task in enumerate(stream):
            path, manifest = one.score_file(position, on, split), getattr(task, split)
            if not _is_judged(path, detector, manifest):
                beside = experiment.references.of(manifest, "scoring")
                score(detector, manifest, references=beside).write(path)


def _is_judged(path: Path, detector: Detector, manifest: Manifest) -> bool:
    side = path.with_name(f"{path.name}.json")
    if not (path.is_file() and side.is_file()):
        return False
    told = json.loads(side.read_text(encoding="utf-8"))
    return (
        told["detector"] == detector.digest
        and told["manifest"]["fingerprint"] == manifest.fingerprint()
    )


class _StepLog:
    """steps.jsonl and action.jsonl of one run; a resumed run takes its repeated steps back first."""

    def __init__(self, one: Run, on_step: OnStep):
        self.one, self.on_step = one, on_step
        self.clean = False
        self.start = time.monotonic()
        self.pace = Counter[str]()

    def __call__(self, record: dict[str, Any]) -> None:
        if not self.clean:
            for name in ("steps.jsonl", "action.jsonl"):
                _cut_log(self.one.path / name, self.one.tasks.index(record["task"]), record, self.one)
            self.clean = True
        for name in ("clips", "seconds", "waited"):
            self.pace[name] += record.pop(name)
        action = record.pop("action", [])
        append_line(self.one.path / "steps.jsonl", record)
        for entry in action:
            line = {"task": record["task"], "step": record["step"], **entry}
            append_line(self.one.path / "action.jsonl", line)
        self.on_step(self.one.title, self.one.seed, record)

    def note_collapse(self, record: dict[str, Any]) -> None:
        """One line of collapse.jsonl; an epoch that is done again takes its line's place."""
        path = self.one.path / "collapse.jsonl"
        place = (record["position"], record["epoch"])
        before = [line for line in read_lines(path) if (line["position"], line["epoch"]) < place]
        write_text(path, "".join(json.dumps(line) + "\n" for line in [*before, record]))

    def note_time(self, done: Done) -> None:
        """Wall-clock seconds of a task and its pace: kept apart, as they are not the same bits twice.

        ``clips_per_second`` is of its steps, and ``waited`` the share of their time in which a step had
        no clips yet; judging is in ``seconds`` only.
        """
        now = time.monotonic()
        line = {"task": done.task.name, "seconds": round(now - self.start, 3)}
        if self.pace["seconds"]:
            line["clips_per_second"] = round(self.pace["clips"] / self.pace["seconds"], 1)
            line["waited"] = round(self.pace["waited"] / self.pace["seconds"], 4)
        append_line(self.one.path / "seconds.jsonl", line)
        self.start, self.pace = now, Counter()


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


@contextmanager
def _lock(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a file lock: two runs never write into one folder; further processes of one don't write."""
    if not distributed.is_first():
        yield
        return
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
