"""Filling an experiment's cache of frames before it is run, by several processes or accelerators.

What a run would hear is heard: each recording in the windows that are scored and in those that are
learned from, with their references. What the cache has already costs reading, so the same command goes
on where it was stopped.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from earwitness.audio import DecodingReport
from earwitness.detector import Detector, Windows
from earwitness.errors import AudioError, SettingsError
from earwitness.experiment import Experiment
from earwitness.processes import side_by_side, tell
from earwitness.references import References
from earwitness.scoring import listen
from earwitness.streams import Stream
from earwitness.training import one_thread
from earwitness.trials import Manifest, Trial

__all__ = ["Extracted", "extract"]

OnClip = Callable[[int, int], None]


@dataclass(frozen=True)
class Extracted:
    """How many windows were ``heard``, ``read`` as they were there, and ``not_kept`` for want of room.

    ``gib``: of all frames in the cache's folder.
    """

    heard: int
    read: int
    not_kept: int
    gib: float


@dataclass(frozen=True)
class _Job:
    """Recordings in one kind of window, beside their references where those are heard."""

    manifest: Manifest
    windows: Windows
    references: References | None = None


def extract(
    experiment: Experiment, *, workers: int = 1, on_clip: OnClip = lambda done, total: None
) -> Extracted:
    """Hear all that the experiment's runs would hear, into its cache of frames.

    ``workers`` processes share the recordings; where training is on ``cuda``, each takes the next
    accelerator. ``on_clip`` gets how many recordings are done, of how many.

    Raises:
        SettingsError: the experiment has no [cache].
        AudioError: a file cannot be used.
    """
    cache = experiment.detector(experiment.seeds[0]).cache
    if cache is None:
        raise SettingsError("this experiment has no [cache] to fill; add one with its folder.")
    if workers == 1:
        parts = [_part(experiment, 0, 1, on_clip)]
    else:
        done = Counter[int]()

        def add_up(worker: int, own: int, total: int) -> None:
            done[worker] = own
            on_clip(done.total(), total)

        jobs = [(experiment, number, workers) for number in range(workers)]
        parts = side_by_side(_work, jobs, workers, add_up)
    heard, read, not_kept = (sum(counts) for counts in zip(*parts, strict=True))
    return Extracted(heard, read, not_kept, cache.size() / 2**30)


def _work(experiment: Experiment, number: int, workers: int) -> tuple[int, int, int]:
    return _part(experiment, number, workers, lambda done, total: tell(number, done, total))


def _part(experiment: Experiment, number: int, workers: int, on_clip: OnClip) -> tuple[int, int, int]:
    """Every ``workers``-th recording, from ``number`` on: windows heard, read and not kept."""
    stream = experiment.stream()
    jobs = list(_jobs(experiment, stream))
    detectors = list(_detectors(experiment, stream, number))
    total = len(detectors) * sum(len(job.manifest) for job in jobs)
    done = 0
    with one_thread():  # as runs do: the same frames, to the bit
        for detector, job in itertools.product(detectors, jobs):
            for _ in _outcomes(detector, job, job.manifest.trials[number::workers]):
                done += 1
                on_clip(done, total)
    caches = [detector.cache for detector in detectors if detector.cache is not None]
    heard, read, not_kept = (
        sum(getattr(cache, name) for cache in caches) for name in ("heard", "read", "not_kept")
    )
    return heard, read, not_kept


def _outcomes(detector: Detector, job: _Job, trials: tuple[Trial, ...]) -> Iterator[None]:
    heard = listen(detector, job.manifest, job.windows, DecodingReport(), job.references, trials)
    for _, outcome in heard:
        if isinstance(outcome, AudioError):
            raise outcome
        yield


def _detectors(experiment: Experiment, stream: Stream, number: int) -> Iterator[Detector]:
    """One detector for each of the front ends that the seeds start with: mostly they are the same."""
    known = set()
    device = experiment.training(experiment.labels[0]).device
    if device == "cuda":
        device = f"cuda:{number % torch.cuda.device_count()}"
    for seed in experiment.seeds:
        detector = experiment.detector(seed, stream.classes).to(device)
        assert detector.cache is not None
        if detector.cache.weights() not in known:
            known.add(detector.cache.weights())
            yield detector


def _jobs(experiment: Experiment, stream: Stream) -> Iterator[_Job]:
    """What is scored, with its references, and what is learned from, windows of both kinds."""
    scoring = experiment.windows()
    lengths = {experiment.training(label).seconds for label in experiment.labels}
    learning = [Windows(seconds, min(scoring.hop, seconds)) for seconds in sorted(lengths)]
    for task in stream:
        for split in experiment.splits:
            manifest = getattr(task, split)
            yield _Job(manifest, scoring, experiment.references.of(manifest, "scoring"))
        policy = experiment.references
        for part, beside in (
            (task.train, policy.of(task.train, "training")),
            (task.dev, policy.of(task.dev, "scoring")),
        ):
            for manifest in (part, *_others(part, beside)):
                yield from (_Job(manifest, windows) for windows in learning)


def _others(manifest: Manifest, references: References | None) -> list[Manifest]:
    """The files that trials may be heard beside and that are no trials themselves, if any."""
    if references is None:
        return []
    known = {manifest.path(trial) for trial in manifest}
    paths = {path for several in references.paths.values() for _, path in several} - known
    trials = [Trial(str(path), str(path.absolute()), "bonafide") for path in sorted(paths)]
    return [Manifest(f"references of {manifest.name}", trials)] if trials else []
