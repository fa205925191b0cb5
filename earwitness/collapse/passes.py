"""What needs a second look at embeddings, once the means are known: NC4, NC1 without D x D, and NC5."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from earwitness.collapse import formulas
from earwitness.collapse.accumulator import CollapseAccumulator
from earwitness.collapse.inputs import (
    Floats,
    chunks,
    require_embeddings,
    require_finite,
    require_head,
    require_labels,
    require_table,
)
from earwitness.collapse.undefined import Degenerate, Undefined, Value, tell
from earwitness.errors import ProtocolError

__all__ = ["nc1_by_projection", "nc4_mismatch", "nc5"]

_OF_MEANS = "one mean for each class, as CollapseAccumulator.means gives them."


def nc4_mismatch(h: Any, means: Any, weight: Any, bias: Any = None) -> Value:
    """NC4: the share of clips whose largest logit is not of the class with the nearest mean.

    argmax_c (w_c · h + b_c) against argmin_c ‖h - mu_c‖; the first of equals is taken in both. Means
    are of the training clips. On held-out clips it is the more honest number, and the base rate of the
    two disagreeing; on the training clips it is the published one (Papyan, Han & Donoho, "Prevalence
    of neural collapse", PNAS 2020).

    Args:
        h: ``(clips, D)``, an array, a torch tensor or a list; read some rows at a time.
        means: ``(K, D)`` of the training clips.
        weight: ``(K, D)`` of the last linear layer.
        bias: ``(K,)`` of the same; None for a layer that has none.

    Returns:
        A fraction, from 0; `Undefined` without clips or with a single class.

    Raises:
        ProtocolError: shapes that do not fit, NaN or infinite numbers.

    >>> h, means = [[-2.0], [-0.2], [1.0]], [[-1.0], [1.0]]
    >>> nc4_mismatch(h, means, weight=[[-1.0], [1.0]], bias=[0.0, 1.0])  # boundary at -0.5, not 0
    0.3333333333333333
    """
    shape = _shape(means, "means")
    means = require_table(means, shape, "means", _OF_MEANS)
    head = require_head(weight, bias, *shape)
    if head is None:
        raise ProtocolError("nc4_mismatch: no weight of the last layer was given; NC4 is about it.")
    h = require_embeddings(h, shape[1])
    require_finite(h)
    if shape[0] == 1:
        return Undefined("there is one class, and no other to decide for")
    if not h.shape[0]:
        return Undefined("there are no clips")
    return sum(_mismatches(part, means, *head) for _, part in chunks(h)) / h.shape[0]


def nc1_by_projection(
    batches: Iterable[tuple[Any, Any]], accumulator: CollapseAccumulator
) -> dict[str, Value]:
    """NC1 from a second pass over the same clips, also with classes of equal weight.

    Means first, then the clips on the few directions between them: no D x D matrix, and far fewer
    products. ``nc1`` is that of `CollapseAccumulator.metrics`. ``nc1_balanced`` has Sigma_W^bal, the
    mean over classes of their covariances, where the frequent class does not dominate.

    Args:
        batches: pairs ``(h, y)`` as `CollapseAccumulator.update` takes them; the same clips, in any
            order.
        accumulator: that has seen them all; `CollapseAccumulator` with ``scatter=False`` is enough.

    Raises:
        ProtocolError: other clips than the accumulator's, as their numbers by class or their sums of
            squares show; what ``update`` refuses.

    >>> h, y = [[0.0, 1.0], [1.0, -1.0], [3.0, 0.0], [5.0, 1.0]], [0, 0, 1, 1]
    >>> acc = CollapseAccumulator(2, 2, scatter=False).update(h, y)
    >>> found = nc1_by_projection([(h, y)], acc)
    >>> round(found["nc1"], 12)
    0.1
    """
    moments = accumulator._moments
    try:
        axes, between = formulas.directions(moments.centred())
    except Degenerate as reason:
        return dict.fromkeys(("nc1", "nc1_balanced"), Undefined(str(reason)))
    along = np.zeros((accumulator.num_classes, len(axes)))
    counts, spread = np.zeros_like(moments.counts), np.zeros_like(moments.spread)
    for some_h, y in batches:
        h = require_embeddings(some_h, accumulator.dim)
        codes = require_labels(y, h.shape[0], accumulator.num_classes)
        require_finite(h)
        for start, part in chunks(h):
            some = codes[start : start + len(part)]
            apart = (part - moments.mean[some]) - moments.lost[some]
            np.add.at(along, some, (apart @ axes.T) ** 2)
            np.add.at(spread, some, np.einsum("nd,nd->n", apart, apart))
            np.add.at(counts, some, 1)
    _require_same(counts, spread, accumulator)
    return {
        "nc1": tell(np.sum, along.sum(0) / counts.sum() / between),
        "nc1_balanced": tell(np.sum, (along / counts[:, None]).mean(0) / between),
    }


def nc5(means: Any, outside: Any) -> Value:
    """NC5: mean over classes of |cos(mu_c, mu_OOD)|; near 0 where other data lie across all classes.

    Not centred, as in the package rhubarbwu/neural-collapse, so that a common offset of all embeddings
    brings it near 1.

    Args:
        means: ``(K, D)`` class means.
        outside: ``(D,)`` the mean embedding of data of no class.

    Returns:
        From 0 to 1; `Undefined` where a mean is 0 and has no direction.

    Raises:
        ProtocolError: shapes that do not fit, NaN or infinite numbers.

    >>> nc5([[3.0, 4.0], [1.0, 0.0]], [2.0, 0.0])
    0.8
    """
    shape = _shape(means, "means")
    means = require_table(means, shape, "means", _OF_MEANS)
    outside = require_table(outside, shape[1:], "outside", "one mean of all other clips.")
    lengths = np.linalg.norm(means, axis=1) * np.linalg.norm(outside)
    if not lengths.all():
        return Undefined("a mean is 0, so it has no direction")
    return tell(lambda: np.abs(means @ outside / lengths).mean())


def _shape(means: Any, where: str) -> tuple[int, int]:
    shape = np.shape(means) if not hasattr(means, "shape") else tuple(means.shape)
    if len(shape) != 2 or 0 in shape:
        raise ProtocolError(
            f"{where} has the shape {shape}; expected (classes, dimensions): {_OF_MEANS}"
        )
    return shape[0], shape[1]


def _mismatches(part: Floats, means: Floats, weight: Floats, bias: Floats) -> int:
    """Distances from differences: their expansion into products would lose them beside an offset."""
    nearest = np.empty((len(part), len(means)))
    for number, mean in enumerate(means):
        apart = part - mean
        nearest[:, number] = np.einsum("nd,nd->n", apart, apart)
    return int(((part @ weight.T + bias).argmax(1) != nearest.argmin(1)).sum())


def _require_same(counts: Any, spread: Floats, accumulator: CollapseAccumulator) -> None:
    moments = accumulator._moments
    if (counts != moments.counts).any():
        raise ProtocolError(
            f"nc1_by_projection: the second pass has {counts.tolist()} clips by class, the accumulator "
            f"{moments.counts.tolist()}; expected the same clips."
        )
    # Clips with other embeddings have another scatter about the means; rounding alone stays far below.
    rounding = 1e-6 * moments.spread.max() + counts * (1e-12 * moments.farthest()) ** 2
    wrong = np.flatnonzero(np.abs(spread - moments.spread) > rounding)
    if len(wrong):
        raise ProtocolError(
            f"nc1_by_projection: class {wrong[0]} has another scatter about its mean than in the first "
            f"pass ({spread[wrong[0]]:.6g}, was {moments.spread[wrong[0]]:.6g}); expected the same "
            "embeddings: no augmentation, no random crops, the network in eval mode."
        )
