"""How much each weight matters for a task: Fisher information, and the slope of the output.

All are means over the clips of *per-clip* quantities, so they don't depend on how clips are put into
batches; squaring the gradient of a batch's mean loss, as several libraries do, gives another number
that shrinks with the batch (``batch``, kept here for comparison). Which Fisher information is meant
makes a difference too: van de Ven, "On the computation of the Fisher information in continual
learning" (2025).

Where every weight is in a linear layer that is called once on (batch, d), one backward pass over the
batch is enough: clip n's gradient is g_n a_n' (a the layer's input, g the slope of its output), so
sum_n (g_n a_n')^2 = (G * G)' (A * A). Other networks take a pass a clip.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.strategies.base import Learning, quiet

__all__ = ["Importance", "fisher", "output_slopes"]

Importance = dict[str, Tensor]
Terms = list[tuple[Tensor, Tensor]]  # per clip: a scalar to be differentiated, and its weight


def fisher(
    learning: Learning, kind: Literal["exact", "sampled", "empirical", "batch"] = "empirical"
) -> Importance:
    """Diagonal Fisher information of each trainable parameter over the task's clips.

    ``exact``: E_x sum_c p(c|x) (d log p(c|x))^2. ``sampled``: c drawn from p(.|x). ``empirical``: c
    is the clip's label. ``batch``: the square of the mean gradient of each batch, averaged over
    batches (not the Fisher information).
    """
    if kind == "batch":
        return _batch_squares(learning)

    def terms(output: Output, batch: Batch) -> Terms:
        likelihood = output.logits.log_softmax(1)
        if kind == "exact":
            share = likelihood.detach().exp()
            return [(likelihood[:, c], share[:, c]) for c in range(share.shape[1])]
        chosen = batch.label if kind == "empirical" else _drawn(likelihood, learning.generator)
        own = likelihood.gather(1, chosen[:, None])[:, 0]
        return [(own, torch.ones_like(own))]

    return _mean_over_clips(learning, terms, power=2)


def output_slopes(learning: Learning) -> Importance:
    """Mean over the task's clips of abs(d ||z||^2 / d weight), z the logits; needs no labels.

    Aljundi et al., "Memory aware synapses", ECCV 2018, equation 2 with the squared norm.
    """

    def terms(output: Output, batch: Batch) -> Terms:
        known = [learning.detector.classes.index(name) for name in learning.detector.known]
        norm = output.logits[:, known].square().sum(1)
        return [(norm, torch.ones_like(norm))]

    return _mean_over_clips(learning, terms, power=1)


def _drawn(likelihood: Tensor, generator: torch.Generator) -> Tensor:
    share = likelihood.detach().exp().cpu()
    return torch.multinomial(share, 1, generator=generator)[:, 0].to(likelihood.device)


def _mean_over_clips(
    learning: Learning, terms: Callable[[Output, Batch], Terms], power: int
) -> Importance:
    detector = learning.detector
    weights = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    total = {n: torch.zeros_like(p, dtype=torch.float64) for n, p in weights.items()}
    clips = 0
    with quiet(detector), torch.enable_grad(), _linear_calls(detector) as calls:
        for batch in learning.data():
            here = batch.to(detector.device)
            calls.clear()
            output = detector(here.wave, here.length)
            if _covers(calls, weights):
                _add_layers(total, calls, terms(output, here), power)
            else:
                _add_clips(total, learning, here, terms, power)
            clips += len(batch)
    return {name: (value / clips).to(weights[name]) for name, value in total.items()}


@contextmanager
def _linear_calls(detector: nn.Module) -> Iterator[list[tuple[str, nn.Linear, Tensor, Tensor]]]:
    """Every call of a linear layer: its name, itself, input and output."""
    calls: list[tuple[str, nn.Linear, Tensor, Tensor]] = []

    def hook(name: str) -> Callable[..., None]:
        return lambda module, given, output: calls.append((name, module, given[0], output))

    layers = [(n, m) for n, m in detector.named_modules() if isinstance(m, nn.Linear)]
    handles = [module.register_forward_hook(hook(name)) for name, module in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _covers(calls: list[tuple[str, nn.Linear, Tensor, Tensor]], weights: Iterable[str]) -> bool:
    """Whether the calls account for every weight: each layer once, on (batch, d)."""
    names = [f"{name}.{part}" for name, layer, *_ in calls for part, _ in layer.named_parameters()]
    flat = all(given.ndim == 2 for _, _, given, _ in calls)
    return flat and len(names) == len(set(names)) and set(weights) <= set(names)


def _add_layers(
    total: Importance, calls: list[tuple[str, nn.Linear, Tensor, Tensor]], terms: Terms, power: int
) -> None:
    outputs = [output for *_, output in calls]
    for scalar, share in terms:
        slopes = torch.autograd.grad(scalar.sum(), outputs, retain_graph=True, allow_unused=True)
        for (name, _, given, _), slope in zip(calls, slopes, strict=True):
            if slope is None:
                continue
            size = slope.abs().pow(power) * share[:, None]
            if f"{name}.weight" in total:
                total[f"{name}.weight"] += size.T @ given.detach().abs().pow(power)
            if f"{name}.bias" in total:
                total[f"{name}.bias"] += size.sum(0)


def _add_clips(
    total: Importance,
    learning: Learning,
    batch: Batch,
    terms: Callable[[Output, Batch], Terms],
    power: int,
) -> None:
    weights = [dict(learning.detector.named_parameters())[name] for name in total]
    for i in range(len(batch)):
        one = Batch(batch.wave[i : i + 1], batch.length[i : i + 1], batch.label[i : i + 1], ("",))
        for scalar, share in terms(learning.detector(one.wave, one.length), one):
            slopes = torch.autograd.grad(scalar.sum(), weights, retain_graph=True, allow_unused=True)
            for name, slope in zip(total, slopes, strict=True):
                if slope is not None:
                    total[name] += share * slope.abs().pow(power)


def _batch_squares(learning: Learning) -> Importance:
    detector = learning.detector
    weights = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    total = {n: torch.zeros_like(p) for n, p in weights.items()}
    with quiet(detector), torch.enable_grad():
        for batch in learning.data():
            here = batch.to(detector.device)
            loss = nn.functional.cross_entropy(detector(here.wave, here.length).logits, here.label)
            slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, slope in zip(weights, slopes, strict=True):
                if slope is not None:
                    total[name] += slope.square()
    return {name: value / learning.batches for name, value in total.items()}
