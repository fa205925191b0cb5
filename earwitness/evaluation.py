"""From score files to numbers: one set of scores, a run's task matrices, intervals over seeds.

Values are fractions, not per cent. Scores are never flipped and no trial is left out: one without
a label is an error. Thresholds come from development scores only. Needs no torch.

A run's numbers are computed from its score files:

>>> import tempfile
>>> from pathlib import Path
>>> run = Run(Path(tempfile.mkdtemp()), "naive", 1, ("one", "two"))
>>> labels = ["bonafide", "bonafide", "spoof", "spoof"]
>>> for after, on, values in [(0, 0, [3, 2, 1, 0]), (0, 1, [3, 1, 2, 0]),
...                           (1, 0, [0, 3, 2, 1]), (1, 1, [7, 6, -1, -2])]:
...     for split in ("dev", "test"):
...         Scores("abcd", values, labels).write(run.score_file(after, on, split))
>>> matrix(run).tolist(), accuracy_matrix(run).tolist()
([[0.0, 0.5], [0.5, 0.0]], [[1.0, 0.5], [0.5, 1.0]])
>>> summary(run)["forgetting"], pooled(run, after=1), untrained_row(run)
(0.5, 0.25, None)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError, RunError, SettingsError
from earwitness.metrics import METRICS, lower_is_better
from earwitness.metrics.bootstrap import bootstrap_intervals
from earwitness.metrics.continual import summarise
from earwitness.metrics.curves import eer_threshold
from earwitness.metrics.seeds import mean_interval, paired_difference
from earwitness.metrics.units import speaker_clusters
from earwitness.runs import Run
from earwitness.scores import ONE_A_CLASS, ClassScores, Scores, read_scores
from earwitness.trials import Manifest

__all__ = [
    "Evaluation",
    "accuracy_matrix",
    "dev_threshold",
    "evaluate",
    "matrix",
    "mean_interval",
    "paired_difference",
    "pooled",
    "summary",
    "untrained_row",
]

Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]

_REPORTED = ("eer", "eer_challenge", "min_dcf", "auc")
_FEW_TRIALS = 30
_WORDS = {
    "eer": "EER, %",
    "eer_challenge": "EER as in the challenges, %",
    "min_dcf": "minDCF",
    "auc": "AUC",
    "accuracy": "accuracy, %",
}


@dataclass(frozen=True)
class Evaluation:
    """What the scores of one set of trials are worth.

    ``values`` has ``eer``, ``eer_challenge``, ``min_dcf``, ``auc`` and, where a threshold was
    given, ``accuracy``. ``intervals`` has 95 % bootstrap intervals of the same except
    ``eer_challenge``, which is there for comparison with published tables. They are over the
    ``sampling_unit``, ``"trial"`` or ``"speaker"``; None without intervals. ``n_tied`` counts the
    trials whose score another trial has too.
    """

    n_bonafide: int
    n_spoof: int
    n_tied: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    warnings: tuple[str, ...]
    sampling_unit: str | None = None

    def to_dict(self) -> dict[str, float | str | None]:
        """All numbers, flat and ready for JSON: ``eer``, ``eer_low``, ``eer_high``, ..."""
        flat: dict[str, float | str | None] = dict(self.values)
        for name, (low, high) in self.intervals.items():
            flat |= {f"{name}_low": low, f"{name}_high": high}
        counts = {"n_bonafide": self.n_bonafide, "n_spoof": self.n_spoof, "n_tied": self.n_tied}
        return {**flat, **counts, "sampling_unit": self.sampling_unit}

    def __str__(self) -> str:
        unit = f", 95 % intervals over {self.sampling_unit}s" if self.sampling_unit else ""
        head = f"{self.n_bonafide} bonafide, {self.n_spoof} spoof, {self.n_tied} tied{unit}"
        return "\n".join([head, *map(self._line, self.values)])

    def _line(self, name: str) -> str:
        label = _WORDS.get(name, name)
        scale, digits = (100, 2) if label.endswith("%") else (1, 4)
        line = f"{label:28}{scale * self.values[name]:8.{digits}f}"
        if name not in self.intervals:
            return line
        low, high = (f"{scale * end:.{digits}f}" for end in self.intervals[name])
        return f"{line}  ({low} to {high})"


def evaluate(
    scores: Scores,
    manifest: Manifest | None = None,
    *,
    threshold: float | None = None,
    intervals: bool = True,
    draws: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Judge the scores of one set of trials.

    Args:
        scores: of every trial, labelled unless a manifest is given.
        manifest: takes labels and speakers from here. Where all speakers are known, the bootstrap
            draws whole speakers, because trials of one speaker are not independent.
        threshold: from development scores (`dev_threshold`); without it there is no accuracy.
        intervals: whether to bootstrap.
        draws, seed: of the bootstrap.

    Raises:
        ProtocolError: a trial without a score, a score without a trial, or one that is labelled
            unknown; no trial of a class; scores of other classes.

    >>> judged = evaluate(Scores("abcd", [2, 1, 1, 0], ["bonafide", "bonafide", "spoof", "spoof"]))
    >>> judged.values["eer"], judged.values["auc"], judged.n_tied
    (0.25, 0.875, 2)
    """
    _refuse_class_scores(scores)
    if manifest is not None:
        scores = scores.join(manifest)
    both = _both(scores)
    metrics = {name: METRICS.get(name) for name in _REPORTED}
    if threshold is not None:
        metrics["accuracy"] = partial(METRICS.get("accuracy"), threshold=threshold)
    values = {name: metric(*both) for name, metric in metrics.items()}
    clusters, doubts = speaker_clusters(manifest) if manifest and intervals else (None, [])
    drawn = {n: m for n, m in metrics.items() if n != "eer_challenge"} if intervals else {}
    return Evaluation(
        n_bonafide=len(both[0]),
        n_spoof=len(both[1]),
        n_tied=_count_tied(scores.values),
        values=values,
        intervals=bootstrap_intervals(drawn, *both, draws=draws, seed=seed, clusters=clusters),
        warnings=(*_warnings(values["auc"], both), *doubts),
        sampling_unit=("speaker" if clusters else "trial") if intervals else None,
    )


