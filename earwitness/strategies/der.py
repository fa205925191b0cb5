"""Dark experience: the memory keeps what the detector said, and it has to go on saying it.

Buzzega et al., "Dark experience for general continual learning: a strong, simple baseline", NeurIPS
2020. DER: L + alpha mean (z - z(x))^2, over the elements of the logits z of clips x of the memory, as
they were when they entered it. DER++: also beta times the loss on the labels of a second draw.
"""

from typing import Literal

import torch
from torch import Tensor

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.errors import SettingsError
from earwitness.rules.base import UNKNOWN
from earwitness.strategies.base import Learning, quiet
from earwitness.strategies.flat import rows_of
from earwitness.strategies.memory import Balance, Balanced, Memory, groups_of
from earwitness.strategies.rehearsal import Rehearsal
from earwitness.streams import Task

__all__ = ["DER", "DERPlusPlus", "squared_distance"]


class DER(Rehearsal):
    """Logits of remembered clips are held where they were.

    Logits of classes that could not be named at that time don't count. Where tasks bring new classes,
    train with ``heads="all"``, as the authors do: it is then also held that an old clip is none of the
    classes to come. With ``heads="seen"`` DER, which has no labels, forgets the old classes.

    Args:
        budget: clips kept in all. ``share``: remembered clips for each clip of the batch.
        alpha: of the logits' squared distance; 0 is the same as naive.
        balance: as of ``Replay``; the authors' is ``none``, a reservoir.
        insert: ``online``, each batch with the logits of its training step, as in the authors' code
            (over several epochs a clip may come to be held more than once); or at the ``task-end``,
            each clip once, from one pass with the finished detector.

    >>> DER(alpha=0.3).insert
    'online'
    """

    source = "Buzzega et al., NeurIPS 2020"
    keeps = "clips, as audio, and their logits"

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        alpha: float = 0.5,
        balance: Balance = "none",
        insert: Literal["online", "task-end"] = "online",
    ):
        super().__init__(Balanced(Memory(budget), ordered=balance == "class"), share)
        if not alpha >= 0:
            raise SettingsError(f"alpha is {alpha}, expected >= 0.")
        self.alpha, self.balance, self.insert = alpha, balance, insert
        self._task = ""

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Note the task's name."""
        self._task = task.name

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """The batch as it is: the memory has a loss of its own."""
        return batch

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """alpha times the mean squared distance of remembered clips' logits from what they were."""
        places = self.memory.draw(round(self.share * len(batch)), learning.generator)
        if not self.alpha or not len(places):
            return None
        drawn = self.memory.batch(places).to(batch.wave.device)
        before = self.memory.column("logits")[places].to(batch.wave.device)
        now = learning.detector.hear(drawn).logits
        return self.alpha * squared_distance(now, before)

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Offer the step's clips to the memory, with what was said of them."""
        if self.insert == "online":
            self._offer(learning, batch, output)

    def end_task(self, learning: Learning, task: Task) -> None:
        """Or offer the whole task."""
        if self.insert == "task-end":
            with quiet(learning.detector):
                for batch in learning.data():
                    self._offer(learning, batch, learning.detector.hear(batch))

    def _offer(self, learning: Learning, batch: Batch, output: Output) -> None:
        groups = groups_of(batch, self._task, self.balance)
        self.policy.offer(batch, groups, learning.generator, logits=output.logits)


class DERPlusPlus(DER):
    """DER, and the loss of a second draw on its labels.

    Args:
        budget, share, alpha, balance, insert: as of ``DER``.
        beta: of the second draw's loss; with alpha and beta 0 the same as naive.

    >>> DERPlusPlus(alpha=0.3).beta
    0.5
    """

    def __init__(
        self,
        *,
        budget: int = 200,
        share: float = 1.0,
        alpha: float = 0.5,
        beta: float = 0.5,
        balance: Balance = "none",
        insert: Literal["online", "task-end"] = "online",
    ):
        super().__init__(budget=budget, share=share, alpha=alpha, balance=balance, insert=insert)
        if not beta >= 0:
            raise SettingsError(f"beta is {beta}, expected >= 0.")
        self.beta = beta

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """The distance of the first draw's logits, and beta times the loss of the second.

        Both draws go through the detector together, which costs less than one after the other.
        """
        if not self.beta:
            return super().penalty(learning, batch, output)
        wanted = round(self.share * len(batch))
        held = self.memory.draw(wanted if self.alpha else 0, learning.generator)
        named = self.memory.draw(wanted, learning.generator)
        if not len(named):
            return None
        drawn = self.memory.batch(torch.cat([held, named])).to(batch.wave.device)
        told = learning.detector.hear(drawn)
        first = len(held)
        second = rows_of(drawn, torch.arange(first, len(drawn)))
        loss = self.beta * learning.criterion(
            Output(told.logits[first:], told.embedding[first:]), second
        )
        if not first:
            return loss
        before = self.memory.column("logits")[held].to(batch.wave.device)
        return loss + self.alpha * squared_distance(told.logits[:first], before)


def squared_distance(now: Tensor, before: Tensor) -> Tensor:
    """Mean over the elements (clips, classes) of the logits that were known before.

    >>> import torch
    >>> squared_distance(torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, UNKNOWN]]))
    tensor(4.)
    """
    known = (before != UNKNOWN).to(now.dtype)
    return ((now - before).square() * known).sum() / known.sum()
