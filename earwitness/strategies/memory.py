"""A memory of clips, and what decides which clips it holds.

The clips lie in tensors that are allocated once, so a batch of them is one look-up. Who enters and
who leaves is decided by a policy: `Balanced` (reservoir sampling within groups), `Greedy` or `Biased`.

Sources: Vitter, "Random sampling with a reservoir", ACM TOMS 1985, Algorithm R; Prabhu et al.,
"GDumb", ECCV 2020, the greedy balancing sampler; Lin et al., "The CLEAR benchmark", NeurIPS 2021,
biased reservoir sampling.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.batches import Batch
from earwitness.errors import RunError

__all__ = ["Balance", "Balanced", "Biased", "Greedy", "Memory", "Policy", "groups_of"]

Balance = Literal["none", "class", "task", "class-task"]  # what there shall be equally much of


class Memory:
    """At most ``budget`` clips on the CPU, each with its label, id, group and any named columns.

    A clip has a place from 0 to ``len(memory) - 1``. Within a group places are listed from the clip
    that has been there longest to the latest.

    Args:
        budget: clips in all; None is no bound.

    >>> memory = Memory(2)
    >>> batch = Batch(torch.eye(3), torch.full((3,), 3), torch.tensor([0, 1, 1]), ("a", "b", "c"))
    >>> memory.put(batch, 0, 0, "old"); memory.put(batch, 1, 1, "new"); memory.put(batch, 2, 0, "new")
    >>> memory.batch(memory.of("new")).ids, len(memory), memory.groups
    (('b', 'c'), 2, ('new',))
    """

    def __init__(self, budget: int | None):
        self.budget = budget
        self.columns: dict[str, Tensor] = {}  # wave, label and others: (places or more, ...)
        self.ids: list[str] = []
        self._group: list[str] = []  # of each place
        self._places: dict[str, list[int]] = {}  # of each group

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that clips are in, in order of appearance."""
        return tuple(self._places)

    @property
    def bytes(self) -> int:
        """Of the clips that are held, with labels and other columns."""
        return sum(c[: len(self)].numel() * c.element_size() for c in self.columns.values())

    def of(self, group: str) -> list[int]:
        """Places of a group's clips, the latest last."""
        return list(self._places.get(group, ()))

    def column(self, name: str) -> Tensor:
        """A column of all clips, in the order of places: a view, (clips, ...)."""
        return self.columns[name][: len(self)]

    def batch(self, places: Tensor | Sequence[int]) -> Batch:
        """The clips at ``places`` (clips,)."""
        rows = torch.as_tensor(places, dtype=torch.long)
        wave = self.columns["wave"].index_select(0, rows)
        return Batch(
            wave,
            torch.full((len(rows),), wave.shape[1], dtype=torch.long),
            self.columns["label"].index_select(0, rows),
            tuple([self.ids[place] for place in rows.tolist()]),
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """All clips, in the order of places."""
        for places in torch.arange(len(self)).split(size):
            if len(places):
                yield self.batch(places)

    def draw(self, wanted: int, generator: torch.Generator) -> Tensor:
        """``wanted`` places at random, none twice; all of them where there are fewer."""
        return torch.randperm(len(self), generator=generator)[:wanted]

    def put(self, batch: Batch, row: int, place: int, group: str, **columns: Tensor) -> None:
        """Keep a copy of row ``row`` of ``batch`` at ``place``: a clip's, or the next free one.

        ``columns`` are rows of further columns, of one shape and the same names at every call.
        """
        if place == len(self):
            if place == self.budget:
                raise RunError(f"a memory of {self.budget} clip(s) is full; name a place below that.")
            self.ids.append("")
            self._group.append("")
        else:
            self._leave(place)
        self.ids[place], self._group[place] = batch.ids[row], group
        self._places.setdefault(group, []).append(place)
        for name, value in {"wave": batch.wave[row], "label": batch.label[row], **columns}.items():
            self._room(name, value)[place] = value.detach()

    def drop(self, places: Iterable[int]) -> None:
        """Forget clips; those after them move up, in the same order."""
        gone = set(places)
        kept = [place for place in range(len(self)) if place not in gone]
        for column in self.columns.values():
            column[: len(kept)] = column[kept]
        self.ids = [self.ids[place] for place in kept]
        self._group = [self._group[place] for place in kept]
        moved = {old: new for new, old in enumerate(kept)}
        left = {g: [moved[p] for p in of if p in moved] for g, of in self._places.items()}
        self._places = {group: of for group, of in left.items() if of}

    def _leave(self, place: int) -> None:
        places = self._places[self._group[place]]
        places.remove(place)
        if not places:
            del self._places[self._group[place]]

    def _room(self, name: str, value: Tensor) -> Tensor:
        """The column, with room for all clips."""
        old = self.columns.get(name)
        if old is None or len(old) < len(self):
            count = self.budget or max(64, 2 * len(self))
            self.columns[name] = torch.zeros(count, *value.shape, dtype=value.dtype)
            if old is not None:
                self.columns[name][: len(old)] = old
        return self.columns[name]

    def state(self) -> dict[str, Any]:
        """The clips and who they are."""
        columns = {name: self.column(name).clone() for name in self.columns}
        return {"columns": columns, "ids": list(self.ids), "places": _copied(self._places)}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a saved memory."""
        self.ids, self._places = list(state["ids"]), _copied(state["places"])
        group_of = {place: group for group, places in self._places.items() for place in places}
        self._group = [group_of[place] for place in range(len(self.ids))]
        self.columns = {}
        for name, kept in state["columns"].items():
            if len(kept):
                self._room(name, kept[0])[: len(kept)] = kept


def _copied(places: dict[str, list[int]]) -> dict[str, list[int]]:
    return {group: list(of) for group, of in places.items()}


def groups_of(batch: Batch, task: str, balance: Balance) -> list[str]:
    """The group of each clip: one for all, a class's, the task's, or the class's of the task.

    >>> batch = Batch(torch.eye(2), torch.full((2,), 2), torch.tensor([0, 1]), ("a", "b"))
    >>> groups_of(batch, "low", "class-task")
    ['low/0', 'low/1']
    """
    labels = batch.label.tolist()
    if balance in ("none", "task"):
        return [task if balance == "task" else "all"] * len(labels)
    return [f"{task}/{label}" if balance == "class-task" else str(label) for label in labels]


class Policy(ABC):
    """Decides for each clip that is offered whether the memory keeps it, and in whose place."""

    def __init__(self, memory: Memory):
        self.memory = memory
        self.seen: dict[str, int] = {}  # group -> clips offered so far; all of a policy's state

    def offer(
        self, batch: Batch, groups: Sequence[str], generator: torch.Generator, **columns: Tensor
    ) -> None:
        """Offer every clip of a batch, in order; ``columns`` (batch, ...) are kept with it."""
        if self.memory.budget == 0:
            return
        batch = batch.to("cpu")
        columns = {name: value.detach().cpu() for name, value in columns.items()}
        for row, group in enumerate(groups):
            self.seen[group] = self.seen.get(group, 0) + 1
            place = self.place(group, generator)
            if place is not None:
                mine = {name: value[row] for name, value in columns.items()}
                self.memory.put(batch, row, place, group, **mine)

    @abstractmethod
    def place(self, group: str, generator: torch.Generator) -> int | None:
        """Where the next clip of a group goes, or None; it has been counted in ``seen``."""

    @property
    def room(self) -> int | None:
        """The next free place, or None."""
        count = len(self.memory)
        return None if count == self.memory.budget else count

    def quota(self) -> int:
        """The even part of each group so far, in whole clips.

        Raises:
            RunError: that is not one clip, so that a group could only be left out.
        """
        assert self.memory.budget is not None, "quotas are parts of a budget"
        quota = self.memory.budget // len(self.seen)
        if not quota:
            raise RunError(
                f"a memory of {self.memory.budget} clip(s) can't hold one of each of "
                f"{len(self.seen)} groups; raise budget, or balance fewer things."
            )
        return quota


class Balanced(Policy):
    """At most ``budget // groups`` clips of each group; with one group, reservoir sampling.

    Args:
        memory: of a bounded number of clips.
        keep: a uniform sample of what a group was offered (Algorithm R), its ``first`` clips, or
            its ``last`` ones (a ring buffer).
        ordered: the order in which a group's clips come says something. If not, a uniform sample
            can be thinned at its end when a new group lowers the quota; else by drawing.
    """

    def __init__(
        self,
        memory: Memory,
        keep: Literal["random", "first", "last"] = "random",
        *,
        ordered: bool = False,
    ):
        super().__init__(memory)
        self.keep, self.ordered = keep, ordered

    def place(self, group: str, generator: torch.Generator) -> int | None:
        """In the group's free room, or in place of one of its own clips."""
        if self.seen[group] == 1:
            self._make_room(generator)
        mine = self.memory.of(group)
        if len(mine) < self.quota():
            return self.room
        if self.keep != "random":
            return mine[0] if self.keep == "last" else None
        # Algorithm R: the n-th clip replaces a kept one with probability kept / n.
        drawn = _below(self.seen[group], generator)
        return sorted(mine)[drawn] if drawn < len(mine) else None

    def _make_room(self, generator: torch.Generator) -> None:
        """Hold every group to the quota, which the new one has lowered."""
        quota = self.quota()
        crowded = [of for of in map(self.memory.of, self.memory.groups) if len(of) > quota]
        gone = [place for of in crowded for place in self._order(of, generator)[quota:]]
        if gone:
            self.memory.drop(gone)

    def _order(self, mine: list[int], generator: torch.Generator) -> list[int]:
        """A group's places, those to give up first at the end."""
        if self.keep == "random" and self.ordered:
            return [mine[i] for i in torch.randperm(len(mine), generator=generator).tolist()]
        return {"random": sorted(mine), "first": mine, "last": mine[::-1]}[self.keep]


class Greedy(Policy):
    """GDumb's sampler: a clip enters while its group is below ``budget / groups`` or there is room.

    In a full memory it takes the place of a drawn clip of the largest group.
    """

    def place(self, group: str, generator: torch.Generator) -> int | None:
        """The next free place, or that of a clip of the largest group."""
        if self.room is not None:
            return self.room
        if len(self.memory.of(group)) >= self.quota():
            return None
        largest = max(map(self.memory.of, self.memory.groups), key=len)
        return largest[_below(len(largest), generator)]


class Biased(Policy):
    """Clips enter a full memory with a set probability, in the place of any clip, drawn evenly.

    A reservoir's probability falls with all that was ever offered; this one favours the present.

    Args:
        memory: while there is room in it every clip enters.
        probability: of entering; may be set anew at each task.
    """

    def __init__(self, memory: Memory, probability: float = 1.0):
        super().__init__(memory)
        self.probability = probability

    def place(self, group: str, generator: torch.Generator) -> int | None:
        """The next free place, or with the set probability any clip's."""
        if self.room is not None:
            return self.room
        enters = float(torch.rand(1, generator=generator)) < self.probability
        return _below(len(self.memory), generator) if enters else None


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))
