"""AASIST's residual blocks on time and frequency, and a way through them that stays in the cache.

Values lie (batch, channel, time, band) with the channel innermost in memory, so that a stretch of
time is one piece of memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from earwitness.frontends.base import exporting

__all__ = ["Encoder", "Residual", "stack"]

_SCALE, _ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU (Klambauer et al., 2017)
_ROWS, _BANDS = 2, 1  # zeros around a clip, as far as two convolutions reach
_CHUNK = 450_000  # values of a layer that are worked on at once: several layers fit a core's cache


class Encoder(nn.Module):
    """Residual blocks from one channel to the last of ``channels``; each leaves a third of the time.

    With gradients, in training, under autocast, exported or off the CPU every layer is computed as it
    is defined. Otherwise a block is computed a stretch of time at a time, with its normalisation folded
    into the convolution: the same values up to rounding, sooner because little waits for memory.
    """

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        self.blocks = nn.ModuleList(stack(_Pooled, channels))

    def forward(self, values: Tensor) -> Tensor:
        """(batch, time, band) to (batch, channel, time // 3 ** blocks, band)."""
        as_defined = self.training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        as_defined = as_defined or exporting()
        if values.device.type == "cpu" and not as_defined:
            return torch.stack([self._encode(clip) for clip in values])
        values = values[:, None].contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            values = block(values)
        return values

    def _encode(self, clip: Tensor) -> Tensor:
        values = F.pad(clip, (_BANDS, _BANDS, _ROWS, _ROWS))[..., None]
        for block in self.blocks:
            values = block.pass_through(values)  # type: ignore[operator]
        return values[_ROWS:-_ROWS, _BANDS:-_BANDS].permute(2, 0, 1)


class Residual(nn.Module):
    """Convolution, norm, SELU, convolution, the shortcut added.

    The paper (Jung et al., 2022, section 3.1) normalises before the first convolution too; the
    released code computes that and then doesn't use it, so released weights hold a norm that does
    nothing. It is kept, frozen, for their sake: it counts as weights but never learns.
    """

    def __init__(self, inputs: int, outputs: int, *, first: bool):
        super().__init__()
        if not first:
            self.unused_norm = nn.BatchNorm2d(inputs).requires_grad_(False)
        self.conv1 = nn.Conv2d(inputs, outputs, (3, 2), padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, (3, 2), padding=(1, 0))
        self.shortcut = (
            nn.Conv2d(inputs, outputs, (3, 1), padding=(1, 0)) if inputs != outputs else None
        )

    def forward(self, values: Tensor) -> Tensor:
        inner = F.selu(self.norm(self.conv1(values)), inplace=True)
        direct = values if self.shortcut is None else self.shortcut(values)
        return self.conv2(inner) + direct


class _Pooled(Residual):
    """A residual block, and the largest of 3 frames of it."""

    def forward(self, values: Tensor) -> Tensor:
        return F.max_pool2d(super().forward(values), (3, 1))

    def pass_through(self, values: Tensor) -> Tensor:
        """``forward`` of one clip (time, band, channel) in a margin of zeros, some rows at a time."""
        first = fuse_conv_bn_eval(self.conv1, self.norm)
        first.weight.data = first.weight.contiguous(memory_format=torch.channels_last)
        second = (self.conv2.weight * _SCALE).contiguous(memory_format=torch.channels_last)
        bias = self.conv2.bias
        if self.shortcut is not None:
            bias = bias + self.shortcut.bias  # type: ignore[operator]
        time, bands, channels = values.shape[0] - 2 * _ROWS, values.shape[1], self.conv2.out_channels
        pooled = values.new_empty(time // 3 + 2 * _ROWS, bands, channels)
        for margin in (pooled[:_ROWS], pooled[-_ROWS:], pooled[:, :_BANDS], pooled[:, -_BANDS:]):
            margin.zero_()
        step = max(1, _CHUNK // (3 * bands * channels))
        for start in range(0, time // 3, step):
            stop = min(start + step, time // 3)
            piece = values[3 * start : 3 * stop + 2 * _ROWS].permute(2, 0, 1)[None]
            edges = [0] * (start == 0) + [-1] * (3 * stop == time)  # rows outside the clip
            outer = self._convolve(piece, first, second, bias, edges)[0].permute(1, 2, 0)
            inside = pooled[_ROWS + start : _ROWS + stop, _BANDS:-_BANDS]
            torch.maximum(torch.maximum(outer[::3], outer[1::3]), outer[2::3], out=inside)
        return pooled

    def _convolve(
        self, piece: Tensor, first: nn.Conv2d, second: Tensor, bias: Tensor | None, edges: list[int]
    ) -> Tensor:
        """Both convolutions, the ``first`` with the norm in it, and the shortcut."""
        inner = _unscaled_selu(_correlate(piece, first.weight, first.bias))
        for edge in edges:
            inner[:, :, edge] = 0  # which the clip is padded with
        outer = F.conv2d(inner, second, bias)
        if self.shortcut is None:
            return outer.add_(piece[:, :, _ROWS:-_ROWS, _BANDS:-_BANDS])
        direct, weight = piece[:, :, 1:-1, _BANDS:-_BANDS], self.shortcut.weight
        if direct.shape[1] > 1:
            return outer.add_(F.conv2d(direct, weight))
        outer[0].permute(1, 2, 0).flatten(0, 1).addmm_(_moved(direct, weight), weight.flatten(1).T)
        return outer


def stack(kind: type[Residual], channels: tuple[int, ...]) -> list[Residual]:
    """Blocks of a kind from one channel through all of ``channels``."""
    pairs = zip((1, *channels), channels, strict=False)
    return [kind(*pair, first=number == 0) for number, pair in enumerate(pairs)]


def _correlate(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution; of one channel as a product with moved copies, which torch does quicker."""
    if values.shape[1] > 1 or bias is None:
        return F.conv2d(values, weight, bias)
    outputs = torch.addmm(bias, _moved(values, weight), weight.flatten(1).T)
    bands = values.shape[3] - weight.shape[3] + 1
    return outputs.unflatten(0, (-1, bands)).permute(2, 0, 1)[None]


def _moved(values: Tensor, weight: Tensor) -> Tensor:
    """A row a place of the convolution's output, with what the kernel sees there; of one channel."""
    rows, bands = (n - k + 1 for n, k in zip(values.shape[2:], weight.shape[2:], strict=True))
    return values[0, 0].unfold(0, rows, 1).unfold(1, bands, 1).reshape(-1, rows * bands).T


def _unscaled_selu(values: Tensor) -> Tensor:
    """SELU(x) / scale in place: max(x, 0) + α (exp(min(x, 0)) - 1).

    Simple passes over what is in the cache take a third of the time of one through torch's SELU.
    Below -40 the exponential is lost beside 1, and further down it would be a slow denormal number.
    """
    falling = values.clamp(-40, 0).exp_().sub_(1)
    return values.clamp_min_(0).add_(falling, alpha=_ALPHA)
