"""What a selection leaves of each generator."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from earwitness.selection.selecting import Selection

__all__ = ["Coverage", "coverage", "lost"]


class Coverage(NamedTuple):
    """Clips of a generator: before, those that the gate let through, and those selected.

    Bonafide clips, and fakes of which nobody knows the generator, go by their class.
    """

    corpus: str
    generator: str
    before: int
    passed: int
    selected: int


def coverage(
    selection: Selection, labels: Sequence[str], generators: Sequence[str], *, corpus: str = "-"
) -> list[Coverage]:
    """A line for each generator, in alphabetical order.

    >>> import numpy as np
    >>> from earwitness.selection import select
    >>> labels, of = ["spoof"] * 3, ["A01", "A01", "A02"]
    >>> chosen = select(np.array([[0.0], [1.0], [7.0]]), labels, "abc", generators=of,
    ...                 rule="nearest-mean", count=2)
    >>> [(line.generator, line.before, line.selected) for line in coverage(chosen, labels, of)]
    [('A01', 2, 2), ('A02', 1, 0)]
    """
    names = [own if own != "-" else label for own, label in zip(generators, labels, strict=True)]
    before = Counter(names)
    passed = Counter(name for name, one in zip(names, selection.passed, strict=True) if one)
    selected = Counter(names[place] for place in selection.places)
    return [Coverage(corpus, g, before[g], passed[g], selected[g]) for g in sorted(before)]


def lost(lines: Iterable[Coverage]) -> list[tuple[str, str, int]]:
    """Corpus, name and clips of each generator of which nothing is selected, in no line of them.

    >>> two_detectors = [Coverage("la", "A01", 9, 9, 0), Coverage("la", "A01", 9, 8, 1)]
    >>> lost([*two_detectors, Coverage("la", "A02", 4, 4, 0)])
    [('la', 'A02', 4)]
    """
    before: Counter[tuple[str, str]] = Counter()
    selected: Counter[tuple[str, str]] = Counter()
    for line in lines:
        key = (line.corpus, line.generator)
        before[key] = max(before[key], line.before)
        selected[key] += line.selected
    return [(*key, n) for key, n in before.items() if not selected[key]]
