"""Training on the first task only: what forgetting nothing and learning nothing more is worth.

Beside it, what strategies share that go on training a part of a detector while the rest stands still.
"""

from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from earwitness.strategies.base import Strategy
from earwitness.streams import Task
from earwitness.trials import Manifest

__all__ = ["Frozen", "freeze", "hold_statistics", "thaw"]


class Frozen(Strategy):
    """Learns the first task as ``naive`` does, and nothing after it.

    Where the classes are the same in every task its forgetting is zero by construction, so a method
    that forgets little must also be better than this at later tasks to have learned anything. Where
    tasks bring new classes and ``Training(heads="seen")`` lets them be named, their untrained logits
    can take over what the first task had right, and that counts as forgotten.

    >>> Frozen().storage().bytes
    0
    """

    spreads = True
    shards = True

    def choose_data(self, seen: Sequence[Task]) -> Manifest | None:
        """The first task's clips, then none."""
        return seen[0].train if len(seen) == 1 else None


def freeze(module: nn.Module, *, but: nn.Module | None = None) -> list[nn.Parameter]:
    """Stop training every weight, except those of one part; gives the weights it stopped.

    >>> body, head = nn.Linear(3, 2), nn.Linear(2, 2)
    >>> stopped = freeze(nn.Sequential(body, head), but=head)
    >>> [len(stopped), body.weight.requires_grad, head.weight.requires_grad]
    [2, False, True]
    """
    spared = {id(p) for p in but.parameters()} if but else set()
    stopped = [p for p in module.parameters() if p.requires_grad and id(p) not in spared]
    for parameter in stopped:
        parameter.requires_grad_(False)
    return stopped


def thaw(stopped: Iterable[nn.Parameter]) -> None:
    """Train again what ``freeze`` stopped."""
    for parameter in stopped:
        parameter.requires_grad_(True)


def hold_statistics(module: nn.Module) -> None:
    """Normalise by running statistics and leave them as they are.

    The loop puts the whole detector into training mode at each epoch, in which batch normalisation
    moves its statistics even where no weight is trained: call this before each forward pass.
    """
    for part in module.modules():
        if isinstance(part, _NormBase):
            part.eval()
