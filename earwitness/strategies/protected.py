"""The layers a strategy protects: finding them, hearing their inputs, reading their gradients.

A protected layer's weight is seen as a matrix (outputs, d): for a linear layer d is its inputs, for
a convolution channels x kernel (channel first), and with ``bias`` one more column for the bias, whose
input is the constant 1.
"""

import fnmatch
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.errors import SettingsError

__all__ = ["ProtectedLayer", "find_layers", "hear", "listen"]

_ROWS_A_CLIP = 16
_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class ProtectedLayer:
    """One linear or convolution layer, its weight as a matrix and its mean inputs as rows.

    Args:
        bias: treat [W b] as one matrix.
        positions: a convolution's mean inputs are taken at every n-th output position.
        frames: inputs (batch, frame, d), as before attention pooling, are averaged over batch and
            frames (``mean``) or give one row a frame (``each``).
        inputs: ``means`` over the batch, as OWM has it, or the ``samples`` themselves.
    """

    def __init__(
        self,
        name: str,
        module: Any,
        *,
        bias: bool,
        positions: int = 1,
        frames: str = "mean",
        inputs: str = "means",
    ):
        self.name = name
        self.module = module  # linear or convolution
        self.bias = bias and self.module.bias is not None
        self.positions = positions
        self.frames = frames
        self.inputs = inputs
        self.dim = self.module.weight.shape[1:].numel() + int(self.bias)

    def rows(self, inputs: Tensor) -> Tensor:
        """Mean inputs (n, d) of one batch: one row, or one for each position of a convolution.

        With ``inputs="samples"`` nothing is averaged: the rows are those of each clip, at most 16 of
        its frames or positions, divided by sqrt(batch), so that R'R is the mean over clips of the
        sum of their rows' moments. ``positions`` and ``frames`` are of the means.
        """
        if self.inputs == "samples":
            return self.samples(inputs, _ROWS_A_CLIP) / len(inputs) ** 0.5
        mean = inputs.detach().mean(0)
        if isinstance(self.module, nn.Linear):
            rows = mean.reshape(-1, mean.shape[-1])
            rows = rows if self.frames == "each" else rows.mean(0, keepdim=True)
        else:
            rows = _patches(mean, self.module)[:: self.positions]
        return self._with_ones(rows)

    def samples(self, inputs: Tensor, most: int) -> Tensor:
        """Every clip's own inputs (n, d), none averaged.

        A linear layer's rows are its frames, a convolution's the patches of its output positions; of
        each clip at most about ``most`` are taken, evenly spaced (every n-th, with the least such n).
        """
        if isinstance(self.module, nn.Linear):
            clips = list(inputs.detach().reshape(len(inputs), -1, inputs.shape[-1]))
        else:
            clips = [_patches(clip, self.module) for clip in inputs.detach()]
        return self._with_ones(torch.cat([rows[:: -(-len(rows) // most)] for rows in clips]))

    def _with_ones(self, rows: Tensor) -> Tensor:
        return torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if self.bias else rows

    def matrix(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Weight (or its gradient) and bias as one matrix (outputs, d)."""
        flat = weight.reshape(len(weight), -1)
        return torch.cat([flat, bias[:, None]], 1) if self.bias and bias is not None else flat

    def gradient(self) -> Tensor | None:
        """The gradient as a matrix, or None where nothing reached the layer."""
        weight = self.module.weight.grad
        if weight is None:
            return None
        return self.matrix(weight, self.module.bias.grad if self.bias else None)

    def weight(self) -> Tensor:
        """The weight as a matrix."""
        return self.matrix(self.module.weight, self.module.bias if self.bias else None)

    def set_gradient(self, matrix: Tensor) -> None:
        """Put a matrix back as the gradient."""
        weight = self.module.weight
        weight.grad = matrix[:, : weight[0].numel()].reshape(weight.shape).contiguous()
        if self.bias:
            self.module.bias.grad = matrix[:, -1].contiguous()

    @torch.no_grad()
    def set_weight(self, matrix: Tensor) -> None:
        """Put a matrix back as the weight."""
        weight = self.module.weight
        weight.copy_(matrix[:, : weight[0].numel()].reshape(weight.shape))
        if self.bias:
            self.module.bias.copy_(matrix[:, -1])


def _patches(mean: Tensor, conv: Any) -> Tensor:
    """The kernel-sized patches (positions, channels x kernel) of a mean feature map."""
    if isinstance(conv, nn.Conv1d):
        kernel, dilation, stride = (1, *conv.kernel_size), (1, *conv.dilation), (1, *conv.stride)
        padding = (0, *conv.padding)
        mean = mean[:, None]
    else:
        kernel, dilation, stride = conv.kernel_size, conv.dilation, conv.stride
        padding = conv.padding
    return F.unfold(mean[None], kernel, dilation, padding, stride)[0].T


def find_layers(
    model: nn.Module,
    patterns: tuple[str, ...],
    *,
    bias: bool = False,
    positions: int = 1,
    frames: str = "mean",
    inputs: str = "means",
) -> list[ProtectedLayer]:
    """All linear and convolution layers whose name matches one of the patterns (``*`` wildcards).

    Raises:
        SettingsError: a pattern that matches nothing, or a grouped convolution.
    """
    known = {n: m for n, m in model.named_modules() if isinstance(m, _KINDS)}
    learning = [n for n, m in known.items() if m.weight.requires_grad] or list(known)
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise SettingsError(
                f"layers: {pattern!r} matches no layer; linear and convolution layers are "
                f"{', '.join(known)}."
            )
    # What is frozen can't forget.
    chosen = [n for n in learning if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    if not chosen:
        raise SettingsError(f"layers: {', '.join(patterns)} match frozen layers alone.")
    for name in chosen:
        module = known[name]
        plain = getattr(module, "padding_mode", "zeros") == "zeros"
        if getattr(module, "groups", 1) != 1 or not plain or getattr(module, "padding", 0) == "same":
            raise SettingsError(
                f"layers: {name!r} is a convolution with groups, 'same' or non-zero padding, "
                "whose inputs can't be cut into one matrix of patches here. Name those to protect, "
                "such as layers = ['back_end.*']."
            )
    how = {"bias": bias, "positions": positions, "frames": frames, "inputs": inputs}
    return [ProtectedLayer(name, known[name], **how) for name in chosen]  # type: ignore[arg-type]


@contextmanager
def listen(layers: list[ProtectedLayer], *, training_only: bool) -> Iterator[dict[str, Tensor]]:
    """Record each layer's mean inputs of the first forward pass: name -> rows (n, d).

    Clear the record to hear the next. The first pass of a step is that of its batch; later ones are
    of memories that other strategies look at.

    With ``training_only``, passes in evaluation mode (somebody looking) are not heard.
    """
    heard: dict[str, Tensor] = {}

    def take(layer: ProtectedLayer, inputs: Tensor) -> None:
        if layer.module.training or not training_only:
            heard.setdefault(layer.name, layer.rows(inputs))

    with hear(layers, take):
        yield heard


@contextmanager
def hear(
    layers: list[ProtectedLayer], take: Callable[[ProtectedLayer, Tensor], None]
) -> Iterator[None]:
    """Give ``take`` the layer and its inputs (batch, ...) at each call of each layer."""

    def hook(layer: ProtectedLayer) -> Any:
        return lambda module, inputs: take(layer, inputs[0])

    handles = [layer.module.register_forward_pre_hook(hook(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
