"""``train.py --yaml FILE``: every method of a file of theirs on its data, with their outputs.

What is written lies where theirs is, under ``out`` in place of the folder above: ``<split>/args.txt``,
``data_cache/``, ``log/``, ``model/``, ``metric/`` and, for EVDA, ``result/<split>/eer/``. Models are
earwitness detectors (a card and safetensors), not pickles. The same command goes on where a run was
stopped.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import RunError
from earwitness.files import write_text
from earwitness.legacy import outputs
from earwitness.legacy.config import Config, read
from earwitness.legacy.data import TrainTest, joined, stream
from earwitness.legacy.epochs import EpochBook
from earwitness.legacy.methods import Method, choose
from earwitness.legacy.models import detector_for, require_width, training_for
from earwitness.legacy.outputs import Metrics, Tested
from earwitness.losses import plain_cross_entropy
from earwitness.metrics.eer_challenge import eer_challenge
from earwitness.scores import Scores
from earwitness.scoring import score
from earwitness.training import Done, learn
from earwitness.trials import Manifest

__all__ = ["run"]

_MODE = "offline"  # the only mode that their scripts run
_NOT_WRITTEN = (
    "tb_data/: not written: it needs TensorBoard; log/ and metric/ hold the same numbers",
    "model/: detectors of earwitness (card.json and weights.safetensors) in place of .pth files",
    "a copy of the library: not written; the detectors' cards name the version of earwitness",
)


def run(
    path: str | Path,
    overrides: Iterable[str] = (),
    *,
    out: str | Path = ".",
    device: str = "cpu",
    say: Callable[[str], None] = print,
) -> Path:
    """Run a YAML file of theirs; returns the run's folder, ``out/<split>``.

    Args:
        path: the file. ``overrides``: ``key=value``, for instance the paths of another machine.
        out: what their scripts have as the folder above (CLEAR) or their own (EVDA).
        device: ``cpu``, ``cuda``, ...
        say: gets what is read otherwise than written, what is ignored and why, and the results.

    Raises:
        SettingsError: a key, a value or a method that isn't known.
        ProtocolError: the data isn't there.
        CheckpointError: the folder holds a run of other settings.
    """
    config = read(path, overrides)
    chosen = [choose(name, config) for name in config.methods]
    folder = Path(out) / config.split
    told = [*config.notes, *(f"{key}: ignored: {why}" for key, why in config.ignored.items())]
    told += [f"{method.name}: {note}" for method in chosen for note in method.notes]
    told += _NOT_WRITTEN
    for line in told:
        say(line)
    write_text(folder / "notes.txt", "".join(f"{line}\n" for line in told))
    outputs.write_args(folder / "args.txt", {**config.values, "yaml": str(path)})
    tasks = stream(config, folder, say)
    require_width(config, tasks)
    for method in chosen:
        job = _Job(config, method, tasks, folder, device, say)
        if config.eval:
            job.judge_saved()
        else:
            job.learn()
    return folder


class _Job:
    """One method of a file: learning it, judging it after each task, and writing both down."""

    def __init__(
        self,
        config: Config,
        method: Method,
        tasks: TrainTest,
        folder: Path,
        device: str,
        say: Callable[[str], None],
    ):
        self.config, self.method, self.tasks = config, method, tasks
        self.folder, self.device, self.say = folder, device, say
        name = method.name
        self.log = folder / "log" / f"log_{name}_{_MODE}.txt"
        self.trained = folder / "metric" / f"train_metric_{name}.json"
        self.tested = folder / "metric" / f"test_metric_{name}.json"
        self.checkpoint = folder / "checkpoint" / f"{name}.safetensors"
        self.training = training_for(config, joint=method.joint, device=device)
        self.book = EpochBook(folder / "checkpoint", name, self.training.epochs)
        rank = config.lora_rank if config.dialect == "evda" else ""
        self.eers = folder.parent / "result" / config.split / "eer" / f"{name}_r_{rank}.txt"

    def model(self, position: int) -> Path:
        """Where the detector after a task is kept; their JointTraining has one digit."""
        number = str(position) if self.method.joint else f"{position:02d}"
        return self.folder / "model" / f"model_{self.method.name}_{_MODE}_time{number}"

    def learn(self) -> None:
        """Learn all tasks, or those that are left."""
        if self.config.restart or not self.checkpoint.exists():
            self.book.forget()
            for path in (self.checkpoint, self.trained, self.tested, self.eers):
                path.unlink(missing_ok=True)
        tasks = joined(self.tasks) if self.method.joint else self.tasks
        detector = detector_for(self.config, tasks.classes)
        tally = _Tally(detector)
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        for done in learn(
            detector,
            self.method.build(),
            tasks,
            training=self.training,
            criterion=tally,
            seed=self.config.random,
            checkpoint=self.checkpoint,
            on_step=lambda record: self.book.note(record, tally.take()),
        ):
            self._judge(done)
        self._draw()

    def judge_saved(self) -> None:
        """``eval: True``: judge the detectors of an earlier run again."""
        count = 1 if self.method.joint else len(self.tasks)
        saved = [position for position in range(count) if self.model(position).is_dir()]
        if not saved:
            raise RunError(f"eval is True, but {self.model(0)} is not there; learn it first.")
        rows: dict[int, Metrics] = {}
        eers: dict[int, list[float]] = {}
        for position in saved:
            self._add_row(Detector.load(self.model(position)).to(self.device), position, rows, eers)
        self._write(rows, eers)
        self._draw()

    def _judge(self, done: Done) -> None:
        """Judge after a task; rows of earlier ones are those written, or made again."""
        done.detector.save(self.model(done.position))
        earlier = range(done.position)
        rows = {p: row for p, row in outputs.read_metrics(self.tested).items() if p in earlier}
        eers = {p: row for p, row in outputs.read_eers(self.eers).items() if p in earlier}
        for position in earlier:
            if position not in rows or (self.config.dialect == "evda" and position not in eers):
                again = Detector.load(self.model(position)).to(self.device)
                self._add_row(again, position, rows, eers)
        self._add_row(done.detector, done.position, rows, eers)
        self._write(rows, eers)

    def _add_row(
        self, detector: Detector, position: int, rows: dict[int, Metrics], eers: dict[int, list[float]]
    ) -> None:
        tested = [_judged(detector, task.test) for task in self.tasks]
        after = len(self.tasks) - 1 if self.method.joint else position
        rows[position] = outputs.test_metrics(tested, after, {} if self.method.joint else rows)
        if self.config.dialect == "evda":
            eers[position] = [float(t.eer) for t in tested if t.eer is not None]
        accuracy = " ".join(f"{100 * t.accuracy:.2f}" for t in tested)
        learned = "all tasks" if self.method.joint else f"task {position + 1}"
        self.say(f"{self.method.name} after {learned}: accuracy, %, {accuracy}")

    def _write(self, rows: dict[int, Metrics], eers: dict[int, list[float]]) -> None:
        epochs = {task: self.book.of_task(task) for task in rows}
        train = {t: outputs.train_metrics(epochs[t][-1], t) for t in rows if epochs[t]}
        outputs.write_metrics(self.trained, train)
        outputs.write_metrics(self.tested, {t: {**train.get(t, {}), **rows[t]} for t in rows})
        outputs.write_log(self.log, epochs, rows)
        if eers:
            outputs.write_eers(self.eers, eers)

    def _draw(self) -> None:
        from earwitness.legacy.pictures import draw_eers

        eers = outputs.read_eers(self.eers)
        if eers:
            draw_eers([eers[t] for t in sorted(eers)], self.eers.parent / self.method.name)


class _Tally:
    """The criterion, counting how many of a step's clips are named right.

    The first call in training mode is that of the step's own batch; strategies that look at other
    clips do so later, or in evaluation mode. Methods with a loss of their own never call it.
    """

    def __init__(self, detector: Detector):
        self.detector = detector
        self.told: tuple[int, int] | None = None

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        if self.told is None and self.detector.training:
            right = int((output.logits.detach().argmax(1) == batch.label).sum())
            self.told = (right, len(batch))
        return plain_cross_entropy(output, batch)

    def take(self) -> dict[str, int]:
        """Right and all clips of the step that has just been done; empty where nobody asked."""
        told, self.told = self.told, None
        return {"right": told[0], "clips": told[1]} if told else {}


def _judged(detector: Detector, manifest: Manifest) -> Tested:
    """Score a test set; for EVDA its EER as their code has it, the smaller of both signs."""
    scores = score(detector, manifest)
    classes = manifest.classes
    own = np.array([classes.index(label) for label in scores.labels])
    binary = isinstance(scores, Scores)
    logits = np.stack([scores.values, 0 * scores.values], axis=1) if binary else scores.values
    said = logits.argmax(1)
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (own, said), 1)
    loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(own))
    eer = None
    if isinstance(scores, Scores):
        real, fake = scores.bonafide, scores.spoof
        eer = min(eer_challenge(real, fake), eer_challenge(-real, -fake))
    return Tested(float(np.mean(said == own)), float(loss), confusion, eer)
