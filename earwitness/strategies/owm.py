"""Orthogonal weight modification, and a form of it that hears samples.

Zeng, Chen, Cui, Yu, "Continual learning of context-dependent processing in neural networks",
Nature Machine Intelligence 1 (2019): after each task P learns its mean inputs; later gradients
become G P, so that what old inputs evoke changes little.
"""

from typing import Any, Literal

from earwitness.strategies.projected import ProjectedStrategy

__all__ = ["OWM", "OWMS"]


class OWM(ProjectedStrategy):
    """G <- G P for every task after the first. Settings: see ``ProjectedStrategy``.

    Departs from the authors' code: P learns after each task, as in the paper, not inside every
    batch (``timing="online_all"``); alpha is constant (theirs decays: ``alpha_decay``).

    >>> OWM(layers=("back_end.head",), alpha=0.1).alpha
    0.1
    """

    source = "Zeng et al., Nature Machine Intelligence 2019"
    keeps = "one square matrix a layer"


class OWMS(ProjectedStrategy):
    """OWM whose P learns every clip's inputs, not the means of batches, and whose biases are protected.

    Ours, and named apart because it is not what the paper does. After the tasks so far P is
    (I + S / alpha)^-1, S the sum over their batches of the mean over clips of X'X. The rows of X are
    a layer's inputs for one clip, with a constant 1 for the bias: one row, or where a layer sees
    frames or positions up to 16 of them, whose moments are summed and not averaged, so that such a
    layer learns up to 16 times as much energy from a clip. Means hide what varies; S has it,
    as the subspaces of gradient projection memory do (Saha et al., ICLR 2021), but softly: a
    direction of energy s keeps 1 / (1 + s / alpha) of its gradient and nothing is cut off.

    Args:
        inputs, bias: see ``ProjectedStrategy``; these are the two that differ from ``owm``.
        projection: its other settings.

    >>> OWMS().inputs, OWMS().bias
    ('samples', True)
    """

    source = "earwitness; OWM after Zeng et al. 2019"
    keeps = "one square matrix a layer"

    def __init__(
        self,
        *,
        inputs: Literal["means", "samples"] = "samples",
        bias: bool = True,
        **projection: Any,
    ):
        super().__init__(inputs=inputs, bias=bias, **projection)