def dev_threshold(scores: Scores) -> float:
    """The threshold of the EER on development scores; ``score >= threshold`` means bonafide.

    >>> dev_threshold(Scores("abcd", [3, 2, 0, -1], ["bonafide", "bonafide", "spoof", "spoof"]))
    1.0

    Raises:
        ProtocolError: a trial is labelled unknown, a class has none, or scores of other classes.
    """
    _refuse_class_scores(scores)
    return eer_threshold(*_both(scores))


def matrix(run: Run, metric: str | None = None, split: str = "test") -> NDArray[np.float64]:
    """The task matrix of a run, ``(T, T)``: ``[i, j]`` = metric on task j after learning task i.

    The metric is the run's own unless given. Accuracy of bonafide and spoof is taken at the threshold
    of the dev scores of the same cell; for other classes it is the share of right decisions.

    Raises:
        ProtocolError: a score file is absent or wrong.
        SettingsError: no such metric.
    """
    tasks = range(len(run.tasks))
    return np.array([[_cell(run, after, [on], metric, split) for on in tasks] for after in tasks])


def accuracy_matrix(run: Run) -> NDArray[np.float64]:
    """Accuracy on test, ``(T, T)``, each cell at the EER threshold of its own dev scores.

    Raises:
        ProtocolError: a score file is absent or wrong.
    """
    return matrix(run, "accuracy", "test")


def untrained_row(
    run: Run, metric: str | None = None, split: str = "test"
) -> NDArray[np.float64] | None:
    """The metric on every task before any was learned, ``(T,)``; None where that was not scored.

    Raises:
        ProtocolError: only some of its score files are there, or one is wrong.
        SettingsError: no such metric.
    """
    tasks = range(len(run.tasks))
    if not any(run.score_file(-1, on, split).is_file() for on in tasks):
        return None
    return np.array([_cell(run, -1, [on], metric, split) for on in tasks])


