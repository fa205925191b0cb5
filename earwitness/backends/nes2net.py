"""Nes2Net-X: small residual networks nested in one another, for the features of large encoders."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.backends._lengths import by_length
from earwitness.backends.base import BackEnd
from earwitness.errors import SettingsError
from earwitness.frontends.base import Frames

__all__ = ["Nes2Net"]


class Nes2Net(BackEnd):
    """Liu et al., "Nes2Net" (IEEE T-IFS 2025, arXiv 2504.05657), the variant X, with mean pooling.

    Features are cut into ``groups``; each but the last passes through a network of its own, to which
    the outcome of the one before is added. No layer reduces the size of the encoder's frames. With
    1024 features and one logit it has the 511,014 weights of the release; a second logit adds 1,025.

    Args:
        groups: a divisor of the features. ``parts``: into which each network cuts a group again.
        dilation: of the convolutions over 3 frames.
        squeeze: how many times smaller the hidden layer of the channels' gains is.

    Raises:
        SettingsError: features don't fit groups and parts.

    >>> [sum(p.numel() for p in Nes2Net(features=1024, classes=n).parameters()) for n in (1, 2)]
    [511014, 512039]
    """

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        groups: int = 8,
        parts: int = 8,
        dilation: int = 2,
        squeeze: int = 1,
    ):
        super().__init__()
        size = features // groups
        if features % groups or size < max(parts, squeeze):
            raise SettingsError(
                f"back end 'nes2net' cuts {features} features into {groups} groups, each into {parts} "
                "parts; features must be a multiple of groups, and at least groups x parts."
            )
        self.size = size
        self.nested = nn.ModuleList(_Nested(size, parts, dilation, squeeze) for _ in range(groups - 1))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for _ in range(groups - 1))
        self.norm = nn.BatchNorm1d(features)
        self.dim = features
        self.head = nn.Linear(features, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Frames to the mean of what all groups became (batch, features)."""
        return by_length(self._read_out, frames.values, frames.length)

    def _read_out(self, values: Tensor) -> Tensor:
        *groups, last = values.split(self.size, 1)
        before, done = torch.zeros_like(last), []
        for group, network, norm in zip(groups, self.nested, self.norms, strict=True):
            before = norm(F.relu(network(before + group)))
            done.append(before)
        return F.relu(self.norm(torch.cat([*done, last], 1))).mean(2)


class _Nested(nn.Module):
    """A group's network: parts that join one after another, a weighted sum of them, channel gains.

    The last part comes first; with each step another joins, all that are there pass through the same
    convolution, and their sum with learned weights is that step's outcome.
    """

    def __init__(self, size: int, parts: int, dilation: int, squeeze: int):
        super().__init__()
        self.width = size // parts
        wide, steps = self.width * parts, range(1, parts)
        self.enter, self.leave = nn.Conv1d(size, wide, 1), nn.Conv1d(wide, size, 1)
        self.enter_norm, self.leave_norm = nn.BatchNorm1d(wide), nn.BatchNorm1d(size)
        self.convs = nn.ModuleList(
            nn.Conv2d(self.width, self.width, (1, 3), padding=(0, dilation), dilation=(1, dilation))
            for _ in steps
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(self.width) for _ in steps)
        self.weights = nn.ParameterList(torch.full((n + 1, 1), 1 / (n + 1)) for n in steps)
        self.gain = nn.Sequential(
            *(nn.Linear(size, size // squeeze), nn.ReLU()),
            *(nn.Linear(size // squeeze, size), nn.Sigmoid()),
        )

    def forward(self, values: Tensor) -> Tensor:
        *parts, last = self.enter_norm(F.relu(self.enter(values))).split(self.width, 1)
        there, sums = last[:, :, None], []
        for part, conv, norm, weight in zip(parts, self.convs, self.norms, self.weights, strict=True):
            there = norm(F.relu(conv(torch.cat([there, part[:, :, None]], 2))))
            sums.append((there * weight).sum(2))
        outcome = self.leave_norm(F.relu(self.leave(torch.cat([*sums, last], 1))))
        return outcome * self.gain(outcome.mean(2))[..., None] + values
