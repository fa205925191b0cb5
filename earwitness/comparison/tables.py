"""The comparison as rows of words: for a terminal, and for a page in Markdown."""

from collections.abc import Sequence
from typing import NamedTuple

from earwitness.comparison.result import Comparison, Method
from earwitness.comparison.words import MEASURES, kilobytes, name_of, p_value, signed, times, verdict
from earwitness.report.words import percent, plus_minus

__all__ = [
    "Rows",
    "against_reference",
    "by_order",
    "by_task",
    "costs",
    "kept",
    "measures",
    "overview",
    "shown",
]


class Rows(NamedTuple):
    """A table of words: its columns, and its rows, bounds last."""

    columns: list[str]
    rows: list[list[str]]


def overview(comparison: Comparison) -> Rows:
    """The few columns that fit a terminal; numbers in per cent.

    ● is better than every other, ○ cannot be told apart from the best, (bounds) are not ranked.
    """
    reference = comparison.reference
    columns = ["method", "runs", *_names(comparison, ("final_average", "forgetting"))]
    if reference is not None:
        columns += [f"minus {reference}", "p", "p, flips"]
    return Rows(
        [*columns, "kB kept", "time"],
        [
            [
                one.label if one.is_ranked else f"({one.label})",
                str(len(one.runs)),
                *(_marked(comparison, one, key) for key in ("final_average", "forgetting")),
                *(_difference(one) if reference is not None else ()),
                kept(one),
                times((one.times_naive or {}).get("mean")),
            ]
            for one in comparison.methods
        ],
    )


def measures(comparison: Comparison, table: str) -> Rows:
    """Mean ± half the interval and the mark of every measure of a table: ``summary`` or ``clear``."""
    keys = shown(comparison, table)
    return Rows(
        ["method", *_names(comparison, keys)],
        [[_name(one), *(_marked(comparison, one, key) for key in keys)] for one in comparison.methods],
    )


def shown(comparison: Comparison, table: str) -> list[str]:
    """The measures of a table that any method has: forward transfer, say, needs an untrained model."""
    return [
        key
        for key, measure in MEASURES.items()
        if measure.table == table and any(key in one.means for one in comparison.methods)
    ]


def against_reference(comparison: Comparison) -> Rows:
    """Differences to the reference, paired over seeds and orders, with the word they earn."""
    keys = ("final_average", "forgetting", "learning_accuracy")
    higher = not comparison.lower_is_better
    return Rows(
        [
            f"minus {comparison.reference}",
            "runs",
            *_names(comparison, keys),
            "p",
            "p, flips",
            "in words",
        ],
        [
            [
                _name(one),
                f"{one.against['final_average']['pairs']:.0f}",
                *(signed(one.against.get(key)) for key in keys),
                *_difference(one)[1:],
                verdict(one.against["final_average"], higher),
            ]
            for one in comparison.methods
            if one.against and "final_average" in one.against
        ],
    )


def costs(comparison: Comparison) -> Rows:
    """What is kept after the last task, and learning time as a multiple of naive's."""
    return Rows(
        [
            "method",
            "kB kept",
            "clips kept",
            "keeps audio",
            "seconds a task",
            "times naive",
            "on a front",
        ],
        [
            [
                _name(one),
                kept(one),
                f"{one.stores['clips']:.0f}" if one.stores else "–",
                ("yes" if one.stores["keeps_audio"] else "no") if one.stores else "–",
                "–" if one.seconds is None else f"{one.seconds:.1f}",
                times((one.times_naive or {}).get("mean")),
                ", ".join(name for name, labels in comparison.fronts.items() if one.label in labels),
            ]
            for one in comparison.methods
        ],
    )


def by_task(comparison: Comparison) -> Rows:
    """The metric on each task after the whole stream, whatever the task's place in it."""
    tasks = comparison.tasks
    return Rows(
        ["method", *tasks],
        [[_name(m), *(plus_minus(m.by_task[task]) for task in tasks)] for m in comparison.methods],
    )


def by_order(comparison: Comparison) -> Rows:
    """The final average of each order, and the shares of its variance, in per cent."""
    parts = ("order", "seed", "rest")
    return Rows(
        ["method", *(" → ".join(order) for order in comparison.orders), *(f"{p}, %" for p in parts)],
        [
            [
                _name(one),
                *(plus_minus(order) for order in one.by_order),
                *(percent((one.shares or {}).get(part), 0) for part in parts),
            ]
            for one in comparison.methods
        ],
    )


def kept(one: Method) -> str:
    """Kilobytes kept; what the upper bounds need has no size of its own: every recording."""
    return "all data" if one.role == "upper bound" else kilobytes(one.stores.get("bytes"))


def _names(comparison: Comparison, keys: Sequence[str]) -> list[str]:
    return [name_of(key, comparison.metric) for key in keys]


def _name(one: Method) -> str:
    return one.label if one.is_ranked else f"({one.label})"


def _marked(comparison: Comparison, one: Method, key: str) -> str:
    mark = comparison.marks.get(key)
    sign = mark.sign(one.label) if mark is not None else ""
    return f"{plus_minus(one.means.get(key))} {sign}".rstrip()


def _difference(one: Method) -> list[str]:
    final = (one.against or {}).get("final_average")
    if final is None:
        return ["", "", ""]
    return [signed(final), p_value(final["p_holm"]), p_value(final["p_flip_holm"])]
