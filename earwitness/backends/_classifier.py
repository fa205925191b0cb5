"""The small network at the end of RAT and its relatives: D to D/2 to D/4 to the classes."""

from torch import nn

from earwitness.errors import SettingsError

__all__ = ["narrowing"]


def narrowing(features: int) -> nn.Sequential:
    """Linear, BatchNorm, ReLU, twice, halving the width each time; the head comes after it.

    Raises:
        SettingsError: fewer than four features.

    >>> sum(p.numel() for p in narrowing(1024).parameters()) + 256 * 2 + 2
    658178
    """
    if features < 4:
        raise SettingsError(f"a vector of {features} can't be halved twice; take more features.")
    half, quarter = features // 2, features // 4
    return nn.Sequential(
        nn.Linear(features, half),
        nn.BatchNorm1d(half),
        nn.ReLU(),
        nn.Linear(half, quarter),
        nn.BatchNorm1d(quarter),
        nn.ReLU(),
    )
