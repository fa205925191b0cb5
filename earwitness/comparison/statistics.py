"""Which differences the runs can show: paired tests, correction for many, shares of variance.

Two methods are compared by the differences of runs with the same seed and the same order of tasks: what
seed and order do to both cancels. What counts as one independent observation is a choice, ``units``:

- ``runs``: each (seed, order) pair. Speaks about other seeds with *these* orders. What a difference
  moves from order to order widens the interval, which is on the safe side. But a seed gives the same
  first weights in every order, and where these move the difference, runs that share a seed are counted
  as more than they are.
- ``seeds``: differences are averaged over the orders of each seed. For the same claim, whatever seeds
  do, with fewer degrees of freedom.
- ``orders``: averaged over the seeds of each order. For the claim about orders that were not run, as
  far as these are a sample of them; three orders say little, and the interval shows it.

With one order the first two are the same.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.evaluation import mean_interval

__all__ = ["UNITS", "Difference", "Unit", "gather", "holm", "paired", "shares", "sign_flip", "student"]

Unit = tuple[int, int]
"""Seed and order (from 1) of a run."""

Difference = dict[str, float | None]
"""``pairs`` (how many runs both have), ``units`` (how many observations they make), ``mean``, ``low``,
``high`` (95 %), ``p`` (Student), ``p_flip`` (sign flips), and corrected ``p_holm``, ``p_flip_holm``."""

UNITS = ("runs", "seeds", "orders")
_EXACT = 30  # from here on 2^n sums are too many, even halved
_DRAWS = 20_000
_DIGITS = 12  # differences of rates that are equal on paper differ in the last bits


def paired(ours: Mapping[Unit, float], theirs: Mapping[Unit, float], units: str = "runs") -> Difference:
    """Ours minus theirs over the runs that both have, with its Student-t interval and two p-values.

    Only what can be known is there: without a shared run the mean is None, with one unit its interval.

    >>> one = {(0, 1): 0.5, (1, 1): 0.25, (2, 1): 0.5}
    >>> found = paired(one, {(0, 1): 0.25, (1, 1): 0.125, (7, 1): 0.0})
    >>> found["pairs"], found["mean"], found["p_flip"]
    (2, 0.1875, 0.5)

    Raises:
        SettingsError: no such units.
    """
    both = {unit: ours[unit] - theirs[unit] for unit in sorted(ours) if unit in theirs}
    observed = gather(both, units)
    mean, low, high = mean_interval(observed) if observed else (None, None, None)
    rounded, several = np.round(observed, _DIGITS), len(observed) > 1
    return {
        "pairs": len(both),
        "units": len(observed),
        **{"mean": mean, "low": low, "high": high},
        "p": student(rounded) if several else None,
        "p_flip": sign_flip(rounded) if several else None,
    }


def gather(values: Mapping[Unit, float], units: str) -> list[float]:
    """The independent observations among the values of runs: see the module.

    >>> gather({(0, 1): 0.5, (0, 2): 0.25, (1, 1): 0.0}, "seeds")
    [0.375, 0.0]

    Raises:
        SettingsError: no such units.
    """
    if units not in UNITS:
        raise SettingsError(
            f"units are {units!r}{nearest(units, UNITS)}; choose from {', '.join(UNITS)}."
        )
    if units == "runs":
        return list(values.values())
    place = 0 if units == "seeds" else 1
    ordered = sorted(values, key=lambda unit: unit[place])
    groups = groupby(ordered, key=lambda unit: unit[place])
    return [float(np.mean([values[unit] for unit in group])) for _, group in groups]


def student(differences: ArrayLike) -> float:
    """Two-sided p-value of the one-sample t test: the differences are normal around 0.

    "Student", "The probable error of a mean", Biometrika 1908. Where all differences are the same their
    spread says nothing, and the p-value is that of `sign_flip`.

    >>> round(student([1.0, 2.0, 3.0]), 4)
    0.0742

    Raises:
        ProtocolError: fewer than two differences, or not all finite.
    """
    numbers = _row(differences)
    spread = float(numbers.std(ddof=1)) / np.sqrt(len(numbers))
    if np.ptp(numbers) == 0:
        return sign_flip(numbers)
    return float(2 * stdtr(len(numbers) - 1, -abs(numbers.mean()) / spread))


def sign_flip(differences: ArrayLike, *, exact: int = _EXACT, seed: int = 0) -> float:
    """Two-sided p-value of the sign-flip test: the differences are as likely with the other sign.

    The share of all 2^n choices of signs whose sum is at least as far from 0 as the one observed
    (Fisher, "The design of experiments", 1935, § 21). It takes no shape for granted, and cannot be
    below 2 / 2^n: with five units nothing is significant at 5 %. All choices are counted up to n =
    ``exact``, from the sums of either half (Horowitz & Sahni, "Computing partitions with applications
    to the knapsack problem", J. ACM 1974); beyond, 20,000 are drawn, and the observed one is among them
    (Phipson & Smyth, "Permutation p-values should never be zero", 2010).

    >>> sign_flip([1.0, 2.0, 3.0]), sign_flip([1.0, -1.0])
    (0.25, 1.0)

    Raises:
        ProtocolError: fewer than two differences, or not all finite.
    """
    numbers = _row(differences)
    # Sums that are equal on paper are equal here.
    reach = abs(float(numbers.sum())) - 1e-9 * float(np.abs(numbers).sum())
    if reach <= 0:
        return 1.0
    if len(numbers) > exact:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (_DRAWS, len(numbers)))
        return float((1 + (np.abs(signs @ numbers) >= reach).sum()) / (1 + _DRAWS))
    half = len(numbers) // 2
    left, right = _signed_sums(numbers[:half]), np.sort(_signed_sums(numbers[half:]))
    beyond = len(right) - np.searchsorted(right, reach - left)
    return float(2 * beyond.sum() / 2.0 ** len(numbers))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted so that one false claim among all has at most the chance claimed.

    The smallest is multiplied by how many there are, the next by one less, and so on, and none is below
    a smaller one's. What has no p-value (None) was not tested and does not count. Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted


def shares(values: Mapping[Unit, float]) -> dict[str, float] | None:
    """Shares of the variance between runs that go with the order, with the seed, and with neither.

    Variance components of the two-way layout without repetition, from its mean squares, negative ones
    taken as 0 (Searle, Casella & McCulloch, "Variance components", 1992). Shares of the sums of
    squares would give three orders a share of pure chance. Seeds that lack an order are left out; None
    with fewer than two orders or two complete seeds, and where nothing varies.

    >>> shares({(0, 1): 0.1, (0, 2): 0.3, (1, 1): 0.1, (1, 2): 0.3})
    {'order': 1.0, 'seed': 0.0, 'rest': 0.0}
    """
    orders = sorted({order for _, order in values})
    seeds = sorted({seed for seed, _ in values if all((seed, o) in values for o in orders)})
    if len(orders) < 2 or len(seeds) < 2:
        return None
    table = np.array([[values[seed, order] for order in orders] for seed in seeds])
    by_seed, by_order = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    rest = table - by_seed - by_order + table.mean()
    noise = float((rest**2).sum()) / ((len(seeds) - 1) * (len(orders) - 1))
    of_order = max(0.0, float(by_order.var(ddof=1)) - noise / len(seeds))
    of_seed = max(0.0, float(by_seed.var(ddof=1)) - noise / len(orders))
    total = of_order + of_seed + noise
    if total**0.5 < 10.0**-_DIGITS:
        return None
    parts = {"order": of_order, "seed": of_seed, "rest": noise}
    return {name: round(part / total, _DIGITS) for name, part in parts.items()}


def _signed_sums(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of all choices of signs, ``(2^n,)``."""
    sums = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums - number, sums + number])
    return sums


def _row(differences: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(differences, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) < 2 or not np.isfinite(numbers).all():
        raise ProtocolError(
            f"differences are {numbers.tolist()}; expected at least two, all finite numbers."
        )
    return numbers
