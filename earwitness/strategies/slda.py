"""Deep streaming linear discriminant analysis: class means and one covariance, a clip at a time.

Hayes & Kanan, "Lifelong machine learning with deep streaming linear discriminant analysis", CVPR
workshops 2020: the body is trained once; after that only mu_k and Sigma of its embeddings are.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules.base import UNKNOWN
from earwitness.strategies.base import Learning, Storage, quiet
from earwitness.strategies.frozen import Frozen
from earwitness.streams import Task

__all__ = ["SLDA", "StreamingLDA"]


class SLDA(Frozen):
    """Trains on the first task; then the head is a linear discriminant that every task refines.

    With Lambda = ((1 - e) Sigma + e I)^-1 the logits are mu_k' Lambda z - mu_k' Lambda mu_k / 2,
    written into the detector's head. With the exact covariance nothing depends on how tasks are cut
    or in which order they come, save what the first task made of the body. Classes without a clip so
    far can't be named.

    Departs from the paper: means and covariance of the first task are streamed too (theirs come from a
    shrunk estimate), and see ``covariance``.

    Args:
        shrinkage: e, in (0, 1].
        covariance: ``exact`` is the pooled covariance within classes, c/(c+1) (z - mu)(z - mu)' for a
            clip of a class with c clips before it; ``published`` weighs it by t/(t+1), t all clips
            before it, so that the first clip of a class counts with its full length.

    >>> SLDA().shrinkage
    0.0001
    """

    source = "Hayes & Kanan, CVPR workshops 2020"
    keeps = "a mean embedding of each class and one square matrix"

    def __init__(
        self,
        *,
        shrinkage: float = 1e-4,
        covariance: Literal["exact", "published"] = "exact",
    ):
        if not 0 < shrinkage <= 1:
            raise SettingsError(f"shrinkage is {shrinkage}, expected above 0 and at most 1.")
        self.shrinkage, self.covariance = shrinkage, covariance
        self._lda: StreamingLDA | None = None

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Make room for the statistics."""
        self._lda = self._lda or self._new(learning.detector)

    def _new(self, detector: Detector) -> "StreamingLDA":
        head = detector.back_end.head
        if head.bias is None:
            raise SettingsError("slda writes a bias into the detector's head, which has none.")
        return StreamingLDA(*head.weight.shape, published=self.covariance == "published")

    def end_task(self, learning: Learning, task: Task) -> None:
        """Learn the task's embeddings, and write the discriminant into the head."""
        assert self._lda is not None
        detector = learning.detector
        with quiet(detector):
            for batch in learning.data():
                self._lda.learn(detector.hear(batch).embedding, batch.label)
            weight, bias = self._lda.layer(self.shrinkage)
            detector.back_end.head.weight.copy_(weight)
            detector.back_end.head.bias.copy_(bias)

    def state(self) -> dict[str, Any]:
        """The statistics."""
        return {"lda": self._lda.tensors() if self._lda else None}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up saved statistics."""
        self._lda = self._new(detector) if state["lda"] else None
        if self._lda:
            self._lda.mean, self._lda.count, self._lda.scatter = (t.clone() for t in state["lda"])

    def storage(self) -> Storage:
        """The statistics, in double precision."""
        kept = self._lda.tensors() if self._lda else []
        return Storage(bytes=sum(v.numel() * v.element_size() for v in kept))


class StreamingLDA:
    """Class means (classes, dim), counts, and the scatter (dim, dim) of clips around them.

    >>> lda = StreamingLDA(2, 1)
    >>> lda.learn(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]))
    >>> lda.mean.flatten().tolist(), lda.scatter.tolist()
    ([1.0, 5.0], [[2.0]])
    """

    def __init__(self, classes: int, dim: int, *, published: bool = False):
        self.published = published
        self.mean = torch.zeros(classes, dim, dtype=torch.float64)
        self.count = torch.zeros(classes, dtype=torch.long)
        self.scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def learn(self, rows: Tensor, labels: Tensor) -> None:
        """Rows (n, dim) and their classes, one after the other.

        What each adds to the scatter is a share of one vector's square: all go in as one product.
        """
        gaps, shares = [], []
        for row, label in zip(rows.detach().cpu().double(), labels.tolist(), strict=True):
            seen = int(self.count[label])
            before = int(self.count.sum()) if self.published else seen
            gap = row - self.mean[label]
            gaps.append(gap)
            shares.append(before / (before + 1))
            self.mean[label] += gap / (seen + 1)
            self.count[label] += 1
        stacked = torch.stack(gaps)
        self.scatter += stacked.T * stacked.new_tensor(shares) @ stacked

    def layer(self, shrinkage: float) -> tuple[Tensor, Tensor]:
        """Weight (classes, dim) and bias (classes,) of the discriminant."""
        dim = len(self.scatter)
        sigma = self.scatter / self.count.sum()
        shrunk = (1 - shrinkage) * sigma + shrinkage * torch.eye(dim, dtype=torch.float64)
        weight = torch.cholesky_solve(self.mean.T, torch.linalg.cholesky(shrunk)).T
        bias = -0.5 * (self.mean * weight).sum(1)
        return weight, bias.masked_fill(self.count == 0, UNKNOWN)

    def tensors(self) -> list[Tensor]:
        """Everything there is to keep."""
        return [self.mean, self.count, self.scatter]
