"""Detecting fake without forgetting: distillation, and genuine speech stays where it is.

Ma et al., "Continual Learning for Fake Audio Detection", Interspeech 2021 (arXiv 2104.07286): L_ce +
alpha L_kd + beta L_psa. The abstract says that the second term makes embeddings of genuine speech
similar to the old model's ("positive sample alignment"); that the measure is the cosine and that both
weights are 1 is our reading.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning
from earwitness.strategies.lwf import LwF
from earwitness.streams import Task

__all__ = ["DFWF"]


class DFWF(LwF):
    """LwF, and embeddings of one class are held to the old model's.

    Args:
        alpha: of distillation. ``beta``: of alignment. Both 0 is the same as naive.
        temperature: of distillation.
        similarity: ``cos`` (1 - cosine) or ``l2`` (squared distance).
        positive: the class whose embeddings are aligned.

    >>> DFWF(beta=0.5).positive
    'bonafide'
    """

    source = "Ma et al., Interspeech 2021"
    spreads = False

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        temperature: float = 2.0,
        similarity: Literal["cos", "l2"] = "cos",
        positive: str = "bonafide",
    ):
        if not (alpha >= 0 and beta >= 0):
            raise SettingsError(f"expected alpha >= 0 and beta >= 0, not {alpha} and {beta}.")
        super().__init__(strength=alpha + beta, temperature=temperature)  # 0 is naive
        self.alpha, self.beta = alpha, beta
        self.similarity, self.positive = similarity, positive

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Check that there is such a class."""
        classes = learning.detector.classes
        if self.positive not in classes:
            raise SettingsError(
                f"positive: {self.positive!r} is not a class; the classes are {', '.join(classes)}."
            )

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """Distillation and alignment."""
        if not self.teacher:
            return None
        old = self.teacher.output(batch)
        chosen = batch.label == learning.detector.classes.index(self.positive)
        terms = []
        if self.alpha:
            terms.append(self.alpha * self.distance(output, old))
        if self.beta and chosen.any():
            terms.append(self.beta * self._apart(output.embedding[chosen], old.embedding[chosen]))
        return torch.stack(terms).sum() if terms else None

    def _apart(self, new: Tensor, old: Tensor) -> Tensor:
        if self.similarity == "cos":
            return (1 - F.cosine_similarity(new, old)).mean()
        return (new - old).square().sum(1).mean()
