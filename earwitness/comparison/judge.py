"""What may be said of the methods: differences, marks, fronts, and the sentences these earn."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from earwitness.comparison.reading import View
from earwitness.comparison.result import Mark, Method
from earwitness.comparison.statistics import UNITS, Difference, Unit, gather, holm, paired
from earwitness.comparison.words import (
    MEASURES,
    counted,
    enumerated,
    higher_is_better,
    name_of,
    verdict,
)
from earwitness.metrics import lower_is_better
from earwitness.report.words import percent

__all__ = ["against", "fronts", "headline", "mark", "marks", "notes", "pairs", "pareto"]


def against(methods: Sequence[Method], reference: str | None, view: View) -> list[Method]:
    """The methods with their differences to the reference; Holm's correction is over the methods."""
    base = next((one for one in methods if one.label == reference), None)
    if base is None:
        return list(methods)
    others = [one for one in methods if one is not base]
    found: dict[str, dict[str, Difference]] = {one.label: {} for one in others}
    for measure in MEASURES:
        for label, difference in _differences(others, base, measure, view.units).items():
            found[label][measure] = difference
    by_units = {
        units: _differences(others, base, "final_average", units)
        for units in (UNITS if len(view.orders) > 1 else ())
    }
    return [
        one if one is base else replace(
            one,
            against=found[one.label],
            by_units={units: column[one.label] for units, column in by_units.items()},
        )
        for one in methods
    ]  # fmt: skip


def pairs(methods: Sequence[Method], units: str) -> list[dict[str, Any]]:
    """The difference of the final averages of every two methods; Holm's correction is over all."""
    both = [(one, other) for i, one in enumerate(methods) for other in methods[i + 1 :]]
    values = [one.by_run("final_average") for one in methods]
    runs = dict(zip((one.label for one in methods), values, strict=True))
    differences = _corrected([paired(runs[one.label], runs[other.label], units) for one, other in both])
    return [
        {"one": one.label, "other": other.label, **difference}
        for (one, other), difference in zip(both, differences, strict=True)
    ]


def marks(methods: Sequence[Method], metric: str, units: str) -> dict[str, Mark]:
    """A mark for every measure that at least two ranked methods have."""
    lower, found = lower_is_better(metric), {}
    for measure in MEASURES:
        values = {m.label: m.by_run(measure) for m in methods if m.is_ranked and measure in m.means}
        if len(values) > 1:
            higher = higher_is_better(measure, lower)
            found[measure] = mark(values, higher=higher, units=units, name=name_of(measure, metric))
    return found


def mark(
    values: Mapping[str, Mapping[Unit, float]], *, higher: bool, units: str = "runs", name: str = "mean"
) -> Mark:
    """Who is best in a column, and who cannot be told apart from it.

    The best by its mean is compared with each other method, corrected for how many these are. Whoever
    it does not beat stays beside it. The best is chosen by the same runs, so this is a comparison with
    the best in the sense of Hsu, "Constrained simultaneous confidence intervals for multiple
    comparisons with the best", Annals of Statistics 1984, by Holm's bound and not by his constants.

    >>> one = {(seed, 1): 0.1 + 0.01 * seed for seed in range(3)}
    >>> other = {(0, 1): 0.3, (1, 1): 0.32, (2, 1): 0.33}
    >>> mark({"rwm": one, "ewc": other}, higher=False).group
    ['rwm']
    """
    means = {label: sum(own) / len(own) for label, own in _observed(values, units)}
    first, *others = sorted(means, key=lambda label: -means[label] if higher else means[label])
    compared = _corrected([paired(values[first], values[other], units) for other in others])
    verdicts = dict(zip(others, (verdict(one, higher) for one in compared), strict=True))
    beside = [label for label in others if verdicts[label] != "better"]
    above = [label for label in others if verdicts[label] == "worse"]
    told = f"{first} has the {'highest' if higher else 'lowest'} {name}"
    return Mark([first, *beside], not beside, f"{told}{_told(beside, above, len(others))}.")


def fronts(methods: Sequence[Method], lower: bool) -> dict[str, list[str]]:
    """Who is not beaten in both, final average and cost; by means, of the ranked methods."""
    ranked = [one for one in methods if one.is_ranked]
    final = {one.label: one.means["final_average"]["mean"] or 0.0 for one in ranked}
    costs = {
        "storage": {one.label: one.stores.get("bytes") for one in ranked},
        "time": {one.label: (one.times_naive or {}).get("mean") for one in ranked},
    }
    return {
        name: pareto(
            {k: (cost, final[k]) for k, cost in of.items() if cost is not None}, higher=not lower
        )
        for name, of in costs.items()
    }


