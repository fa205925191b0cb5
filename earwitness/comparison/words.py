"""What the measures are called, which way is better, and how numbers are spelled."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from earwitness.comparison.statistics import Difference
from earwitness.errors import SettingsError
from earwitness.report.words import number, percent

__all__ = [
    "LEVEL",
    "MEASURES",
    "METRICS",
    "Measure",
    "counted",
    "enumerated",
    "higher_is_better",
    "kilobytes",
    "name_of",
    "p_value",
    "require_metric",
    "signed",
    "times",
    "verdict",
]

LEVEL = 0.05  # of every claim, after correction
_FEWEST = 3  # observations; the interval of two is far too wide or, by accident, far too narrow
_NOTHING = "–"
METRICS = {"eer": "EER", "accuracy": "accuracy", "auc": "AUC"}


class Measure(NamedTuple):
    """One number of a run: ``level`` is better the way its metric is."""

    name: str  # {} is the metric
    meaning: str
    better: Literal["level", "lower", "higher"]
    table: Literal["summary", "clear", ""] = ""


MEASURES = {
    "final_average": Measure(
        "final average {}", "mean {} over all tasks after the last one", "level", "summary"
    ),
    "pooled": Measure(
        "pooled {}",
        "{} of the final model over the trials of all tasks: one threshold for all",
        "level",
        "summary",
    ),
    "average_over_time": Measure(
        "average over time",
        "mean {} of the tasks seen so far, averaged over the stream",
        "level",
        "summary",
    ),
    "forgetting": Measure(
        "forgetting",
        "points by which earlier tasks are worse at the end than at their best before it",
        "lower",
        "summary",
    ),
    "backward_transfer": Measure(
        "backward transfer",
        "points that earlier tasks won (above 0) or lost since they were learned",
        "higher",
        "summary",
    ),
    "forward_transfer": Measure(
        "forward transfer",
        "points by which a task is better just before it is learned than for the untrained model",
        "higher",
        "summary",
    ),
    "learning_accuracy": Measure(
        "{} as learned", "mean {} on each task right after it was learned", "level", "summary"
    ),
    "clear_in_domain": Measure("CLEAR in-domain", "mean {} on each task as learned", "level", "clear"),
    "clear_next_domain": Measure(
        "CLEAR next-domain", "mean {} on each task just before it is learned", "level", "clear"
    ),
    "clear_backward": Measure(
        "CLEAR backward", "mean {} on earlier tasks, over all times: a level", "level", "clear"
    ),
    "clear_forward": Measure(
        "CLEAR forward", "mean {} on tasks not yet learned, over all times: a level", "level", "clear"
    ),
    "clear_accuracy": Measure("CLEAR accuracy", "mean {} on all tasks already learned", "level"),
}


def name_of(measure: str, metric: str) -> str:
    """A measure's name with its metric in it.

    >>> name_of("final_average", "eer"), name_of("forgetting", "eer")
    ('final average EER', 'forgetting')
    """
    return MEASURES[measure].name.format(METRICS[metric])


def higher_is_better(measure: str, lower_is_better: bool) -> bool:
    """Which way a measure is better, where ``lower_is_better`` is the metric's.

    >>> higher_is_better("forgetting", False), higher_is_better("final_average", False)
    (False, True)
    """
    better = MEASURES[measure].better
    return not lower_is_better if better == "level" else better == "higher"


def require_metric(metric: str) -> None:
    """Refuse a metric that isn't a rate with a name here.

    Raises:
        SettingsError: it says which there are.
    """
    if metric not in METRICS:
        raise SettingsError(
            f"a comparison is by {', '.join(METRICS)}; {metric!r} was asked for. "
            "`earwitness.evaluation.matrix` gives the others."
        )


def verdict(difference: Difference | None, higher: bool) -> str:
    """The word that a difference earns, after correction for the others of its table.

    >>> verdict({"mean": -0.1, "units": 5, "p_holm": 0.01}, higher=False)
    'better'
    >>> verdict({"mean": -0.1, "units": 5, "p_holm": 0.2}, higher=False)
    'cannot be told apart'
    """
    if difference is None or difference["mean"] is None:
        return "no run in common"
    p, mean = difference["p_holm"], difference["mean"]
    if p is None or (difference["units"] or 0) < _FEWEST:
        return "too few runs to tell"
    if p >= LEVEL:
        return "cannot be told apart"
    return "better" if (mean > 0) == higher else "worse"


def signed(difference: Difference | None) -> str:
    """A difference in points with its interval and always a sign.

    >>> signed({"mean": -0.1, "low": -0.15, "high": -0.05})
    '−10.0 [−15.0, −5.0]'
    """
    if difference is None or difference["mean"] is None:
        return _NOTHING
    mean, low, high = (_plus(difference[end]) for end in ("mean", "low", "high"))
    return mean if difference["low"] is None else f"{mean} [{low}, {high}]"


def p_value(p: float | None) -> str:
    """A p-value, never rounded to nothing.

    >>> p_value(0.0324), p_value(0.00004), p_value(None)
    ('0.032', '< 0.001', '–')
    """
    if p is None:
        return _NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def kilobytes(size: float | None) -> str:
    """Bytes as kilobytes (of a thousand).

    >>> kilobytes(2_500), kilobytes(2_500_000), kilobytes(None)
    ('2.5', '2,500', '–')
    """
    if size is None:
        return _NOTHING
    return f"{size / 1000:,.1f}" if size < 100_000 else f"{size / 1000:,.0f}"


def times(factor: float | None) -> str:
    """A multiple.

    >>> times(1.25), times(None)
    ('1.2 ×', '–')
    """
    return _NOTHING if factor is None else f"{number(factor, 1)} ×"


def counted(number_of: int, noun: str, many: str = "") -> str:
    """A number and its noun.

    >>> counted(1, "run"), counted(2, "run"), counted(2, "strategy", "strategies")
    ('1 run', '2 runs', '2 strategies')
    """
    return f"{number_of} {noun if number_of == 1 else many or noun + 's'}"


def enumerated(names: Sequence[str], at_most: int = 6) -> str:
    """Names in a sentence, those beyond ``at_most`` as a number.

    >>> enumerated(["a"]), enumerated(["a", "b", "c"]), enumerated("abcde", 3)
    ('a', 'a, b and c', 'a, b, c and 2 more')
    """
    shown, rest = list(names[:at_most]), len(names) - at_most
    if rest > 0:
        shown.append(f"{rest} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _plus(value: float | None) -> str:
    text = percent(value)
    return f"+{text}" if value is not None and round(100 * value, 1) > 0 else text
