"""Gradient projection memory, and its scaled form: each layer keeps a basis of its old inputs.

GPM: Saha, Garg, Roy, "Gradient Projection Memory for Continual Learning", ICLR 2021. SGP: Saha, Roy,
"Continual Learning with Scaled Gradient Projection", AAAI 2023. In our rows-are-inputs convention a
task's inputs are R (n, d), a layer's basis is M (d, k), and

    GPM   G <- G - G M M'            SGP   G <- G - G M diag(importance) M'

After a task, R^ = R - R M M' is what the basis misses. Its leading right singular vectors join the
basis until the part of R inside the basis has the share ``threshold`` of ||R||^2.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.errors import SettingsError
from earwitness.strategies.subspace import SubspaceStrategy

__all__ = ["GPM", "SGP", "new_directions"]


def new_directions(basis: Tensor, inputs: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Orthonormal directions (d, m) to add to ``basis`` (d, k), and their singular values (m,).

    Singular values that are rounding (below max(n, d) eps ||inputs||) give no direction.

    >>> rows = torch.diag(torch.tensor([3.0, 1.0, 0.0])).double()
    >>> [new_directions(rows[:, :0], rows, share)[1].tolist() for share in (0.8, 0.95, 1.0)]
    [[3.0], [3.0, 1.0], [3.0, 1.0]]
    """
    missed = inputs - (inputs @ basis) @ basis.T
    _, sizes, vectors = torch.linalg.svd(missed, full_matrices=False)
    noise = max(inputs.shape) * torch.finfo(inputs.dtype).eps * inputs.norm()
    energy = torch.where(sizes > noise, sizes, 0.0).square()
    still_missed = energy.flip(0).cumsum(0).flip(0)  # with the leading 0, 1, 2, ... directions added
    count = int((still_missed > (1 - threshold) * inputs.square().sum()).sum())
    count = min(count, len(basis) - basis.shape[1])
    fresh = vectors[:count].T
    for _ in range(2):  # the singular vectors of small values lean a little towards the basis
        fresh = torch.linalg.qr(fresh - basis @ (basis.T @ fresh)).Q
    return fresh, sizes[:count]


class GPM(SubspaceStrategy):
    """G <- G - G M M': learn only orthogonally to the space that holds most of the old inputs.

    Departs from the released code: the first task's basis reaches the threshold, as the paper and all
    later tasks have it (theirs stops one vector short); biases are learned as one more input.

    Args:
        threshold: share of the inputs' squared norm that is protected, after the first task.
        growth: how much it grows with each further task; never beyond 1.
        clips: random clips of a task whose inputs are looked at.
        project: ``gradient``, or ``update``: the optimiser's step itself, needed with Adam.
        subspace: settings of ``SubspaceStrategy``.

    >>> GPM(threshold=0.99, growth=0.0).clips
    128
    """

    source = "Saha et al., ICLR 2021"
    keeps = "an orthonormal basis of old inputs a layer"

    def __init__(
        self,
        *,
        threshold: float = 0.97,
        growth: float = 0.003,
        clips: int = 128,
        project: Literal["gradient", "update"] = "gradient",
        **subspace: Any,
    ):
        super().__init__(**subspace)
        if not (0 < threshold <= 1 and growth >= 0 and clips >= 1):
            raise SettingsError(
                f"expected 0 < threshold <= 1, growth >= 0 and clips >= 1, not {threshold}, "
                f"{growth} and {clips}."
            )
        self.threshold, self.growth, self.clips, self.project = threshold, growth, clips, project
        self._bases: dict[str, Tensor] = {}
        self._importance: dict[str, Tensor] = {}

    def learn(self, name: str, inputs: Tensor, position: int) -> None:
        """Extend the layer's basis by what it misses of a task's inputs (n, d)."""
        basis = self._bases.get(name, inputs.new_zeros(inputs.shape[1], 0))
        fresh, sizes = new_directions(basis, inputs, min(1.0, self.threshold + self.growth * position))
        sizes = torch.cat([(inputs @ basis).norm(dim=0), sizes])
        earlier = torch.zeros_like(sizes)
        earlier[: basis.shape[1]] = self._importance.get(name, sizes[:0])
        self._bases[name] = torch.cat([basis, fresh], 1)
        self._importance[name] = self.importance(earlier, sizes)

    def importance(self, earlier: Tensor, sizes: Tensor) -> Tensor:
        """How strongly each direction is protected, given how strongly so far and ||R m|| now."""
        return torch.ones_like(sizes)

    def turn(self, name: str, matrix: Tensor) -> Tensor:
        """G - G M diag(importance) M'."""
        basis, importance = self._bases[name].to(matrix), self._importance[name].to(matrix)
        return matrix - (matrix @ basis * importance) @ basis.T

    def share(self, name: str) -> float:
        """tr(M diag(importance) M') / d."""
        return float(self._importance[name].sum()) / len(self._bases[name])

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Bases (d, k) and importance (k,)."""
        return {"bases": self._bases, "importance": self._importance}


class SGP(GPM):
    """GPM with each direction protected by its importance, so that less used ones go on learning.

    A task's importance of direction i is (a + 1) s_i / (a s_i + max s), s_i = ||R m_i||; over tasks
    it is added up, to at most 1.

    Args:
        scale: a. 0 makes importance proportional to s, infinity makes it 1, which is GPM.
        gpm: settings of ``GPM``.

    >>> SGP(scale=1.0).importance(torch.zeros(2), torch.tensor([3.0, 1.0])).tolist()
    [1.0, 0.5]
    """

    source = "Saha and Roy, AAAI 2023"
    keeps = "an orthonormal basis of old inputs a layer, and how important each direction is"

    def __init__(self, *, scale: float = 10.0, **gpm: Any):
        super().__init__(**gpm)
        if not scale >= 0:
            raise SettingsError(f"scale is {scale}, expected >= 0.")
        self.scale = scale

    def importance(self, earlier: Tensor, sizes: Tensor) -> Tensor:
        """min(1, earlier + (a + 1) s / (a s + max s))."""
        if not sizes.any():
            return earlier
        now = (self.scale + 1) * sizes / (self.scale * sizes + sizes.max())
        return (earlier + now).clamp(max=1)