def pareto(points: Mapping[str, tuple[float, float]], *, higher: bool) -> list[str]:
    """The names of ``(cost, value)`` that no other beats in one without losing in the other.

    >>> pareto({"a": (0, 0.3), "b": (5, 0.1), "c": (6, 0.2), "d": (0, 0.3)}, higher=False)
    ['a', 'd', 'b']
    """
    losses = {name: (cost, -value if higher else value) for name, (cost, value) in points.items()}

    def beaten(own: tuple[float, float]) -> bool:
        return any(o[0] <= own[0] and o[1] <= own[1] and o != own for o in losses.values())

    return [name for name in sorted(losses, key=lambda n: losses[n]) if not beaten(losses[name])]


def headline(
    methods: Sequence[Method], marked: Mapping[str, Mark], reference: str | None, lower: bool
) -> list[str]:
    """What was found about the final average, in a few sentences."""
    told = [marked["final_average"].told] if "final_average" in marked else []
    if reference is None:
        told.append("No naive strategy was run, so nothing says what doing nothing would have given.")
    elif len(methods) > 1:
        told.append(f"Against {reference} {_against(methods, not lower)}.")
    bounds = [f"{one.label} {percent(one.means['final_average']['mean'])} %"
              for one in methods if not one.is_ranked]  # fmt: skip
    return [*told, f"Bounds, not ranked: {', '.join(bounds)}."] if bounds else told


def notes(methods: Sequence[Method], missing: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know before believing a number."""
    told = [_missing(missing)] if missing else []
    told += _unequal(methods)
    untimed = [one.label for one in methods if one.times_naive is None]
    if untimed and len(untimed) < len(methods):
        told.append(
            f"No naive run of the same folder gives a time to compare with: {enumerated(untimed)}."
        )
    return told


def _differences(
    others: Sequence[Method], base: Method, measure: str, units: str
) -> dict[str, Difference]:
    theirs = base.by_run(measure)
    ours = {one.label: one.by_run(measure) for one in others}
    compared = [label for label, values in ours.items() if values and theirs]
    found = _corrected([paired(ours[label], theirs, units) for label in compared])
    return dict(zip(compared, found, strict=True))


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    student, flips = (holm([one[p] for one in differences]) for p in ("p", "p_flip"))
    return [
        {**one, "p_holm": p, "p_flip_holm": p_flip}
        for one, p, p_flip in zip(differences, student, flips, strict=True)
    ]


def _observed(
    values: Mapping[str, Mapping[Unit, float]], units: str
) -> Iterable[tuple[str, list[float]]]:
    return ((label, gather(own, units)) for label, own in values.items())


def _against(methods: Sequence[Method], higher: bool) -> str:
    compared = [
        m.against.get("final_average") for m in methods if m.is_ranked and m.against is not None
    ]
    found = Counter(verdict(one, higher) for one in compared)
    told = ", ".join(f"{number} {word}" for word, number in sorted(found.items()))
    return f"({counted(len(compared), 'method')}): {told or 'nothing to compare'}"


def _unequal(methods: Sequence[Method]) -> list[str]:
    runs = {one.label: frozenset((seed, order) for seed, order in one.runs) for one in methods}
    usual = Counter(runs.values()).most_common(1)[0][0] if runs else frozenset()
    others = [f"{label} {len(own)}" for label, own in runs.items() if own != usual]
    if not others:
        return []
    return [
        "Not all methods have the same runs. A mean is over a method's own runs; differences and marks "
        f"are over those that both have. Most have {counted(len(usual), 'run')}; these have others: "
        f"{enumerated(others, at_most=60)}."
    ]


def _told(beside: Sequence[str], above: Sequence[str], others: int) -> str:
    """What the best by its mean is to the others; ``above``: better than it where both have runs."""
    if not beside:
        return f", and is better than {'the other' if others == 1 else f'each of the {others} others'}"
    counts = "" if others == 1 else f" ({len(beside)} of {others} others)"
    told = f" by its mean; {enumerated(beside)}{counts} cannot be told apart from it"
    return f"{told}, or better in the runs that both have ({enumerated(above)})" if above else told


def _missing(missing: Sequence[Mapping[str, Any]]) -> str:
    """All of them by name; labels that lack the same runs are named together."""
    lacking: dict[str, dict[int, list[int]]] = {}
    for one in missing:
        lacking.setdefault(one["label"], {}).setdefault(one["order"], []).append(one["seed"])
    groups: dict[str, list[str]] = {}
    for label, seeds_of in lacking.items():
        orders: dict[str, list[str]] = {}
        for order, seeds in seeds_of.items():
            orders.setdefault(_listed("seed", map(str, seeds)), []).append(str(order))
        told = "; ".join(f"{seeds} of {_listed('order', own)}" for seeds, own in orders.items())
        groups.setdefault(told, []).append(label)
    named = "; ".join(f"{', '.join(labels)} ({told})" for told, labels in groups.items())
    runs = counted(len(missing), "planned run is", "planned runs are")
    return f"{runs} not finished and left out: {named}."


def _listed(noun: str, numbers: Iterable[str]) -> str:
    """
    >>> _listed("seed", "12")
    'seeds 1, 2'
    """
    named = list(numbers)
    return f"{noun}{'s' * (len(named) > 1)} {', '.join(named)}"
