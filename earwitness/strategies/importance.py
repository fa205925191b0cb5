"""How much each weight matters for a task: Fisher information, and the slope of the output.

All are means over the clips of *per-clip* quantities, so they don't depend on how clips are put into
batches; squaring the gradient of a batch's mean loss, as several libraries do, gives another number
that shrinks with the batch (``batch``, kept here for comparison). Which Fisher information is meant
makes a difference too: van de Ven, "On the computation of the Fisher information in continual
learning" (2025).

Where every weight is in a linear layer that is called once on a row a clip, one backward pass over
the batch is enough: clip n's gradient is g_n a_n' (a the layer's input, g the slope of its output),
so sum_n (g_n a_n')^2 = (G * G)' (A * A). Other networks give every clip its own gradient, several
clips at once where the network can be vectorised (``torch.func.vmap``).
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.strategies.base import Learning, quiet

__all__ = ["Importance", "fisher", "output_slopes"]

Importance = dict[str, Tensor]
Scalar = Callable[[Tensor, Tensor], Tensor]  # logits (batch, classes), classes (batch,) -> (batch,)
Aims = list[tuple[Tensor, Tensor]]  # each clip's class (batch,) and its weight (batch,)
Call = tuple[nn.Linear, Tensor, Tensor]  # a layer, its input and its output

_AT_ONCE = 2**24  # numbers in the gradients of clips that are taken together


def fisher(
    learning: Learning, kind: Literal["exact", "sampled", "empirical", "batch"] = "empirical"
) -> Importance:
    """Diagonal Fisher information of each trainable parameter over the task's clips.

    ``exact``: E_x sum_c p(c|x) (d log p(c|x))^2. ``sampled``: c drawn from p(.|x). ``empirical``: c
    is the clip's label. ``batch``: the square of the mean gradient of each batch, averaged over
    batches (not the Fisher information). p is the softmax of the logits, in evaluation mode.
    """
    if kind == "batch":
        return _batch_squares(learning)

    def aims(logits: Tensor, label: Tensor) -> Aims:
        share = logits.detach().softmax(1)
        if kind == "exact":
            return [
                (torch.full_like(label, c), share[:, c])
                for c in range(share.shape[1])
                if share[:, c].any()
            ]
        if kind == "sampled":
            label = torch.multinomial(share.cpu(), 1, generator=learning.generator)[:, 0].to(label)
        return [(label, torch.ones_like(share[:, 0]))]

    return _mean_over_clips(learning, _log_likelihood, aims, power=2)


def output_slopes(learning: Learning) -> Importance:
    """Mean over the task's clips of abs(d ||z||^2 / d weight), z the logits; needs no labels.

    Aljundi et al., "Memory aware synapses", ECCV 2018, equation 2 with the squared norm. The logit of
    a class not seen yet is constant and has no slope.
    """

    def norm(logits: Tensor, _: Tensor) -> Tensor:
        return logits.square().sum(1)

    def aims(logits: Tensor, label: Tensor) -> Aims:
        return [(label, torch.ones_like(logits[:, 0]))]

    return _mean_over_clips(learning, norm, aims, power=1)


def _log_likelihood(logits: Tensor, label: Tensor) -> Tensor:
    return logits.log_softmax(1).gather(1, label[:, None])[:, 0]


def _trainable(detector: nn.Module) -> dict[str, nn.Parameter]:
    return {n: p for n, p in detector.named_parameters() if p.requires_grad}


def _mean_over_clips(
    learning: Learning, scalar: Scalar, aims: Callable[[Tensor, Tensor], Aims], power: int
) -> Importance:
    """Mean of sum over aims of weight x abs(slope of the scalar)^power; sums in float64."""
    detector, weights, clips = learning.detector, _trainable(learning.detector), 0
    total = {n: torch.zeros_like(p, dtype=torch.float64) for n, p in weights.items()}
    with quiet(detector), torch.enable_grad():
        for batch in learning.data():
            with _linear_calls(detector) as calls:
                logits = detector.hear(batch).logits
            wanted = aims(logits, batch.label)
            if _covers(calls, weights.values(), len(batch)):
                terms = [(scalar(logits, label), share) for label, share in wanted]
                _add_layers(total, weights, calls, terms, power)
            else:
                _add_clips(total, detector, batch, scalar, wanted, power)
            clips += len(batch)
    return {name: (value / clips).to(weights[name]) for name, value in total.items()}


@contextmanager
def _linear_calls(detector: nn.Module) -> Iterator[list[Call]]:
    """Every call of a linear layer that a gradient goes through."""
    calls: list[Call] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            assert isinstance(layer, nn.Linear)
            calls.append((layer, given[0].detach(), output))

    layers = [module for module in detector.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _covers(calls: list[Call], weights: Iterable[nn.Parameter], clips: int) -> bool:
    """Whether every weight is in one call and no other, and a row of it is a clip."""
    used = [id(p) for layer, *_ in calls for p in layer.parameters()]
    rows = all(given.ndim == 2 and len(given) == clips for _, given, _ in calls)
    return rows and len(used) == len(set(used)) and {id(p) for p in weights} <= set(used)


def _add_layers(
    total: Importance,
    weights: dict[str, nn.Parameter],
    calls: list[Call],
    terms: list[tuple[Tensor, Tensor]],
    power: int,
) -> None:
    names = {id(p): name for name, p in weights.items()}
    outputs = [output for *_, output in calls]
    for value, share in terms:
        slopes = torch.autograd.grad(value.sum(), outputs, retain_graph=True, allow_unused=True)
        for (layer, given, _), slope in zip(calls, slopes, strict=True):
            if slope is None:
                continue
            size = slope.abs().pow(power) * share[:, None]
            if id(layer.weight) in names:
                total[names[id(layer.weight)]] += size.T @ given.abs().pow(power)
            if id(layer.bias) in names:
                total[names[id(layer.bias)]] += size.sum(0)


def _add_clips(
    total: Importance, detector: Detector, batch: Batch, scalar: Scalar, aims: Aims, power: int
) -> None:
    weights = {n: p.detach() for n, p in _trainable(detector).items()}
    room = max(1, _AT_ONCE // sum(p.numel() for p in weights.values()))

    def of_clip(weights: Importance, wave: Tensor, length: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(detector, weights, (wave[None], length[None])).logits
        return scalar(logits, label[None])[0]

    for length in batch.length.unique():
        for rows in (batch.length == length).nonzero()[:, 0].split(room):
            for label, share in aims:
                slopes = _slopes(grad(of_clip), weights, batch.wave[rows], length, label[rows])
                for name, slope in slopes.items():
                    total[name] += torch.tensordot(share[rows], slope.abs().pow(power), 1)


def _slopes(
    slope: Callable[..., Importance], weights: Importance, wave: Tensor, length: Tensor, label: Tensor
) -> Importance:
    """Of each of some clips of one length: name -> (clips, ...)."""
    try:
        with warnings.catch_warnings():  # attention goes clip by clip inside; its values are the same
            warnings.filterwarnings("ignore", "There is a performance drop")
            return vmap(slope, in_dims=(None, 0, None, 0))(weights, wave, length, label)
    except RuntimeError:  # the network does something that can't be vectorised
        each = [slope(weights, *clip) for clip in zip(wave, [length] * len(wave), label, strict=True)]
        return {name: torch.stack([one[name] for one in each]) for name in weights}


def _batch_squares(learning: Learning) -> Importance:
    detector, weights, batches = learning.detector, _trainable(learning.detector), 0
    total = {n: torch.zeros_like(p, dtype=torch.float64) for n, p in weights.items()}
    with quiet(detector), torch.enable_grad():
        for batch in learning.data():
            logits = detector.hear(batch).logits
            loss = _log_likelihood(logits, batch.label).mean()
            slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, slope in zip(weights, slopes, strict=True):
                if slope is not None:
                    total[name] += slope.square()
            batches += 1
    return {name: (value / batches).to(weights[name]) for name, value in total.items()}
