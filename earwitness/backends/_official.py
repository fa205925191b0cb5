"""Weights that were released for the networks' original code, under our names.

A file is read as tensors alone, by a reader that follows nothing else in it (`corpora._pth`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.corpora._pth import read_pth
from earwitness.errors import CheckpointError, ProtocolError

__all__ = ["Rules", "read_tensors", "rename", "take_over"]

Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file that ``torch.save`` wrote from a ``state_dict``, on the CPU.

    Raises:
        CheckpointError: no such file, damaged, or more in it than names and tensors.
    """
    try:
        state = read_pth(Path(path))
    except ProtocolError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(state, Mapping) or not all(isinstance(v, np.ndarray) for v in state.values()):
        raise CheckpointError(f"{path}: expected a state_dict, names with a tensor each.")
    return {name: torch.from_numpy(value) for name, value in state.items()}


def rename(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Each name after all of the ``rules`` (pattern, replacement), in their order.

    >>> list(rename({"block3.0.bn2.bias": torch.zeros(1)}, [(r"^block(\\d)\\.0", r"blocks.\\1")]))
    ['blocks.3.bn2.bias']
    """
    renamed = {}
    for name, value in state.items():
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        renamed[new] = value
    return renamed


def take_over(module: nn.Module, state: Mapping[str, Tensor], path: Any, advice: str) -> None:
    """Load ``state`` into ``module``; both must have the same names and shapes.

    Raises:
        CheckpointError: they have not; the message names the first that differ and gives ``advice``.
    """
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    wrong = [f"{n} is absent" for n in own if n not in given]
    wrong += [f"{n} is not known" for n in given if n not in own]
    wrong += [f"{n} is {given[n]}, expected {own[n]}" for n in own if given.get(n, own[n]) != own[n]]
    if wrong:
        listed = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise CheckpointError(f"{path}: not the weights of this network ({listed}). {advice}")
    module.load_state_dict(state)
