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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError, RunError, SettingsError, nearest
from earwitness.metrics import METRICS, lower_is_better
from earwitness.metrics.bootstrap import bootstrap_intervals
from earwitness.metrics.continual import summarise
from earwitness.metrics.curves import eer_threshold, sweep
from earwitness.metrics.seeds import mean_interval, paired_difference
from earwitness.metrics.units import Sampling, sampling
from earwitness.protocols import Protocol
from earwitness.runs import Run
from earwitness.scores import ONE_A_CLASS, ClassScores, Scores, read_scores
from earwitness.trials import Manifest

__all__ = [
    "WORDS",
    "Evaluation",
    "accuracy_matrix",
    "dev_threshold",
    "doubts_of_scale",
    "evaluate",
    "matrix",
    "mean_interval",
    "paired_difference",
    "pooled",
    "require_labels",
    "summary",
    "untrained_row",
]

Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]

_REPORTED = (
    *("eer", "eer_challenge", "min_dcf", "act_dcf", "cllr", "min_cllr"),
    *("auc", "average_precision"),
)
_AT_A_THRESHOLD = ("accuracy", "balanced_accuracy", "f1")
_BY_SWEEP = ("min_cllr", "auc", "average_precision")  # they share one
# Of the challenge's there is none, as it is for published tables; the pooling of min_cllr is slow.
_WITHOUT_INTERVAL = ("eer_challenge", "min_cllr")
_FEW_TRIALS = 30
WORDS = {
    "eer": "EER, %",
    "eer_challenge": "EER as in the challenges, %",
    "min_dcf": "minDCF",
    "act_dcf": "actDCF, of scores as LLRs",
    "cllr": "Cllr, bits",
    "min_cllr": "min Cllr, bits",
    "auc": "AUC",
    "average_precision": "average precision, of spoofs",
    "accuracy": "accuracy, %",
    "balanced_accuracy": "balanced accuracy, %",
    "f1": "F1, of spoofs",
    "min_tdcf": "min t-DCF",
    "min_tdcf_legacy": "min t-DCF as in 2019",
}


@dataclass(frozen=True)
class Evaluation:
    """What the scores of one set of trials are worth.

    ``values`` has ``eer``, ``eer_challenge``, ``min_dcf``, ``act_dcf``, ``cllr``, ``min_cllr``,
    ``auc``, ``average_precision``, those that were asked for beside them and, where a threshold was
    given, ``accuracy``, ``balanced_accuracy`` and ``f1``. ``intervals`` has 95 % bootstrap intervals
    of the same except ``eer_challenge`` and ``min_cllr``. They are over the ``sampling_unit``, for
    instance ``"speaker and attack"`` or ``"trial"``; None without intervals. ``n_tied`` counts the
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
        unit = f", 95 % intervals by {self.sampling_unit}" if self.sampling_unit else ""
        head = f"{self.n_bonafide} bonafide, {self.n_spoof} spoof, {self.n_tied} tied{unit}"
        return "\n".join([head, *map(self._line, self.values)])

    def _line(self, name: str) -> str:
        label = WORDS.get(name, name)
        scale, digits = (100, 2) if label.endswith("%") else (1, 4)
        line = f"{label:30}{scale * self.values[name]:8.{digits}f}"
        if name not in self.intervals:
            return line
        low, high = (f"{scale * end:.{digits}f}" for end in self.intervals[name])
        return f"{line}  ({low} to {high})"


def evaluate(
    scores: Scores,
    protocol: Protocol | Manifest | None = None,
    *,
    threshold: float | None = None,
    more: Mapping[str, Mapping[str, Any]] | None = None,
    intervals: bool = True,
    unit: str = "auto",
    draws: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Judge the scores of one set of trials.

    Args:
        scores: of every trial, labelled unless a protocol is given.
        protocol: takes labels, speakers and attacks from here, or from a manifest. Where they are
            known, the bootstrap draws whole speakers and attacks, because trials of one speaker are
            not independent (`metrics.units.sampling`).
        threshold: from development scores (`dev_threshold`); without it there is no accuracy.
        more: further metrics of the shelf with their settings, or other settings of those that are
            reported anyway: ``{"min_tdcf": {"asv": ...}, "min_dcf": {"p_spoof": 0.5}}``.
        intervals: whether to bootstrap.
        unit: what to draw, see `metrics.units.sampling`.
        draws, seed: of the bootstrap.

    Raises:
        ProtocolError: a trial without a score, a score without a trial, or one that is labelled
            unknown; no trial of a class; scores of other classes.
        SettingsError: no such metric, setting or column.

    >>> judged = evaluate(Scores("abcd", [2, 1, 1, 0], ["bonafide", "bonafide", "spoof", "spoof"]))
    >>> judged.values["eer"], judged.values["auc"], judged.n_tied
    (0.25, 0.875, 2)
    """
    _refuse_class_scores(scores)
    if isinstance(protocol, Manifest):
        protocol = Protocol.of(protocol)
    if protocol is not None:
        scores = scores.join(protocol)
    both = _both(scores)
    metrics = _chosen(threshold, more or {})
    values = _values(metrics, both)
    drawn = sampling(protocol, unit) if protocol and intervals else Sampling("trial", None, None, ())
    by_draws = {n: m for n, m in metrics.items() if n not in _WITHOUT_INTERVAL} if intervals else {}
    return Evaluation(
        n_bonafide=len(both[0]),
        n_spoof=len(both[1]),
        n_tied=_count_tied(scores.values),
        values=values,
        intervals=bootstrap_intervals(
            by_draws, *both, draws=draws, seed=seed, clusters=drawn.clusters, attacks=drawn.attacks
        ),
        warnings=(*_warnings(values, both), *drawn.doubts),
        sampling_unit=drawn.unit if intervals else None,
    )


