"""What the numbers are called, how they are spelled, and which words they earn.

A claim is chosen by an interval alone: "better" or "worse" only where the 95 % interval of the
paired difference leaves 0 out.
"""

from collections.abc import Sequence
from typing import NamedTuple

from earwitness.report.result import Interval, StrategyResult

__all__ = [
    "MEASURES",
    "METRICS",
    "Measure",
    "Metric",
    "best_of",
    "headline",
    "number",
    "percent",
    "plus_minus",
    "rated",
    "span",
    "verdict",
]

_NOTHING = "–"


class Measure(NamedTuple):
    """One summary of a task matrix: what it is called and how to read it."""

    name: str
    meaning: str
    is_main: bool = False


MEASURES = {
    "final_average": Measure(
        "final average EER", "mean EER over all tasks after the last one was learned", True
    ),
    "pooled": Measure(
        "pooled EER",
        "EER of the final model over the trials of all tasks together: one threshold for all",
        True,
    ),
    "average_over_time": Measure(
        "average over time", "mean EER of the tasks seen so far, averaged over the stream", True
    ),
    "forgetting": Measure(
        "forgetting",
        "EER points by which earlier tasks are worse at the end than at their best; 0: none, "
        "below 0: the last task made them better than ever",
        True,
    ),
    "backward_transfer": Measure(
        "backward transfer",
        "EER points that earlier tasks won (above 0) or lost (below 0) since they were learned",
    ),
    "forward_transfer": Measure(
        "forward transfer",
        "EER points by which a task is better just before it is learned than for the untrained "
        "model; above 0: earlier tasks helped",
    ),
    "learning_accuracy": Measure(
        "EER as learned", "mean EER on each task right after it was learned; lower: learns better"
    ),
    "clear_in_domain": Measure(
        "CLEAR in-domain", "mean of the diagonal of the task matrix: each task as learned"
    ),
    "clear_next_domain": Measure(
        "CLEAR next-domain", "mean EER on each task just before it is learned"
    ),
    "clear_accuracy": Measure(
        "CLEAR accuracy", "mean EER of everything already learned, over all times"
    ),
    "clear_backward": Measure(
        "CLEAR backward", "the same without the task just learned: a level, not a difference"
    ),
    "clear_forward": Measure("CLEAR forward", "mean EER on all tasks not yet learned"),
}


class Metric(NamedTuple):
    """One metric of a score file: what it is called and how to read it."""

    name: str
    meaning: str
    is_rate: bool = False


METRICS = {
    "eer": Metric("EER, %", "the error rate where both kinds of error are equally frequent", True),
    "auc": Metric("AUC, %", "how often a bonafide clip scores above a spoof", True),
    "min_dcf": Metric(
        "minDCF", "cost of the errors at the best threshold; 1 is as good as not listening"
    ),
    "eer_challenge": Metric(
        "EER as in ASVspoof, %",
        "the way the challenges compute it, which differs where scores are tied",
        True,
    ),
}


def rated(value: Interval, key: str) -> str:
    """A metric's value and its interval, as per cent if it is a rate.

    >>> rated({"mean": 0.2, "low": 0.15, "high": 0.25}, "eer")
    '20.0 (15.0 to 25.0)'
    >>> rated({"mean": 0.2, "low": None, "high": None}, "min_dcf")
    '0.200'
    """
    shown = percent if key in METRICS and METRICS[key].is_rate else number
    if value["low"] is None:
        return shown(value["mean"])
    return f"{shown(value['mean'])} ({shown(value['low'])} to {shown(value['high'])})"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as per cent, a dash for nothing.

    >>> percent(0.1234), percent(-0.05), percent(None)
    ('12.3', '−5.0', '–')
    """
    return _NOTHING if value is None else number(100 * value, digits)


def number(value: float | None, digits: int = 3) -> str:
    """A number with a real minus sign, a dash for nothing; -0 is 0.

    >>> number(-1.5, 1), number(-0.0001), number(None)
    ('−1.5', '0.000', '–')
    """
    if value is None:
        return _NOTHING
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def plus_minus(interval: Interval | None) -> str:
    """An interval over seeds, in per cent: mean and half width.

    >>> plus_minus({"mean": 0.2, "low": 0.15, "high": 0.25})
    '20.0 ± 5.0'
    """
    if interval is None:
        return _NOTHING
    low, high = interval["low"], interval["high"]
    half = "" if low is None or high is None else f" ± {percent((high - low) / 2)}"
    return percent(interval["mean"]) + half


def span(interval: Interval, digits: int = 1) -> str:
    """The two ends, in per cent: "15.0 to 25.0"."""
    return f"{percent(interval['low'], digits)} to {percent(interval['high'], digits)}"


def verdict(difference: Interval | None) -> str:
    """The word that a paired difference of error rates earns.

    >>> verdict({"mean": -0.1, "low": -0.15, "high": -0.05})
    'better'
    >>> verdict({"mean": -0.1, "low": -0.25, "high": 0.05})
    'no difference that the seeds can show'
    """
    if difference is None:
        return "not compared: no naive run with the same seeds"
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return "one shared seed: nothing can be said about chance"
    if high < 0:
        return "better"
    return "worse" if low > 0 else "no difference that the seeds can show"


def best_of(strategies: Sequence[StrategyResult]) -> StrategyResult:
    """The strategy with the lowest final average; joint training only where there is no other."""
    learners = [one for one in strategies if one.role != "joint"]
    return min(learners or strategies, key=_final)


def headline(strategies: Sequence[StrategyResult], tasks: int) -> str:
    """What was found, in a few sentences, from the final average EER of each strategy."""
    best = best_of(strategies)
    learners = [one for one in strategies if one.role != "joint"]
    opening = (
        f"Of {len(learners)} strategies, {best.label} has the lowest final average EER:"
        if len(learners) > 1
        else f"{best.label} has a final average EER of"
    )
    amount = f"{percent(_final(best))} % over {_counted(tasks, 'task')} ({_certainty(best)})."
    return " ".join([opening, amount, _comparison(best, strategies), *_bounds(strategies)])


def _final(one: StrategyResult) -> float:
    mean = one.summaries["final_average"]["mean"]
    assert mean is not None  # an interval always has its middle
    return mean


def _certainty(one: StrategyResult) -> str:
    final = one.summaries["final_average"]
    if final["low"] is None:
        return "one seed, so no interval"
    return f"95 % interval {span(final)}, {len(one.seeds)} seeds"


def _comparison(best: StrategyResult, strategies: Sequence[StrategyResult]) -> str:
    if not any(one.role == "naive" for one in strategies):
        return "No naive strategy was run, so nothing says what doing nothing would have given."
    if best.role == "naive":
        return "It is the one that does nothing against forgetting."
    if best.against_naive is None:
        return "It shares no seed with a naive run, so the two are not compared."
    difference = best.against_naive["final_average"]
    ends = "" if difference["low"] is None else f", 95 % interval {span(difference)}"
    points = f"{percent(difference['mean'])} points"
    return f"Against naive, paired by seed, that is {points}{ends}: {best.verdict}."


def _bounds(strategies: Sequence[StrategyResult]) -> list[str]:
    return [
        f"Learning anew from all data at once ({one.label}), which is no way to keep learning, "
        f"reaches {percent(_final(one))} %."
        for one in strategies
        if one.role == "joint" and len(strategies) > 1
    ]


def _counted(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}" + ("" if number_of == 1 else "s")
