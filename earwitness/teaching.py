"""A teacher hears the clips that its students will learn from, once.

What it says goes into a file of `earwitness.distill.Lessons`. Until that is whole, parts of it lie in a
folder beside it, so that a killed command goes on where it was stopped.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from earwitness import audio
from earwitness.batches import load_rows
from earwitness.detector import Detector, Windows
from earwitness.distill.lessons import Heard, Lessons, View, digests
from earwitness.errors import CheckpointError, RunError, SettingsError
from earwitness.experiment import Experiment
from earwitness.files import remove_leftovers
from earwitness.state import load_state, save_state
from earwitness.strategies.base import quiet
from earwitness.strategies.distil import Distil
from earwitness.training import one_thread
from earwitness.trials import Manifest, Trial, join_manifests

__all__ = ["Plan", "plan_lessons", "teach", "teach_all"]

_BATCH = 64  # windows heard together; what is said of one does not depend on it
_PART = 128  # clips whose embeddings are in memory at once, and in one part on disk


def teach(
    teacher: Detector,
    manifest: Manifest,
    path: str | Path,
    *,
    windows: Windows,
    view: View = "window",
    on_clip: Callable[[], None] = lambda: None,
) -> Lessons:
    """Write to ``path`` what the teacher says of every window of every clip, and give it.

    Lessons that are there already, of this teacher on these clips, are read.

    Args:
        windows: seconds and hop of the student's training clips (``training.seconds``, and the hop of
            its detector's windows, if that is no longer); not of the teacher's own.
        view: ``window`` for students that learn from these very windows (``training.crops =
            "windows"``), ``clip`` for those whose crops fall anywhere: then they are told what the
            teacher said on average over the clip, which is not what the paper does.

    Raises:
        CheckpointError: ``path`` holds lessons of another teacher, clips or windows.
        SettingsError: the teacher names other classes than the manifest, or can't hear such windows.
        AudioError: a file cannot be used.
        RunError: what the teacher says of a clip is not finite.
    """
    if teacher.classes != manifest.classes:
        raise SettingsError(
            f"the teacher names {', '.join(teacher.classes)}; the clips are labelled "
            f"{', '.join(manifest.classes)}."
        )
    if teacher.front_end.eats == "wave":
        teacher.require_seconds(windows.seconds, "training.seconds, as the teacher hears it,")
    about: dict[str, Any] = {
        "view": view, "seconds": windows.seconds, "hop": windows.hop, "teacher": teacher.digest,
        "fingerprint": manifest.fingerprint(),
    }  # fmt: skip
    path = Path(path)
    beside = path.with_name(path.name + ".parts")
    if path.is_file():
        lessons = _checked(Lessons.read(path), about, path)
        shutil.rmtree(beside, ignore_errors=True)  # of a command that was killed just before this line
        return lessons
    parts = _Parts(beside, about, manifest)
    for number in range(parts.count):
        parts.hear(number, teacher, windows, on_clip)
    lessons = Lessons.of(
        manifest, parts, view=view, seconds=windows.seconds, hop=windows.hop, teacher=about["teacher"]
    )
    lessons.write(path)
    shutil.rmtree(parts.folder)
    return lessons


@dataclass(frozen=True)
class Plan:
    """Which windows a file of lessons is about."""

    windows: Windows
    view: View


def plan_lessons(experiment: Experiment) -> dict[Path, Plan]:
    """The files that the experiment's strategies ``distil`` learn from, and what each is about.

    Raises:
        SettingsError: no strategy learns from lessons, or two from one file in other windows.
    """
    found: dict[Path, Plan] = {}
    for label in experiment.labels:
        strategy = experiment.strategy(label)
        if not isinstance(strategy, Distil):
            continue
        path, own = Path(strategy.path), _plan(experiment, label)
        if found.setdefault(path, own) != own:
            raise SettingsError(
                f"[strategies.{label}]: {path} is learned from in other windows by another strategy; "
                "give one of them lessons of its own."
            )
    if not found:
        raise SettingsError(
            "no strategy of this experiment learns from a teacher; add one, for instance "
            '[strategies.distil] with lessons = "lessons.safetensors".'
        )
    return found


def _plan(experiment: Experiment, label: str) -> Plan:
    training = experiment.training(label)
    detector = experiment.detector(experiment.seeds[0])
    again = training.crops == "windows" and not training.augment
    view: View = "window" if again or detector.front_end.eats != "wave" else "clip"
    hop = min(detector.windows.hop, training.seconds)
    return Plan(Windows(training.seconds, hop), view)


def teach_all(
    teacher: str | Path,
    experiment: Experiment,
    plans: Mapping[Path, Plan],
    *,
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Path, Lessons]:
    """Have the saved detector ``teacher`` hear the training clips of every task, for each file.

    Raises:
        CheckpointError: it can't be loaded, or a file holds other lessons.
        ProtocolError: a clip stands in two tasks.
    """
    detector = Detector.load(teacher)
    detector.to(experiment.training(experiment.labels[0]).device)
    parts = [task.train for task in experiment.stream()]
    manifest = join_manifests(experiment.name, parts) if len(parts) > 1 else parts[0]
    total, done = len(manifest) * len(plans), itertools.count(1)
    found = {}
    for path, plan in plans.items():
        with one_thread():
            found[path] = teach(
                detector, manifest, path, windows=plan.windows, view=plan.view,
                on_clip=lambda: on_clip(next(done), total),
            )  # fmt: skip
    return found


def _checked(lessons: Lessons, about: dict[str, Any], path: Path) -> Lessons:
    for name, wanted in about.items():
        found = getattr(lessons, name)
        if found != wanted:
            raise CheckpointError(
                f"{path}: lessons made with another {name} ({found}, now {wanted}); delete them, or "
                "have this teacher's written elsewhere."
            )
    return lessons


@dataclass
class _Parts:
    """What was heard so far, some clips to a file; iterating gives each clip's, in order."""

    folder: Path
    about: dict[str, Any]
    manifest: Manifest

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)

    @property
    def count(self) -> int:
        return -(-len(self.manifest) // _PART)

    def __iter__(self) -> Iterator[Heard]:
        for number in range(self.count):
            yield from (Heard(*one) for one in load_state(self._path(number))["clips"])

    def hear(
        self, number: int, teacher: Detector, windows: Windows, on_clip: Callable[[], None]
    ) -> None:
        """Have the teacher hear one part, if that was not done before."""
        trials = self.manifest.trials[number * _PART : (number + 1) * _PART]
        if not self._is_there(number):
            heard = list(_hear(teacher, self.manifest, trials, windows, on_clip))
            save_state(self._path(number), {"about": self.about, "clips": [list(one) for one in heard]})
            return
        for _ in trials:
            on_clip()

    def _is_there(self, number: int) -> bool:
        """Whether the file is there, whole, and of this teacher, clips and windows."""
        try:
            return load_state(self._path(number))["about"] == self.about
        except CheckpointError:
            return False

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.safetensors"


def _hear(
    teacher: Detector,
    manifest: Manifest,
    trials: Sequence[Trial],
    windows: Windows,
    on_clip: Callable[[], None],
) -> Iterator[Heard]:
    """Each clip's windows as the teacher hears them, many clips' together."""
    waiting: list[tuple[str, np.ndarray]] = []
    with quiet(teacher):
        for trial, rows in zip(trials, _rows(teacher, manifest, trials, windows), strict=True):
            waiting.append((trial.id, rows))
            if sum(len(rows) for _, rows in waiting) >= _BATCH:
                yield from _said(teacher, waiting)
                waiting = []
            on_clip()
        if waiting:
            yield from _said(teacher, waiting)


def _rows(
    teacher: Detector, manifest: Manifest, trials: Sequence[Trial], windows: Windows
) -> Iterator[np.ndarray]:
    """(windows, samples) of each clip; (1, dim) where vectors or images stand in for audio."""
    if teacher.front_end.eats != "wave":
        own = Manifest(manifest.name, trials, root=manifest.root, classes=manifest.classes)
        for some in load_rows(own, teacher.front_end):
            yield from some[:, None]
        return
    window, hop = (round(s * audio.SAMPLE_RATE) for s in (windows.seconds, windows.hop))
    for trial in trials:
        wave = audio.read(manifest.path(trial)).wave
        starts = audio.windows(len(wave), window, hop)
        yield np.stack([audio.crop_or_repeat(wave, window, start=start) for start in starts])


def _said(teacher: Detector, clips: Sequence[tuple[str, np.ndarray]]) -> Iterator[Heard]:
    rows = torch.from_numpy(np.concatenate([own for _, own in clips]))
    said = [_judged(teacher, rows[i : i + _BATCH]) for i in range(0, len(rows), _BATCH)]
    embeddings, logits = (torch.cat(parts) for parts in zip(*said, strict=True))
    ids = [id_ for id_, own in clips for _ in own]
    wrong = ~(embeddings.isfinite().all(1) & logits.isfinite().all(1))
    if bool(wrong.any()):
        id_ = ids[int(wrong.nonzero()[0])]
        raise RunError(f"clip {id_!r}: the teacher's embedding or logits are infinite or NaN.")
    length = torch.full((len(rows),), rows.shape[1])
    keys = torch.frombuffer(bytearray(b"".join(digests(ids, rows, length))), dtype=torch.uint8)
    counts = [len(own) for _, own in clips]
    parts = (part.split(counts) for part in (keys.view(len(rows), -1), embeddings, logits))
    yield from (Heard(*one) for one in zip(*parts, strict=True))


def _judged(teacher: Detector, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and the logits that it decides by."""
    output = teacher.judge(rows.to(teacher.device))
    return output.embedding.cpu().float(), output.logits.cpu().float()