def _chosen(
    threshold: float | None, more: Mapping[str, Mapping[str, Any]]
) -> dict[str, Callable[..., float]]:
    """The metrics to report, with their settings."""
    settings: dict[str, dict[str, Any]] = {name: {} for name in _REPORTED}
    if threshold is not None:
        settings |= {name: {"threshold": threshold} for name in _AT_A_THRESHOLD}
    for name, asked in more.items():
        settings[name] = {**settings.get(name, {}), **asked}
    return {name: _with_settings(name, own) for name, own in settings.items()}


def _with_settings(name: str, own: Mapping[str, Any]) -> Callable[..., float]:
    metric = METRICS.get(name)
    known = {p.name: p for p in signature(metric).parameters.values() if p.kind is p.KEYWORD_ONLY}
    unknown = [one for one in own if one not in known]
    missing = [one for one, p in known.items() if p.default is p.empty and one not in own]
    if unknown or missing:
        wrong = f"has no setting {unknown[0]!r}{nearest(unknown[0], known)}" if unknown else ""
        raise SettingsError(f"metric {name!r} {wrong or f'needs the setting {missing[0]!r}.'}")
    return partial(metric, **own)


def _values(metrics: Mapping[str, Callable[..., float]], both: Arrays) -> dict[str, float]:
    whole = sweep(*both) if any(name in metrics for name in _BY_SWEEP) else None
    return {
        name: float(metric.func.of_sweep(whole, **metric.keywords))  # type: ignore[attr-defined]
        if name in _BY_SWEEP
        else metric(*both)
        for name, metric in metrics.items()
    }


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
    neither = np.flatnonzero(scores.codes > 1)
    if len(neither):
        first = scores.id_column[int(neither[0])]
        why = f" ({scores.note})" if scores.note else ""
        raise ProtocolError(
            f"{scores.source}: {len(neither)} of {len(scores)} trial(s) are neither bonafide nor "
            f"spoof, first {first!r} (unknown); give a protocol or manifest with their labels{why}."
        )
    return scores.bonafide, scores.spoof


def require_labels(scores: Scores) -> Scores:
    """The scores, all of which are of bonafide or spoof trials.

    Raises:
        ProtocolError: counts those that are neither.
    """
    _both(scores)
    return scores


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


def doubts_of_scale(scores: Scores) -> list[str]:
    """Sentences on scores that can't be meant as log-likelihood ratios, or as higher for bonafide."""
    both = _both(scores)
    values = {name: METRICS.get(name)(*both) for name in ("auc", "cllr")}
    return [one for one in _warnings(values, both) if "trial(s)" not in one]


def _warnings(values: Mapping[str, float], both: Arrays) -> list[str]:
    found = []
    if values["auc"] < 0.5:
        found.append(
            f"AUC is {values['auc']:.3f}, below chance: the scores are probably inverted (higher must "
            "mean more bonafide). They are judged as they are."
        )
    elif min(map(np.min, both)) >= 0 and max(map(np.max, both)) <= 1:
        found.append(
            "all scores lie between 0 and 1. If they are probabilities, say so (--probabilities): Cllr "
            "and actDCF read scores as log-likelihood ratios."
        )
    elif values["cllr"] > 1:
        found.append(
            f"Cllr is {values['cllr']:.2f} bits, above 1: read as log-likelihood ratios, these scores "
            "mislead. Cllr and actDCF are for calibrated scores."
        )
    for label, scores in zip(("bonafide", "spoof"), both, strict=True):
        if len(scores) < _FEW_TRIALS:
            found.append(f"only {len(scores)} {label} trial(s): the values are coarse.")
    return found
