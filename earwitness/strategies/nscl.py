"""Adam-NSCL: updates within the null space of the covariance of all old inputs.

Wang, Li, Sun, Xu, "Training Networks in Null Space of Feature Covariance for Continual Learning",
CVPR 2021. A layer's covariance C = sum of x x' over the inputs x of all tasks so far; the null space
is spanned by the eigenvectors U of C with an eigenvalue of at most ``a`` times the smallest; the
optimiser's update D (after Adam's scaling, momentum and all) becomes D U U'.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.errors import SettingsError
from earwitness.strategies.protected import ProtectedLayer
from earwitness.strategies.subspace import SubspaceStrategy, triangle

__all__ = ["NSCL", "null_space"]


def null_space(inputs: Tensor, a: float, floor: float) -> tuple[Tensor, Tensor]:
    """Eigenvectors of inputs' inputs: (d, d - m), and (d, m) with those of the null space.

    Those have an eigenvalue <= a max(smallest, floor x largest).

    >>> held, null = null_space(torch.diag(torch.tensor([9.0, 1.0, 2.0])).double(), 5.0, 0.0)
    >>> held.shape, null.shape
    (torch.Size([3, 1]), torch.Size([3, 2]))
    """
    _, sizes, vectors = torch.linalg.svd(inputs, full_matrices=True)
    values = sizes.new_zeros(inputs.shape[1])
    values[: len(sizes)] = sizes.square()
    null = values <= a * torch.maximum(values.min(), floor * values.max())
    # Contiguous, as they will be when loaded again: products of a transposed view differ in a bit.
    return vectors[~null].T.contiguous(), vectors[null].T.contiguous()


class NSCL(SubspaceStrategy):
    """D <- D U U': the optimiser's update, with any optimiser, kept in the null space of old inputs.

    Departs from the released code: the output layer is protected as the others are (theirs has one a
    task), and what no layer holds is frozen after the first task (theirs: EWC on batch normalisation).

    Args:
        a: how many times the smallest eigenvalue still counts as null (paper: 10 for 10 tasks, 30
            for 20).
        inputs: ``means`` of batches (released code), or the ``samples`` themselves (paper).
        normalise: divide U U' by its Frobenius norm, as the released code does. It makes every step
            sqrt(rank) times shorter, whence another learning rate for each layer and task; the paper's
            equations don't have it.
        floor: eigenvalues below this share of the largest count as equal. The released code's float32
            gives about 1e-7 unasked; in float64 without it the smallest eigenvalue is so much
            smaller that hardly a direction would be free.
        subspace: settings of ``SubspaceStrategy``.

    >>> NSCL(a=30.0).project
    'update'
    """

    source = "Wang et al., CVPR 2021"
    keeps = "the covariance of old inputs and its null space, two matrices a layer"

    def __init__(
        self,
        *,
        a: float = 10.0,
        inputs: Literal["means", "samples"] = "means",
        normalise: bool = False,
        floor: float = 1e-7,
        **subspace: Any,
    ):
        super().__init__(**subspace)
        if not (a >= 1 and 0 <= floor < 1):
            raise SettingsError(f"expected a >= 1 and 0 <= floor < 1, not {a} and {floor}.")
        self.a, self.inputs, self.normalise, self.floor = a, inputs, normalise, floor
        self._factors: dict[str, Tensor] = {}  # R with R'R = C
        self._null: dict[str, Tensor] = {}  # a basis of the null space,
        self._held: dict[str, Tensor] = {}  # or of what is left, where that is smaller

    def rows(self, layer: ProtectedLayer, inputs: Tensor) -> Tensor:
        """The batch's mean inputs, or its clips' own."""
        return layer.rows(inputs) if self.inputs == "means" else super().rows(layer, inputs)

    def learn(self, name: str, inputs: Tensor, position: int) -> None:
        """Add a task's inputs (n, d) to the covariance."""
        factor = self._factors.get(name, inputs[:0])
        self._factors[name] = triangle(torch.cat([factor, inputs]))
        held, null = null_space(self._factors[name], self.a, self.floor)
        self._null.pop(name, None), self._held.pop(name, None)
        smaller = self._held if held.shape[1] < null.shape[1] else self._null
        smaller[name] = held if smaller is self._held else null

    def turn(self, name: str, matrix: Tensor) -> Tensor:
        """D U U' = D - D H H', divided by ||U U'|| = sqrt(rank) on request."""
        if name in self._held:
            held = self._held[name].to(matrix)
            turned = matrix - (matrix @ held) @ held.T
        else:
            null = self._null[name].to(matrix)
            turned = (matrix @ null) @ null.T
        free = round((1 - self.share(name)) * matrix.shape[1])
        return turned / free**0.5 if self.normalise else turned

    def share(self, name: str) -> float:
        """1 - rank of the null space / d."""
        if name in self._held:
            return self._held[name].shape[1] / len(self._held[name])
        return 1 - self._null[name].shape[1] / len(self._null[name])

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Factors (n, d) of the covariances, and null spaces (d, m) or their complements (d, d - m)."""
        return {"factors": self._factors, "null": self._null, "held": self._held}
