"""Plain fine-tuning on each task in turn: the lower reference."""

from earwitness.strategies.base import Strategy

__all__ = ["Naive"]


class Naive(Strategy):
    """Does nothing about the past.

    >>> Naive().storage()
    Storage(bytes=0, clips=0, keeps_audio=False)
    """

    spreads = True
    shards = True
