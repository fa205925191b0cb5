"""One pass over embeddings: counts, means and scatter by class, and the metrics of them."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.collapse import formulas
from earwitness.collapse.formulas import Moments
from earwitness.collapse.inputs import (
    Floats,
    chunks,
    require_embeddings,
    require_finite,
    require_head,
    require_labels,
)
from earwitness.collapse.scatter import Scatter
from earwitness.collapse.undefined import Degenerate, tell
from earwitness.collapse.values import all_values
from earwitness.errors import CheckpointError, ProtocolError, SettingsError

__all__ = ["CollapseAccumulator"]

_VERSION = 1


class CollapseAccumulator:
    """Collapse metrics of embeddings that come in parts, in any order, on any number of processes.

    Chan's updates of means and scatter in float64 (Chan, Golub & LeVeque, "Algorithms for computing the
    sample variance", The American Statistician 1983), with means of two numbers each, so that neither
    the parts nor a common offset change the metrics by more than rounding.

    Args:
        num_classes: K, 1 or more.
        dim: D, of an embedding.
        scatter: keep the scatter within classes, a triangle of D x D numbers: 71 MB at D = 4096.
            Without it ``nc1`` is undefined here, and `nc1_by_projection` gives it in a second pass.

    >>> acc = CollapseAccumulator(num_classes=2, dim=2)
    >>> acc.update([[0.0, 1.0], [0.0, -1.0]], [0, 0]).update([[4.0, 2.0], [4.0, -2.0]], [1, 1])
    CollapseAccumulator(num_classes=2, dim=2, clips=[2, 2])
    >>> found = acc.metrics()
    >>> found["nc1_quotient"], found["cdnv"], found["class_variances"]
    (0.625, 0.15625, (1.0, 4.0))
    >>> found["nc3"]
    'undefined: no weight of the last layer was given'

    Raises:
        SettingsError: no class or no dimension.
    """

    def __init__(self, num_classes: int, dim: int, *, scatter: bool = True):
        for name, value in (("num_classes", num_classes), ("dim", dim)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise SettingsError(f"CollapseAccumulator: {name}={value!r}; expected 1 or more.")
        self.num_classes, self.dim = int(num_classes), int(dim)
        shape = (self.num_classes, self.dim)
        empty = np.zeros(self.num_classes, dtype=np.int64)
        self._moments = Moments(empty, np.zeros(shape), np.zeros(shape), np.zeros(self.num_classes))
        self._scatter = Scatter(self.dim) if scatter else None

    def __repr__(self) -> str:
        counts = self._moments.counts.tolist()
        return f"CollapseAccumulator(num_classes={self.num_classes}, dim={self.dim}, clips={counts})"

    @property
    def counts(self) -> NDArray[np.int64]:
        """Clips of each class, (K,)."""
        return self._moments.counts.copy()

    @property
    def means(self) -> Floats:
        """Class means, (K, D).

        Raises:
            ProtocolError: a class has no clip.
        """
        try:
            moments = self._moments.require_all_classes()
        except Degenerate as reason:
            raise ProtocolError(f"means of an accumulator: {reason}.") from None
        return moments.mean + moments.lost

    def update(self, h: Any, y: Any) -> Self:
        """Take embeddings in: all of them, or after an error none.

        Args:
            h: ``(clips, D)`` numbers, an array, a torch tensor or a list; memory-mapped arrays are read
                some rows at a time.
            y: ``(clips,)`` whole numbers, the class of each from 0 to K - 1.

        Raises:
            ProtocolError: another shape, NaN or infinite numbers, or a class out of range.
        """
        h = require_embeddings(h, self.dim)
        codes = require_labels(y, h.shape[0], self.num_classes)
        require_finite(h)
        for start, part in chunks(h):
            self._take(part, codes[start : start + len(part)])
        return self

    def merge(self, other: "CollapseAccumulator") -> Self:
        """Take in what another has seen, which stays as it is.

        Raises:
            SettingsError: it has other classes or dimensions, or only one of the two keeps scatter.
        """
        if not isinstance(other, CollapseAccumulator) or self._kind() != other._kind():
            theirs = other._kind() if isinstance(other, CollapseAccumulator) else repr(other)
            raise SettingsError(
                f"merge: this accumulator is of {self._kind()}, the other of {theirs}; "
                "only those of the same kind can be merged."
            )
        if self._scatter is not None and other._scatter is not None:
            self._scatter.merge(other._scatter)
        self._absorb(np.arange(self.num_classes), other._moments)
        return self

    def metrics(self, weight: Any = None, bias: Any = None) -> dict[str, Any]:
        """All metrics by name; one without a value is an `Undefined`, which says why.

        What each is stands in `earwitness.collapse`. Besides numbers there are ``dim`` and the tuples
        ``counts`` and ``class_variances``, one entry a class.

        Args:
            weight: ``(K, D)``, of the last linear layer, whose rows are in the order of the classes.
            bias: ``(K,)``, of the same; None for a layer that has none.

        Raises:
            ProtocolError: a weight or a bias of another shape, or not finite.
        """
        head = require_head(weight, bias, self.num_classes, self.dim)
        return all_values(self._moments, tell(self._nc1), head)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was seen, as plain arrays under names (for ``np.savez``); `from_state` is the way back.

        >>> acc = CollapseAccumulator(2, 3).update([[1, 2, 3], [4, 5, 6.5]], [0, 1])
        >>> CollapseAccumulator.from_state(acc.state()).metrics() == acc.metrics()
        True
        """
        arrays = {"version": np.array(_VERSION)}
        arrays |= {name: value.copy() for name, value in self._moments._asdict().items()}
        return arrays | ({"scatter": self._scatter.numbers.copy()} if self._scatter else {})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "CollapseAccumulator":
        """The accumulator whose `state` this is; also what ``np.load`` gives of one.

        Raises:
            CheckpointError: an array is missing, of another shape, or not what it can be.
        """
        missing = [name for name in ("version", *Moments._fields) if name not in state]
        if missing:
            raise CheckpointError(f"state of an accumulator: no array {missing[0]!r}.")
        if np.asarray(state["version"]).tolist() != _VERSION:
            raise CheckpointError(
                f"state of an accumulator: version {state['version']}, expected {_VERSION}."
            )
        shape = np.shape(state["mean"])
        if len(shape) != 2 or 0 in shape:
            raise CheckpointError(
                f"state of an accumulator: mean has the shape {shape}, expected (K, D)."
            )
        made = cls(*shape, scatter="scatter" in state)
        for name, own in made._moments._asdict().items():
            own[...] = _require_state(state[name], own, name)
        if made._scatter is not None:
            numbers = made._scatter.numbers
            numbers[...] = _require_state(state["scatter"], numbers, "scatter")
        return made

    def _kind(self) -> str:
        kept = "with" if self._scatter is not None else "without"
        return f"{self.num_classes} class(es), {self.dim} dimension(s), {kept} scatter"

    def _take(self, part: Floats, codes: NDArray[np.int64]) -> None:
        """One part: centred by class in a copy, then one product for the scatter of all classes."""
        order = np.argsort(codes, kind="stable")
        rows, codes = part[order], codes[order]
        classes, starts = np.unique(codes, return_index=True)
        ends = np.append(starts[1:], len(rows))
        seen = [_centre(rows[start:end]) for start, end in zip(starts, ends, strict=True)]
        mean, lost, spread = (np.array(some) for some in zip(*seen, strict=True))
        if self._scatter is not None:
            self._scatter.add(rows)
        self._absorb(classes, Moments(ends - starts, mean, lost, spread))

    def _absorb(self, classes: NDArray[np.int64], more: Moments) -> None:
        """Chan's formula: ``more`` has one row for each of ``classes``."""
        own = self._moments.of(classes)
        total = np.maximum(own.counts + more.counts, 1)
        apart = (more.mean - own.mean) + (more.lost - own.lost)
        weight = own.counts / total * more.counts  # 0 where one of the two has seen nothing
        between = np.sqrt(weight)[:, None] * apart
        if self._scatter is not None:
            self._scatter.add(between[weight > 0])
        mean, lost = _sum(own.mean, apart * (more.counts / total)[:, None])
        mean, lost = _sum(mean, own.lost + lost)
        first = own.counts == 0  # taken as it is: a difference from 0 would round
        mean[first], lost[first] = more.mean[first], more.lost[first]
        spread = own.spread + more.spread + (between**2).sum(1)
        new = Moments(own.counts + more.counts, mean, lost, spread)
        for values, value in zip(self._moments, new, strict=True):
            values[classes] = value

    def _nc1(self) -> float:
        """tr(Sigma_W Sigma_B^+) / K = Σ_j q_j^T Sigma_W q_j / (K lambda_j), over few directions q_j."""
        centred = self._moments.centred()
        if self._scatter is None:
            raise Degenerate("no scatter was kept; nc1_by_projection gives it in a second pass")
        axes, between = formulas.directions(centred)
        return (self._scatter.along(axes) / between).sum() / self._moments.counts.sum()


def _centre(rows: Floats) -> tuple[Floats, Floats, float]:
    """Takes the mean from the rows, in place; the mean as two numbers, and the squares' sum left."""
    first = rows.mean(0)
    rows -= first
    rest = rows.mean(0)  # what the sum over large numbers rounded away
    rows -= rest
    return *_sum(first, rest), float(np.einsum("nd,nd->n", rows, rows).sum())


def _sum(large: Floats, small: Floats) -> tuple[Floats, Floats]:
    """A sum and what its rounding lost (Knuth's two-sum)."""
    total = large + small
    part = total - large
    return total, (large - (total - part)) + (small - part)


def _require_state(values: Any, own: NDArray[Any], name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != own.shape or array.dtype != own.dtype:
        raise CheckpointError(
            f"state of an accumulator: {name} is {array.dtype} of the shape {array.shape}, "
            f"expected {own.dtype} of {own.shape}."
        )
    if not np.isfinite(array).all() or (name in ("counts", "spread") and (array < 0).any()):
        raise CheckpointError(f"state of an accumulator: {name} holds numbers that can't be.")
    return array
