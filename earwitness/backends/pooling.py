"""From frames to one vector a clip, over the clip's own frames only."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.errors import SettingsError
from earwitness.frontends.base import masked_mean, time_mask

__all__ = ["MHFA", "SLS", "Pooling", "make_pooling"]

_FLOOR = 1e-6  # under a root: its slope at zero is infinite, and one-frame clips are constant


class Pooling(nn.Module):
    """Mean, mean and deviation (``statistics``), or attention over frames.

    ``attention`` is one linear map to a weight a frame, softmax over the clip's frames; its weight is a
    layer that continual-learning strategies can protect. ``attentive`` is mean and deviation under
    the weights of a small network (Okabe et al., Interspeech 2018). Layers are averaged first. Output
    size: ``dim``.

    >>> Pooling("statistics", 8)(torch.randn(2, 8, 5), torch.tensor([5, 3])).shape
    torch.Size([2, 16])
    """

    def __init__(self, how: str, features: int):
        super().__init__()
        self.how = how
        self.dim = features * (2 if how in ("statistics", "attentive") else 1)
        self.attention: nn.Module
        if how == "attention":
            self.attention = nn.Linear(features, 1, bias=False)
        if how == "attentive":
            inner = max(features // 8, 1)
            self.attention = nn.Sequential(
                nn.Linear(features, inner), nn.Tanh(), nn.Linear(inner, 1, bias=False)
            )

    def forward(self, values: Tensor, length: Tensor) -> Tensor:
        """(batch, feature, frame), or with layers (batch, layer, ...), to (batch, dim)."""
        if values.ndim == 4:
            values = values.mean(1)
        if self.how == "mean":
            return masked_mean(values, length)
        inside = time_mask(length, values.shape[-1])
        if self.how == "statistics":
            return _statistics(values, length, inside)
        weight = self.attention(values.transpose(1, 2)).squeeze(-1)
        weight = weight.masked_fill(~inside, float("-inf")).softmax(-1)
        mean = (values * weight[:, None]).sum(-1)
        if self.how == "attention":
            return mean
        variance = ((values - mean[..., None]).square() * weight[:, None]).sum(-1)
        return torch.cat([mean, (variance + _FLOOR).sqrt()], 1)


class MHFA(nn.Module):
    """Multi-head factorised attentive pooling over layers and frames (Peng et al., SLT 2022).

    Keys and values are two weighted sums of the layers, compressed; each head attends to frames by
    its own softmax over keys.

    >>> pooling = MHFA(1024, layers=24)
    >>> sum(p.numel() for p in pooling.parameters())
    4461904
    """

    def __init__(self, features: int, *, layers: int, heads: int = 0, compressed: int = 0):
        super().__init__()
        heads, compressed = heads or round(4 * layers / 3), compressed or max(features // 8, 1)
        self.key_weight = nn.Parameter(torch.zeros(layers))
        self.value_weight = nn.Parameter(torch.zeros(layers))
        self.key, self.value = nn.Linear(features, compressed), nn.Linear(features, compressed)
        self.attention = nn.Linear(compressed, heads)
        self.out = nn.Linear(heads * compressed, features)
        self.dim = features

    def forward(self, values: Tensor, length: Tensor) -> Tensor:
        """(batch, layer, feature, frame) to (batch, dim)."""
        key = self.key(_weighted(values, self.key_weight))
        value = self.value(_weighted(values, self.value_weight))
        inside = time_mask(length, values.shape[-1])[..., None]
        weight = self.attention(key).masked_fill(~inside, float("-inf")).softmax(1)
        return self.out(torch.einsum("bth,btc->bhc", weight, value).flatten(1))


class SLS(nn.Module):
    """Sensitive layer selection (Zhang et al., ACM MM 2024): a gate for each layer, then max-pooling.

    The published form hears exactly ``frames`` frames (201 are 4 s); shorter clips are padded on the
    left. Longer ones are refused, not cut: use windows.

    >>> sum(p.numel() for p in SLS(1024).parameters())
    23397379

    Raises:
        SettingsError: a clip has more frames.
    """

    def __init__(self, features: int, *, frames: int = 201):
        super().__init__()
        self.frames, self.dim = frames, features
        self.gate = nn.Linear(features, 1)
        self.norm = nn.BatchNorm2d(1)
        self.out = nn.Linear((frames // 3) * (features // 3), features)

    def forward(self, values: Tensor, length: Tensor) -> Tensor:
        """(batch, layer, feature, frame) to (batch, dim)."""
        if values.shape[-1] > self.frames:
            raise SettingsError(
                f"SLS pooling hears {self.frames} frames, found {values.shape[-1]}; set "
                "windows.seconds and training.seconds lower (201 frames are 4.03 s)."
            )
        mean = values.sum(-1) / length[:, None, None].to(values.dtype)
        gate = self.gate(mean).sigmoid()
        mixed = (values * gate[..., None]).sum(1).transpose(1, 2)
        padded = _left_padded(mixed, length, self.frames)
        pooled = F.max_pool2d(F.selu(self.norm(padded[:, None])), 3)
        return F.selu(self.out(pooled.flatten(1)))


def make_pooling(how: str, features: int, layers: int = 0) -> nn.Module:
    """A pooling by name, with an attribute ``dim``.

    >>> make_pooling("mhfa", 16, 3).dim
    16

    Raises:
        SettingsError: a pooling of layers for a front end that gives none.
    """
    if how not in ("mhfa", "sls"):
        return Pooling(how, features)
    if not layers:
        raise SettingsError(f"pooling {how!r} weighs layers; give the front end layers = 'all'.")
    return MHFA(features, layers=layers) if how == "mhfa" else SLS(features)


def _weighted(values: Tensor, weight: Tensor) -> Tensor:
    """(batch, frame, feature): a weighted sum of the layers."""
    return torch.einsum("l,blft->btf", weight.softmax(0), values)


def _statistics(values: Tensor, length: Tensor, inside: Tensor) -> Tensor:
    mean = masked_mean(values, length)
    centred = (values - mean[..., None]) * inside[:, None]
    return torch.cat([mean, (masked_mean(centred.square(), length) + _FLOOR).sqrt()], 1)


def _left_padded(rows: Tensor, length: Tensor, frames: int) -> Tensor:
    """(batch, frames, feature): each clip's own rows at the end, zeros before them."""
    place = torch.arange(frames, device=rows.device) - (frames - length[:, None])
    taken = rows.gather(1, place.clamp(0, rows.shape[1] - 1)[..., None].expand(-1, -1, rows.shape[2]))
    return taken * (place >= 0)[..., None]
