"""One-class softmax: bonafide speech lies close together, and everything else anywhere but there."""

import torch.nn.functional as F
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.errors import SettingsError
from earwitness.losses.base import Loss, Weights, weigh

__all__ = ["OCSoftmax"]


class OCSoftmax(Loss):
    """``log(1 + exp(scale * (m_y - cos) * (-1)^y))`` with the cosine to one learned direction.

    Zhang, Jiang & Duan, "One-class learning towards synthetic voice spoofing detection" (2021), eq. 4:
    bonafide (y = 0) above ``bonafide_margin``, spoofs below ``spoof_margin``. The detector needs a
    ``one-class`` head, whose first logit is that cosine and whose second is 0.

    >>> import torch
    >>> batch = Batch(torch.zeros(2, 1), torch.ones(2), torch.tensor([0, 1]), ("a", "b"))
    >>> output = Output(torch.tensor([[0.9, 0.0], [0.2, 0.0]]), torch.zeros(2, 1))
    >>> OCSoftmax()(output, batch)
    tensor(0.6931)

    Raises:
        SettingsError: scale not above 0, or other classes than two.
    """

    head = "one-class"

    def __init__(
        self,
        *,
        scale: float = 20.0,
        bonafide_margin: float = 0.9,
        spoof_margin: float = 0.2,
        weights: Weights = "batch",
    ):
        if scale <= 0:
            raise SettingsError(f"loss 'oc_softmax': scale is {scale}, expected above 0.")
        self.scale, self.weights = scale, weights
        self.margins = (bonafide_margin, spoof_margin)

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        """The weighted mean over the batch."""
        cosine, of_spoof = output.logits[:, 0], batch.label == 1
        low = self.margins[0] - cosine
        high = cosine - self.margins[1]
        each = F.softplus(self.scale * low.where(~of_spoof, high))
        return weigh(each, batch, 2, self.weights)
