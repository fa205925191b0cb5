"""Clips of equal length together, for networks that have no notion of padding."""

from collections.abc import Callable

import torch
from torch import Tensor

from earwitness.errors import SettingsError
from earwitness.frontends.base import exporting

__all__ = ["by_length", "require_samples"]


def by_length(run: Callable[[Tensor], Tensor], values: Tensor, length: Tensor) -> Tensor:
    """``run`` on the clips of each length apart, without padding; its rows come back in order.

    Args:
        run: from (clips, ..., frames) to (clips, dim). In training it sees each group by itself.
        values: (batch, ..., frames), and ``length`` (batch,) how many of them are a clip's own.

    >>> clips = torch.tensor([[1.0, 2, 0], [1, 2, 3], [4, 5, 0]])
    >>> by_length(lambda group: group.mean(1, keepdim=True), clips, torch.tensor([2, 3, 2])).T
    tensor([[1.5000, 2.0000, 4.5000]])
    """
    if exporting():  # `earwitness.export`: one graph, in which all clips are heard whole
        return run(values)
    lengths = length.tolist()
    kinds = sorted(set(lengths))
    if len(kinds) == 1:
        return run(values[..., : kinds[0]])
    groups = [[place for place, n in enumerate(lengths) if n == kind] for kind in kinds]
    rows = [run(values[group][..., :kind]) for group, kind in zip(groups, kinds, strict=True)]
    places = torch.tensor([place for group in groups for place in group], device=values.device)
    return torch.cat(rows)[places.argsort()]


def require_samples(features: int, name: str) -> None:
    """Raise when frames are not single samples.

    Raises:
        SettingsError: ``features`` is not 1; the message says which front end to take.
    """
    if features != 1:
        raise SettingsError(
            f"back end {name!r} hears the wave itself, 1 feature a frame, and was given {features}; "
            "take the front end 'wave'."
        )
