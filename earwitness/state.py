"""Saving and loading nested state without pickle: tensors in safetensors, the rest as JSON beside.

A state is a tree of dicts and lists whose leaves are tensors, numbers, strings, booleans or None.
Reading a state never executes anything that is in it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from earwitness.errors import CheckpointError
from earwitness.files import write_atomically

__all__ = ["load_state", "peek_state", "save_state"]

_KEY = "earwitness"


def save_state(path: str | Path, state: Any) -> None:
    """Write a state tree as one safetensors file, atomically.

    Raises:
        CheckpointError: a leaf is neither a tensor nor plain data.
    """
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _take(state, tensors, "state")
    metadata = {_KEY: json.dumps(skeleton)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def load_state(path: str | Path) -> Any:
    """Read a state tree that ``save_state`` wrote.

    Raises:
        CheckpointError: absent, truncated, corrupted or not ours.
    """
    return _read(path, with_tensors=True)


def peek_state(path: str | Path) -> Any:
    """The same tree with None for every tensor: quick, whatever the size.

    Raises:
        CheckpointError: absent, truncated, corrupted or not ours.
    """
    return _read(path, with_tensors=False)


def _read(path: str | Path, *, with_tensors: bool) -> Any:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise CheckpointError(f"{path}: not an earwitness state (its header has no mark).")
            # Cloned into memory of torch's own alignment, which can decide the last bit of a product.
            tensors = {
                name: file.get_tensor(name).clone() if with_tensors else None
                for name in file.keys()  # noqa: SIM118
            }
            return _give(json.loads(metadata[_KEY]), tensors)
    except (SafetensorError, OSError, json.JSONDecodeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as saved state, it is absent, truncated or foreign ({error})."
        ) from None


def _take(node: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    """Move tensors out of the tree; each leaves ``{"tensor": name}`` behind."""
    if isinstance(node, torch.Tensor):
        name = f"{len(tensors)}"
        tensors[name] = node.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(node, dict):
        items = [[key, _take(v, tensors, f"{path}.{key}")] for key, v in node.items()]
        return {"dict": items}
    if isinstance(node, list | tuple):
        return {"list": [_take(v, tensors, f"{path}.{i}") for i, v in enumerate(node)]}
    if node is None or isinstance(node, bool | int | float | str):
        return {"value": node}
    raise CheckpointError(f"{path} is a {type(node).__name__}; a state holds tensors and plain data.")


def _give(node: dict[str, Any], tensors: Mapping[str, torch.Tensor | None]) -> Any:
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "dict" in node:
        return {key: _give(v, tensors) for key, v in node["dict"]}
    if "list" in node:
        return [_give(v, tensors) for v in node["list"]]
    return node["value"]
