"""Simple ways to weigh a recording against a reference, and the head that hears none of it."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from earwitness.backends._classifier import narrowing
from earwitness.backends.base import PairBackEnd
from earwitness.backends.pooling import make_pooling
from earwitness.frontends.base import Frames, time_mask

__all__ = ["FFPair"]

_OfVectors = Literal["concat3", "diff", "abs", "quadratic", "product", "dot"]


class FFPair(PairBackEnd):
    """The pair models that came before RAT (Stanek's thesis, vojteskas/Differential-Detection).

    Args:
        how: ``none`` hears the recording alone (the thesis's FF). Of pooled vectors, reference r and
            recording t: ``concat3`` (r, t), ``diff`` r - t, ``abs`` |r - t|, ``quadratic`` (r - t)²,
            ``product`` their product, element by element. Of frames: ``concat2`` pools both after one
            another, ``lstm`` runs over both and keeps its last output. ``concat1`` hears both waves as
            one recording, the reference first. ``dot`` (FFDot) has no network after the pooling: the
            score is r · t, to which training gives a scale, of either sign, and an offset.
        pooling: ``mean``, ``statistics``, ``attention``, ``attentive``, ``mhfa`` or ``sls``.

    Without a reference r is zero, and there are no frames of one; ``dot`` then gives every recording
    the same score.

    Raises:
        SettingsError: a pooling of layers, and there are none.

    >>> head = FFPair(features=1024, layers=24, how="concat3")
    >>> sum(p.numel() for p in head.parameters())
    2627074
    """

    wants_layers = True

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        layers: int = 0,
        how: Literal["none", "concat1", "concat2", _OfVectors, "lstm"] = "diff",
        pooling: Literal["mean", "statistics", "attention", "attentive", "mhfa", "sls"] = "mean",
    ):
        super().__init__()
        self.how, self.joins_waves = how, how == "concat1"
        self.pooling = make_pooling(pooling, features, layers)
        width = int(self.pooling.dim)  # type: ignore[arg-type]
        width = {"concat3": 2 * width, "lstm": features}.get(how, width)
        if how == "lstm":
            self.lstm = nn.LSTM(features, features, num_layers=2, batch_first=True)
        self.classifier = nn.Identity() if how == "dot" else narrowing(width)
        self.dim = 1 if how == "dot" else width // 4
        self.head = nn.Linear(self.dim, classes)
        if how == "dot":  # the score is the product itself until training changes that
            nn.init.eye_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def embed_pair(self, frames: Frames, reference: Frames | None) -> Tensor:
        """Both to (batch, dim)."""
        if self.how in ("none", "concat1"):
            return self.classifier(self.pooling(frames.values, frames.length))
        if self.how in get_args(_OfVectors):
            return self.classifier(self._weighed(frames, reference))
        values, length = _after_one_another(reference, frames)
        if self.how == "concat2":
            return self.classifier(self.pooling(values, length))
        return self.classifier(self._last(values, length))

    def _weighed(self, frames: Frames, reference: Frames | None) -> Tensor:
        test = self.pooling(frames.values, frames.length)
        other = torch.zeros_like(test)
        if reference is not None:
            there = (reference.length > 0)[:, None]
            pooled = self.pooling(reference.values, reference.length.clamp_min(1))
            other = torch.where(there, pooled, other)
        if self.how == "concat3":
            return torch.cat([other, test], 1)
        if self.how in ("product", "dot"):
            product = other * test
            return product if self.how == "product" else product.sum(1, keepdim=True)
        apart = other - test
        return {"diff": apart, "abs": apart.abs(), "quadratic": apart.square()}[self.how]

    def _last(self, values: Tensor, length: Tensor) -> Tensor:
        rows = (values.mean(1) if values.ndim == 4 else values).transpose(1, 2)
        told, _ = self.lstm(rows)
        return told[torch.arange(rows.shape[0], device=rows.device), length - 1]


def _after_one_another(reference: Frames | None, frames: Frames) -> tuple[Tensor, Tensor]:
    """The reference's frames, then the recording's, without a gap; and how many both are."""
    if reference is None:
        return frames.values, frames.length
    length = reference.length + frames.length
    total = int(length.max())
    place = torch.arange(total, device=length.device)[None]
    first = reference.length[:, None]
    of_reference = _taken(reference.values, place.expand(length.shape[0], -1))
    of_test = _taken(frames.values, place - first)
    wide = (slice(None), *[None] * (frames.values.ndim - 2), slice(None))
    values = torch.where((place < first)[wide], of_reference, of_test)
    return values * time_mask(length, total)[wide], length


def _taken(values: Tensor, place: Tensor) -> Tensor:
    """The frames at the given places, (batch, frame), held inside what is there."""
    index = place.clamp(0, values.shape[-1] - 1)
    index = index.view(index.shape[0], *[1] * (values.ndim - 2), -1)
    return values.gather(-1, index.expand(*values.shape[:-1], -1))
