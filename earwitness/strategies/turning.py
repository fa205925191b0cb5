"""How much a gradient was turned: the proof that a strategy did anything at all."""

from torch import Tensor

__all__ = ["NO_TURN", "length_ratio", "turning"]

NO_TURN = 1e-8  # 1 - cosine: an angle below a hundredth of a degree


def length_ratio(given: Tensor, turned: Tensor) -> float:
    """||turned|| / ||given||; 1 where nothing was given."""
    size = float(given.norm())
    return float(turned.norm()) / size if size else 1.0


def turning(given: Tensor, turned: Tensor) -> float:
    """1 - cosine of the two, in float64: a change of length alone is a learning rate, not an action.

    >>> import torch
    >>> turning(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0]))
    1.0
    """
    given, turned = given.flatten().double(), turned.flatten().double()
    if not given.any():
        return 0.0
    return 1 - float(given @ turned / (given.norm() * turned.norm())) if turned.any() else 1.0
