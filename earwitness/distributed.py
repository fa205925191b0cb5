"""Several processes at one run, as ``torchrun`` starts them: who is who, and sums over all of them.

Every process makes the same decisions from the same files and seeds, takes its share of each batch and
of each manifest, and adds up what it found with the others. The first one alone writes. With one
process all of this does nothing.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from earwitness import files
from earwitness.errors import RunError, SettingsError

__all__ = ["average_buffers", "gather", "is_first", "joined", "rank", "share", "size", "sum_over_all"]

_PATIENCE = timedelta(minutes=60)  # a rank may read a large corpus before the others meet it again


def is_asked_for() -> bool:
    """Whether this process was started by ``torchrun`` with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def size() -> int:
    """How many processes are at the run."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this process writes."""
    return rank() == 0


@contextmanager
def joined(device: str = "cpu") -> Iterator[None]:
    """Meet the other processes, if there are any, and part at the end.

    Raises:
        RunError: another process died.
    """
    if not is_asked_for():
        yield
        return
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=_PATIENCE)
    files.set_read_only(rank() > 0)
    try:
        yield
    except RuntimeError as error:
        if "onnection" not in str(error) and "gloo" not in str(error).lower():
            raise
        raise RunError(
            "another process of this run died; the same command goes on from the last checkpoint."
        ) from error
    finally:
        files.set_read_only(False)
        distributed.destroy_process_group()


def share(count: int) -> Tensor:
    """The places of this process among ``count`` things, dealt out in turn.

    >>> share(3)
    tensor([0, 1, 2])

    Raises:
        SettingsError: there are fewer things than processes.
    """
    if count < size():
        raise SettingsError(
            f"{count} clip(s) can't be shared by {size()} processes; take a larger batch, or fewer "
            "processes."
        )
    return torch.arange(count)[rank() :: size()]


@torch.no_grad()
def sum_over_all(parameters: Iterable[nn.Parameter], number: float) -> float:
    """Add up all processes' gradients in place, and a number; a weight that nobody reached stays None.

    >>> sum_over_all([], 2.5)
    2.5
    """
    if size() == 1:
        return number
    learning = [p for p in parameters if p.requires_grad]
    reached = torch.tensor([float(p.grad is not None) for p in learning])
    pieces = [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in learning]
    flat = torch.cat([*pieces, torch.tensor([number]).to(pieces[0]), reached.to(pieces[0])])
    distributed.all_reduce(flat)
    total, found = float(flat[-len(learning) - 1]), flat[-len(learning) :].tolist()
    sizes = [p.numel() for p in learning]
    for p, piece, n in zip(learning, flat[: sum(sizes)].split(sizes), found, strict=True):
        p.grad = piece.view_as(p).clone() if n else None
    return total


@torch.no_grad()
def average_buffers(model: nn.Module) -> None:
    """Means over all processes of what layers count up, such as a batch norm's statistics."""
    buffers = [b for b in model.buffers() if b.is_floating_point()]
    if size() == 1 or not buffers:
        return
    flat = torch.cat([b.flatten() for b in buffers])
    distributed.all_reduce(flat)
    for buffer, piece in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        buffer.copy_((piece / size()).view_as(buffer))


def gather(one: Any) -> Sequence[Any]:
    """What every process has, in the order of their numbers; plain data and tensors.

    >>> gather({"a": 1})
    [{'a': 1}]
    """
    if size() == 1:
        return [one]
    found: list[Any] = [None] * size()
    distributed.all_gather_object(found, one)
    return found