def summary(run: Run, metric: str | None = None, split: str = "test") -> dict[str, float | None]:
    """All summaries of a run's task matrix by name (`metrics.continual`); None where undefined.

    Raises:
        ProtocolError: a score file is absent or wrong.
        SettingsError: no such metric.
    """
    return summarise(
        matrix(run, metric, split),
        lower_is_better=lower_is_better(metric or run.metric),
        untrained=untrained_row(run, metric, split),
    )


def pooled(run: Run, after: int, metric: str | None = None, split: str = "test") -> float:
    """The metric over the trials of all tasks learned so far together: one threshold for all.

    A detector in use has one threshold, so scores that move from task to task count as errors here
    and not in the matrix. ``after`` is the position of the task learned last, from 0.

    Raises:
        ProtocolError: a score file is absent or wrong.
        RunError: the run has no such task.
        SettingsError: no such metric.
    """
    if not 0 <= after < len(run.tasks):
        raise RunError(
            f"{run.path}: pooled scores after task {after} were asked for; "
            f"the run has tasks 0 to {len(run.tasks) - 1}."
        )
    return _cell(run, after, range(after + 1), metric, split)


def _refuse_class_scores(scores: Scores | ClassScores) -> None:
    if isinstance(scores, ClassScores):
        raise ProtocolError(f"{scores.source}: {ONE_A_CLASS}")


def _both(scores: Scores) -> Arrays:
    """Bonafide and spoof scores; a trial of neither class is an error, not left out."""
    labelled = zip(scores.ids, scores.labels, strict=True)
    neither = [(i, label) for i, label in labelled if label not in ("bonafide", "spoof")]
    if neither:
        raise ProtocolError(
            f"{scores.source}: {len(neither)} of {len(scores)} trial(s) are neither bonafide nor "
            f"spoof, first {neither[0][0]!r} ({neither[0][1]}); give a manifest with their labels."
        )
    return scores.bonafide, scores.spoof


def _cell(run: Run, after: int, on: Sequence[int], metric: str | None, split: str) -> float:
    """A metric over the trials of the tasks ``on`` after learning task ``after``."""
    metric = metric or run.metric
    told = [read_scores(run.score_file(after, one, split)) for one in on]
    if isinstance(told[0], ClassScores):
        return _share_right(told, metric)
    both = _joined([one for one in told if isinstance(one, Scores)])
    if metric != "accuracy":
        return METRICS.get(metric)(*both)
    threshold = eer_threshold(*_joined([run.scores(after, one, "dev") for one in on]))
    return METRICS.get(metric)(*both, threshold=threshold)


def _share_right(told: Sequence[Scores | ClassScores], metric: str) -> float:
    if metric != "accuracy":
        raise SettingsError(
            f"{told[0].source}: {metric} weighs bonafide against spoof; these are scores of other "
            "classes, which have an accuracy."
        )
    return float(np.concatenate([one.right for one in told if isinstance(one, ClassScores)]).mean())


def _joined(scores: Sequence[Scores]) -> Arrays:
    parts = [_both(one) for one in scores]
    return np.concatenate([b for b, _ in parts]), np.concatenate([s for _, s in parts])


def _count_tied(values: NDArray[np.float64]) -> int:
    _, counts = np.unique(values, return_counts=True)
    return int(counts[counts > 1].sum())


def _warnings(auc: float, both: Arrays) -> list[str]:
    found = []
    if auc < 0.5:
        found.append(
            f"AUC is {auc:.3f}, below chance: the scores are probably inverted (higher must mean "
            "more bonafide). They are judged as they are."
        )
    for label, values in zip(("bonafide", "spoof"), both, strict=True):
        if len(values) < _FEW_TRIALS:
            found.append(f"only {len(values)} {label} trial(s): the values are coarse.")
    return found
