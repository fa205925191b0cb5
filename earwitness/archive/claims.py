"""Who takes which chunk when several processes score one archive: whoever is free takes the next.

``torchrun`` starts the processes, watches them and starts them again when one dies; they count through
the store that it holds for them. Nothing else is shared but the folder that they write to.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

from earwitness.errors import MissingExtra, RunError

__all__ = ["Alone", "Together", "claims"]

_POLL = 0.2  # seconds


class Alone:
    """One process, which takes everything."""

    number = 0

    def take(self, count: int) -> Iterator[int]:
        """Numbers below ``count``, each for one process only, when it asks for the next."""
        yield from range(count)

    def agree(self, on: str) -> None:
        """Check that all processes have the same to do."""

    def meet(self) -> None:
        """Wait until all others are here, too."""


class Together(Alone):
    """One of several; ``store`` counts for all of them."""

    def __init__(self, store: Any, number: int, size: int):
        self._store, self.number, self._size = store, number, size

    def take(self, count: int) -> Iterator[int]:  # noqa: D102
        while (number := self._store.add("taken", 1) - 1) < count:
            yield number

    def agree(self, on: str) -> None:  # noqa: D102
        if self.number == 0:
            self._store.set("to do", on)
        if self._store.get("to do").decode() != on:
            raise RunError(
                "the processes see different recordings; all of them must see the same files, and none "
                "may be added while they start. Start again."
            )

    def meet(self) -> None:  # noqa: D102
        self._store.add("here", 1)
        while self._store.add("here", 0) < self._size:
            time.sleep(_POLL)


def claims() -> Alone:
    """This process's, with the others that ``torchrun`` started if it did.

    >>> list(claims().take(3))
    [0, 1, 2]
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Alone()
    try:
        from torch.distributed import PrefixStore
        from torch.distributed.rendezvous import rendezvous
    except ModuleNotFoundError:
        raise MissingExtra("scoring by several processes of torchrun", "torch") from None
    number = int(os.environ["RANK"])
    store, _, _ = next(rendezvous("env://", number, size))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # each counts anew
    return Together(PrefixStore(f"earwitness/{attempt}", store), number, size)
