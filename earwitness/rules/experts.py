"""Several experts of one network that differ by low-rank updates; the confident ones weigh more."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from earwitness.backends.base import Output
from earwitness.rules.base import UNKNOWN, Rule

__all__ = ["Experts"]

_EVEN = torch.finfo(torch.float32).tiny  # where no expert is confident, all weigh the same


class Experts(Rule):
    """The detector as it is, and once for each update W + B A of its layers, combined clip by clip.

    p = sum_i w_i p_i over the experts' class probabilities, w_i = var_i / sum_j var_j, var_i the
    variance over classes of p_i for that clip; logits are log p. For two classes the weight of an
    expert grows with (2 p - 1)^2. This is our reading of ELMA (Zhang et al., "EVDA", arXiv 2405.08596):
    its code takes the variance of an expert's scores over the whole test set, so that a clip's score
    depends on which clips are judged with it; here it never does.

    Args:
        layers: names of the updated layers. ``outputs``, ``inputs``: sizes of each one's weight as a
            matrix. ``rank``: inner size of A and B, at most. ``count``: updates, one an expert.

    ``a`` (count, rank, inputs) and ``b`` (count, outputs, rank) of layer n are the buffers ``a<n>`` and
    ``b<n>``, set by who builds it. The embedding is that of the detector as it is.

    >>> rule = Experts(layers=("back_end.head",), outputs=(2,), inputs=(5,), rank=4, count=3)
    >>> rule.a0.shape, rule.b0.shape
    (torch.Size([3, 2, 5]), torch.Size([3, 2, 2]))
    """

    def __init__(
        self,
        *,
        layers: tuple[str, ...],
        outputs: tuple[int, ...],
        inputs: tuple[int, ...],
        rank: int,
        count: int,
    ):
        super().__init__()
        self.layers, self.count = layers, count
        for number, (rows, columns) in enumerate(zip(outputs, inputs, strict=True)):
            inner = min(rank, rows, columns)
            self.register_buffer(f"a{number}", torch.zeros(count, inner, columns))
            self.register_buffer(f"b{number}", torch.zeros(count, rows, inner))

    def forward(self, detector: nn.Module, wave: Tensor, length: Tensor | None) -> Output:
        """The logarithm of the combined probabilities."""
        own = detector(wave, length)
        others = [
            functional_call(detector, self.weights(detector, expert), (wave, length))
            for expert in range(self.count)
        ]
        told = torch.stack([o.logits.log_softmax(1) for o in (own, *others)])
        confidence = told.exp().var(2, correction=0) + _EVEN
        share = confidence / confidence.sum(0)
        logits = (told + share.log()[..., None]).logsumexp(0)
        return Output(logits.masked_fill(own.logits == UNKNOWN, UNKNOWN), own.embedding)

    def weights(self, detector: nn.Module, expert: int) -> dict[str, Tensor]:
        """An expert's weights of the updated layers, by parameter name."""
        weights = {}
        for number, layer in enumerate(self.layers):
            weight = detector.get_parameter(f"{layer}.weight")
            update = getattr(self, f"b{number}")[expert] @ getattr(self, f"a{number}")[expert]
            weights[f"{layer}.weight"] = weight + update.view_as(weight)
        return weights
