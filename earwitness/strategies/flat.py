"""Gradients beside the step's own: on any clips, and all weights' as one vector."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from earwitness.batches import Batch
from earwitness.strategies.base import Learning

__all__ = ["as_vector", "gradients_on", "put_vector", "rows_of", "spared_buffers"]


def gradients_on(learning: Learning, batch: Batch, weights: Sequence[Tensor]) -> list[Tensor]:
    """The criterion's gradients on a batch, zeros where none arrives; ``.grad`` is left alone."""
    loss = learning.criterion(learning.detector.hear(batch), batch)
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]


def rows_of(batch: Batch, rows: Tensor) -> Batch:
    """Some clips of a batch, by their places.

    >>> batch = Batch(torch.eye(2), torch.tensor([2, 2]), torch.tensor([0, 1]), ("a", "b"))
    >>> rows_of(batch, torch.tensor([1])).ids
    ('b',)
    """
    ids = tuple(batch.ids[row] for row in rows.tolist())
    rows = rows.to(batch.wave.device)
    tensors = {
        name: value[rows]
        for name, value in vars(batch).items()
        if isinstance(value, Tensor) and name != "whole"
    }
    return Batch(ids=ids, **tensors)


def as_vector(tensors: Sequence[Tensor]) -> Tensor:
    """All entries of all tensors, in order.

    >>> as_vector([torch.ones(2, 2), torch.zeros(1)])
    tensor([1., 1., 1., 1., 0.])
    """
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def put_vector(vector: Tensor, tensors: Sequence[Tensor]) -> None:
    """Write the entries of a vector back into the tensors that ``as_vector`` read.

    >>> place = torch.zeros(2, 1)
    >>> put_vector(torch.tensor([1.0, 2.0]), [place])
    >>> place.flatten()
    tensor([1., 2.])
    """
    parts = vector.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


@contextmanager
def spared_buffers(model: nn.Module) -> Iterator[None]:
    """Passes in training mode that leave running statistics as they were."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
