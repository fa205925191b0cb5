"""Orthogonal weight modification.

Zeng, Chen, Cui, Yu, "Continual learning of context-dependent processing in neural networks",
Nature Machine Intelligence 1 (2019): after each task P learns its mean inputs; later gradients
become G P, so that what old inputs evoke changes little.
"""

from earwitness.strategies.projected import ProjectedStrategy

__all__ = ["OWM"]


class OWM(ProjectedStrategy):
    """G <- G P for every task after the first. Settings: see ``ProjectedStrategy``.

    Departs from the authors' code: P learns after each task, as in the paper, not inside every
    batch (``timing="online_all"``); alpha is constant (theirs decays: ``alpha_decay``).

    >>> OWM(layers=("back_end.head",), alpha=0.1).alpha
    0.1
    """

    source = "Zeng et al., Nature Machine Intelligence 2019"
    keeps = "one square matrix a layer"
