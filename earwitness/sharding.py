"""A front end's weights dealt out over the processes of a run (FSDP), where one GPU can't learn it all.

While a task is learned each process keeps a part of the weights, their gradients and the optimiser's
numbers; a layer is whole only while it computes. Before and after a task the detector is whole, so
strategies, scoring and files know nothing of it.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from earwitness import distributed
from earwitness.detector import Detector
from earwitness.errors import SettingsError

__all__ = [
    "clip_norm",
    "deal_out",
    "is_dealt_out",
    "load",
    "optimiser_groups",
    "parts",
    "scale",
    "whole",
]


def deal_out(detector: Detector) -> Detector:
    """A copy whose front end's weights are dealt out over all processes.

    Raises:
        SettingsError: the front end has no layers to deal out.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    encoder = getattr(detector.front_end, "encoder", None)
    if encoder is None:
        name = detector.settings["front_end"]["name"]
        raise SettingsError(
            f"training.shard deals out the layers of the front end 'ssl'; {name!r} has none."
        )
    copy = deepcopy(detector)
    mesh = init_device_mesh(detector.device.type, (distributed.size(),))
    encoder = copy.front_end.encoder
    for block in encoder.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(encoder, mesh=mesh)
    register_fsdp_forward_method(encoder, "states")
    return copy


def is_dealt_out(value: Any) -> bool:
    """Whether a tensor is one process's part of a larger one.

    >>> is_dealt_out(torch.zeros(2))
    False
    """
    return hasattr(value, "full_tensor")


def whole(state: Any) -> Any:
    """The same tree of plain data with whole tensors; every process has to ask.

    >>> whole({"step": 3, "groups": [torch.ones(1)]})
    {'step': 3, 'groups': [tensor([1.])]}
    """
    if isinstance(state, Mapping):
        return {name: whole(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(whole(value) for value in state)
    return state.full_tensor() if is_dealt_out(state) else state


@torch.no_grad()
def load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """``load_state_dict`` of whole tensors; each process keeps its part."""
    own = module.state_dict()
    module.load_state_dict({n: _like(value, own.get(n)) for n, value in state.items()})


def parts(state: Mapping[int, Mapping[str, Any]], weights: list[Tensor]) -> dict[int, dict[str, Any]]:
    """An optimiser's whole numbers as those of this process, weight by weight."""
    return {
        n: {k: _like(v, weights[n]) if isinstance(v, Tensor) and v.ndim else v for k, v in own.items()}
        for n, own in state.items()
    }


def _like(value: Tensor, own: Tensor | None) -> Tensor:
    if own is None or not is_dealt_out(own) or is_dealt_out(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = own.device_mesh, own.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(own.device), mesh, placements)


def optimiser_groups(parameters: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Whole weights and dealt out ones apart: an optimiser computes a group at a time.

    >>> len(optimiser_groups([torch.zeros(1), torch.zeros(2)]))
    1
    """
    kinds: dict[bool, list[Tensor]] = {False: [], True: []}
    for parameter in parameters:
        kinds[is_dealt_out(parameter)].append(parameter)
    return [{"params": kind} for kind in kinds.values() if kind]


@torch.no_grad()
def scale(parameters: Iterable[Tensor]) -> None:
    """Gradients that the processes have averaged become sums, as those of whole weights are."""
    for parameter in parameters:
        if is_dealt_out(parameter) and parameter.grad is not None:
            parameter.grad.mul_(distributed.size())


@torch.no_grad()
def clip_norm(parameters: Iterable[Tensor], most: float) -> None:
    """Bound the norm of all gradients together, each counted once however it is kept."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    squares = [whole(gradient.square().sum()) for gradient in gradients]
    norm = float(torch.stack(squares).sum().sqrt())
    if norm > most:
        for gradient in gradients:
            gradient.mul_(most / (norm + 1e-6))
