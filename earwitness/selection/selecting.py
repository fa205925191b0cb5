"""Choose some of many clips by their embeddings, class by class.

Two passes over the embeddings (one for centres, one for distances; herding takes one a clip), in memory
that doesn't grow with them: of each clip only labels, ids and some numbers are held.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError, SettingsError
from earwitness.selection.base import Chosen, Selector
from earwitness.selection.pool import Pool
from earwitness.selection.quotas import class_counts

__all__ = ["Selection", "select"]

Names = Sequence[str]


@dataclass(frozen=True)
class Selection:
    """Which clips were chosen, class by class, cluster by cluster, the best first.

    ``places`` say where each stands among the clips that were given; ``rank`` counts from 1 in each
    cluster; ``distance`` is NaN where the rule looks at none. ``passed`` says of every clip that was
    given whether the gate let it through, ``rule`` the rule with all its settings.
    """

    places: NDArray[np.intp]
    cluster: NDArray[np.intp]
    distance: NDArray[np.float64]
    rank: NDArray[np.intp]
    passed: NDArray[np.bool_]
    rule: dict[str, Any]

    def __len__(self) -> int:
        return len(self.places)


def select(
    embeddings: NDArray[Any],
    labels: Names,
    ids: Names,
    *,
    generators: Names | None = None,
    margins: ArrayLike | None = None,
    rows: ArrayLike | None = None,
    rule: str | Selector = "per-generator-cap",
    rate: float | None = None,
    count: int | None = None,
    balance: bool = True,
    gate: bool = True,
    seed: int = 0,
    **settings: Any,
) -> Selection:
    """Choose clips of each class by a rule; the same input gives the same choice, to the byte.

    Args:
        embeddings: (rows, dimensions), floating point, in memory or mapped from a file.
        labels: the class of each clip.
        ids: the id of each clip; ties go by them.
        generators: of each clip, "-" where there is none or nobody knows it.
        margins: of each clip, how far the detector's score is on the side of its own class; negative
            where the detector is wrong. Score minus threshold, with its sign changed for spoofs.
        rows: where each clip's embedding is; clip n's is row n unless given.
        rule: a name from the shelf, with its ``settings``, or a rule that is built already.
        rate: the share of each class, rounded down, at least one clip. Or
        count: how many clips in all, or all there are.
        balance: equally many clips of each class: as many as the one that gives the fewest.
        gate: where margins are known, choose only among clips that the detector gets right.
        seed: of all that is drawn.

    >>> embeddings = np.array([[0.0], [0.2], [0.9], [5.0], [5.1], [9.0]])
    >>> labels, ids = ["bonafide"] * 3 + ["spoof"] * 3, list("abcdef")
    >>> chosen = select(embeddings, labels, ids, rule="nearest-mean", count=4)
    >>> [ids[place] for place in chosen.places], chosen.rank.tolist()
    (['b', 'a', 'e', 'd'], [1, 2, 1, 2])

    Raises:
        SettingsError: no such rule or setting, not one of rate and count, margins that a rule needs.
        ProtocolError: columns of different lengths, repeated ids, embeddings that are not finite, a
            class of which the gate leaves nothing.
    """
    selector = _built(rule, settings)
    clips = _Clips(embeddings, labels, ids, generators, margins, rows)
    if selector.needs_margins and clips.margins is None:
        raise SettingsError("this rule needs the detector's margins: give its scores of the clips.")
    passed = clips.passed(gate)
    left = [places[passed[places]] for places in clips.of_class]
    counts = class_counts(
        *([len(places) for places in some] for some in (clips.of_class, left)),
        rate=rate, count=count, balance=balance,
    )  # fmt: skip
    parts = []
    for n, (places, wanted) in enumerate(zip(left, counts, strict=True)):
        pool = clips.pool(places, clips.classes[n])
        chosen = selector.choose(pool, wanted, np.random.default_rng([seed, n]))
        parts.append(chosen._replace(places=places[chosen.places]))
    together = Chosen(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    rank = np.concatenate([_ranks(part.cluster) for part in parts])
    told = getattr(selector, "built_from", {"name": type(selector).__name__})
    return Selection(*together, rank=rank, passed=passed, rule=told)


def _built(rule: str | Selector, settings: dict[str, Any]) -> Selector:
    from earwitness.selection import SELECTORS

    if isinstance(rule, str):
        built: Selector = SELECTORS.build(rule, **settings)
        return built
    if settings:
        raise SettingsError(f"the rule is built already, so it can't be given {', '.join(settings)}.")
    return rule


class _Clips:
    """What was given, checked, with numbers for names."""

    def __init__(
        self,
        embeddings: NDArray[Any],
        labels: Names,
        ids: Names,
        generators: Names | None,
        margins: ArrayLike | None,
        rows: ArrayLike | None,
    ):
        self.embeddings = _require_array(embeddings)
        self.rows = np.arange(len(embeddings)) if rows is None else np.asarray(rows)
        self.margins = None if margins is None else np.asarray(margins, dtype=np.float64)
        self.generators = _generators(["-"] * len(ids) if generators is None else generators)
        self.classes, label = _numbered(labels)
        self.of_class = [np.flatnonzero(label == n) for n in range(len(self.classes))]
        _require_equally_many(
            len(ids),
            {
                "embeddings": self.rows,
                "labels": label,
                "generators": self.generators,
                "margins": self.rows if self.margins is None else self.margins,
            },
        )
        _require_within(self.rows, len(embeddings))
        self.order = _alphabetical(ids)

    def passed(self, gate: bool) -> NDArray[np.bool_]:
        """Which clips may be chosen.

        Raises:
            ProtocolError: margins that are not finite, or none that is positive in a class.
        """
        if self.margins is None:
            return np.full(len(self.rows), True)
        if not np.isfinite(self.margins).all():
            raise ProtocolError("some margins are NaN or infinite, expected numbers.")
        passed = self.margins > 0 if gate else np.full(len(self.rows), True)
        for name, places in zip(self.classes, self.of_class, strict=True):
            if not passed[places].any():
                raise ProtocolError(
                    f"the detector gets none of the {len(places)} clip(s) of {name!r} right, so the "
                    "gate leaves none; look at the threshold, or select without the gate."
                )
        return passed

    def pool(self, places: NDArray[np.intp], label: str) -> Pool:
        """Some of the clips."""
        return Pool(
            self.embeddings,
            self.rows[places],
            self.order[places],
            label,
            self.generators[places],
            None if self.margins is None else self.margins[places],
        )


def _require_array(embeddings: NDArray[Any]) -> NDArray[Any]:
    shape, kind = getattr(embeddings, "shape", None), getattr(embeddings, "dtype", None)
    if shape is None or len(shape) != 2 or not shape[1] or not np.issubdtype(kind, np.floating):
        raise ProtocolError(
            f"expected a floating-point array of shape (clips, dimensions), found {kind} of {shape}."
        )
    return embeddings


def _require_equally_many(clips: int, columns: dict[str, Any]) -> None:
    if not clips:
        raise ProtocolError("there are no clips to select from.")
    for name, values in columns.items():
        if len(values) != clips:
            raise ProtocolError(f"{clips} ids, but {len(values)} {name}; expected equally many.")


def _require_within(rows: NDArray[np.intp], there: int) -> None:
    outside = np.flatnonzero((rows < 0) | (rows >= there))
    if len(outside):
        raise ProtocolError(
            f"clip {outside[0]} is said to have row {rows[outside[0]]} of {there} embeddings."
        )


def _numbered(names: Names) -> tuple[list[str], NDArray[np.intp]]:
    """The distinct names in alphabetical order, and the number of each."""
    distinct = sorted(set(names))
    number = {name: n for n, name in enumerate(distinct)}
    return distinct, np.fromiter((number[name] for name in names), np.intp, len(names))


def _generators(names: Names) -> NDArray[np.intp]:
    """A number for each generator, -1 where the name is "-"."""
    distinct, number = _numbered(names)
    if "-" in distinct:
        number[number == distinct.index("-")] = -1
    return number


def _alphabetical(ids: Names) -> NDArray[np.intp]:
    """The rank of each id."""
    by_id = sorted(range(len(ids)), key=ids.__getitem__)
    repeated = sum(ids[a] == ids[b] for a, b in zip(by_id, by_id[1:], strict=False))
    if repeated:
        raise ProtocolError(f"{repeated} id(s) stand there twice; every clip needs one of its own.")
    order = np.empty(len(ids), dtype=np.intp)
    order[by_id] = np.arange(len(ids))
    return order


def _ranks(cluster: NDArray[np.intp]) -> NDArray[np.intp]:
    """From 1 in each run of equal numbers.

    >>> _ranks(np.array([0, 0, 0, 2, 2])).tolist()
    [1, 2, 3, 1, 2]
    """
    starts = np.flatnonzero(np.diff(cluster, prepend=-1))
    return np.arange(1, len(cluster) + 1) - np.repeat(starts, np.diff(starts, append=len(cluster)))
