"""Recall against review budget: what share of the fakes is found in the first hours of listening.

An analyst hears recordings in the order of their scores, most suspicious first, and stops when the
time is up. Not a metric of the shelf: it needs what each recording costs to hear.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError, SettingsError

__all__ = ["Review", "review", "review_band"]

_Floats = NDArray[np.float64]


class Review(NamedTuple):
    """Recall after each block of equal scores; both arrays begin at 0 and rise.

    ``cost`` is cumulative, in the unit of the costs, ``recall`` a share of the spoofs;
    ``oracle_cost`` is what finding each further spoof costs who hears nothing else, shortest first.
    """

    cost: _Floats
    recall: _Floats
    oracle_cost: _Floats

    @property
    def total(self) -> float:
        """What hearing everything costs."""
        return float(self.cost[-1])

    def recall_at(self, budget: float) -> float:
        """The share of the spoofs found for a budget.

        Inside a block of equal scores it rises evenly, the mean over random orders; so it does
        while one recording is heard.
        """
        return float(np.interp(budget, self.cost, self.recall))

    def oracle_at(self, budget: float) -> float:
        """What nobody can beat: only spoofs are heard, the cheapest first."""
        found = np.arange(len(self.oracle_cost) + 1) / len(self.oracle_cost)
        return float(np.interp(budget, np.append(0.0, self.oracle_cost), found))

    def random_at(self, budget: float) -> float:
        """What hearing in any order finds on average."""
        return min(budget / self.total, 1.0)

    def budget_for(self, recall: float) -> float:
        """What finding this share of the spoofs costs; the first block that reaches it, in part.

        Raises:
            SettingsError: the share is not between 0 and 1.
        """
        if not 0 <= recall <= 1:
            raise SettingsError(f"recall is {recall}; expected a share between 0 and 1.")
        place = int(np.searchsorted(self.recall, recall - 1e-12))
        if place == 0:
            return 0.0
        before, gained = self.recall[place - 1], self.recall[place] - self.recall[place - 1]
        share = min((recall - before) / gained, 1.0)
        return float(self.cost[place - 1] + share * (self.cost[place] - self.cost[place - 1]))

    def area(self, lowest: float = 0.001) -> float:
        """Mean recall over the logarithm of the budget, from ``lowest`` of the total to all of it."""
        shares = np.geomspace(lowest, 1.0, 512)
        recalls = np.interp(shares * self.total, self.cost, self.recall)
        return float(np.trapezoid(recalls, np.log(shares)) / -np.log(lowest))


def review(
    scores: ArrayLike,
    is_spoof: ArrayLike,
    costs: ArrayLike | None = None,
    *,
    times: ArrayLike | None = None,
) -> Review:
    """The curve of recall against cost.

    Args:
        scores: ``(n,)``, higher = more bonafide; the lowest are heard first.
        is_spoof: ``(n,)`` booleans.
        costs: ``(n,)`` seconds of each recording, above 0; without them each costs 1.
        times: ``(n,)`` how often each recording stands there, for resamples; once unless given.

    Raises:
        ProtocolError: lengths differ, no spoof, scores that are not finite or costs not above 0.

    >>> told = review([0, 1, 2, 3], [True, False, True, False], costs=[10, 20, 30, 40])
    >>> told.cost.tolist(), told.recall.tolist()
    ([0.0, 10.0, 30.0, 60.0, 100.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    >>> told.recall_at(10), told.random_at(10), told.oracle_at(40), told.budget_for(0.75)
    (0.5, 0.1, 1.0, 45.0)
    """
    values, fake = np.asarray(scores, dtype=np.float64), np.asarray(is_spoof, dtype=bool)
    price = np.ones(len(values)) if costs is None else np.asarray(costs, dtype=np.float64)
    if not values.shape == fake.shape == price.shape or values.ndim != 1:
        raise ProtocolError(
            f"scores, classes and costs of shapes {values.shape}, {fake.shape}, {price.shape}; "
            "expected one of each for every trial."
        )
    if not fake.any() or not np.isfinite(values).all() or not (price > 0).all():
        raise ProtocolError(
            f"{int(fake.sum())} spoofs, {int((~np.isfinite(values)).sum())} scores that are not finite "
            f"and {int((~(price > 0)).sum())} costs that are not above 0; expected some, none, none."
        )
    often = np.ones(len(values), dtype=np.int64) if times is None else np.asarray(times)
    order = np.argsort(values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order]) > 0), len(values) - 1)
    cost = np.append(0.0, np.cumsum((price * often)[order])[ends])
    found = np.cumsum((fake * often)[order])[ends]
    oracle = np.cumsum(np.sort(np.repeat(price[fake], often[fake])))
    return Review(cost, np.append(0.0, found / found[-1]), oracle)


def review_band(
    scores: ArrayLike,
    is_spoof: ArrayLike,
    costs: ArrayLike | None,
    shares: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[_Floats, _Floats]:
    """A bootstrap band: recall at shares of the total cost, low and high, ``(len(shares),)`` each.

    Recordings are drawn with replacement, or whole clusters of them (speakers); each share by itself,
    so the whole curve leaves the band more often than a point does.

    Args:
        scores, is_spoof, costs: as for `review`.
        shares: of the total cost, 0 to 1.
        clusters: ``(n,)`` the speaker of each recording, or None to draw recordings.
        draws, level, seed: of the bootstrap.

    >>> low, high = review_band([0, 1, 2, 3], [True, False, True, False], None, [0.5], draws=50)
    >>> bool(low[0] < high[0])
    True
    """
    rng = np.random.default_rng(seed)
    fake = np.asarray(is_spoof, dtype=bool)
    units = np.arange(len(fake)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    recalls = []
    for _ in range(draws):
        drawn = np.bincount(
            rng.integers(units.max() + 1, size=units.max() + 1), minlength=units.max() + 1
        )
        times = drawn[units]
        if (times * fake).any():
            told = review(scores, fake, costs, times=times)
            recalls.append([told.recall_at(share * told.total) for share in np.asarray(shares)])
    if not recalls:
        raise ProtocolError(f"none of {draws} draws has a spoof: too few recordings or clusters.")
    low, high = np.quantile(recalls, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
