"""Several strategies at once, for instance a memory and a projection."""

from collections.abc import Iterable, Sequence
from itertools import chain, permutations
from typing import Any

from torch import Tensor, nn

from earwitness.backends.base import Output
from earwitness.batches import Batch
from earwitness.detector import Detector
from earwitness.errors import SettingsError
from earwitness.rules.base import Rule
from earwitness.strategies import STRATEGIES
from earwitness.strategies.base import Learning, Storage, Strategy
from earwitness.streams import Task
from earwitness.trials import Manifest

__all__ = ["Chain"]

_ALONE = ("choose_data", "objective", "rule")  # verbs whose answers can't be put together

# Classes, with those derived from them, whose methods are about the detector's own weights: anchors,
# teachers, what turns gradients, what rewrites the head. A part with a true ``restart`` counts as
# _RESTART: it puts the first weights back.
_ON_WEIGHTS = ("Anchored", "LwF", "ProjectedStrategy", "SubspaceStrategy", "GEM", "RegO", "CWRStar")
_RESTART = "restart"
_CLASHES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "ELMA",
        _ON_WEIGHTS,
        "after the first task the one trains updates beside the detector's weights, which stand "
        "still, and the other is about those weights",
    ),
    (
        "ELMA",
        (_RESTART,),
        "the one's updates are to weights that the other puts back to the first ones",
    ),
    ("ELMA", ("Frozen",), "the one's updates are trained after the first task, when the other stops"),
    (
        "Frozen",
        _ON_WEIGHTS,
        "the one trains nothing after the first task, so the other would have nothing to act on",
    ),
    (
        "Frozen",
        (_RESTART,),
        "the other puts the first weights back, and the one doesn't train them again",
    ),
    (
        "MemoryOnly",
        ("Rehearsal",),
        "the one trains on its memory in place of the batch, so the other's replayed clips are dropped "
        "or are copies of the one's",
    ),
)


class Chain(Strategy):
    """The parts' verbs, one part after the other.

    Batches are extended and gradients edited in the order of the parts, each seeing what the one
    before made of them; penalties are added. Only one part may choose the data, only one may have an
    objective of its own, and only one a decision rule. A chain of one part is that part, to the bit.

    The order matters: what puts weights back (``joint``) first; then memories; then penalties, whose
    gradients later parts may turn; projections last, as whatever is added after a projection is not
    projected. Every part sees the batch as all of them extended it, replayed clips included: of two
    parts that fill memories from batches, each would store what the other replays.

    Parts that undo one another are refused: ``elma`` goes with memories that replay, but not with what
    holds, distils, turns or restarts weights; nor do these go with ``frozen`` and ``slda``, which train
    on the first task only; and what trains on its memory alone (``gdumb`` and the like) doesn't go
    with a replay.

    Args:
        parts: ``name`` and settings of each strategy.

    >>> chain = Chain(parts=({"name": "replay", "budget": 50}, {"name": "owm"}))
    >>> [type(part).__name__ for part in chain.strategies]
    ['Replay', 'OWM']

    Raises:
        SettingsError: no part, a part without a name or with unknown settings, two parts that each
            choose the data, the objective or the rule, or two that undo one another.
    """

    keeps = "what its parts keep"

    def __init__(
        self,
        *,
        parts: tuple[dict[str, Any], ...] = ({"name": "replay", "budget": 200}, {"name": "rwm"}),
    ):
        self.strategies: list[Strategy] = []
        for part in parts:
            built = _build(part)
            self.strategies += built.strategies if isinstance(built, Chain) else [built]
        if not self.strategies:
            raise SettingsError("a chain needs at least one part, as {name = ..., settings}.")
        self._sole = {verb: self._only(verb) for verb in _ALONE}
        for one, other in permutations(self.strategies, 2):
            _check_pair(one, other)

    @property
    def restarts(self) -> bool:
        """Whether a part does."""
        return any(part.restarts for part in self.strategies)

    @property
    def decides_by_rule(self) -> bool:
        """Whether a part does."""
        return any(part.decides_by_rule for part in self.strategies)

    def _only(self, verb: str) -> Strategy:
        """The one part that changes the verb, or any if none does."""
        base = getattr(Strategy, verb)
        mine = [part for part in self.strategies if getattr(type(part), verb) is not base]
        if len(mine) > 1:
            names = " and ".join(type(part).__name__ for part in mine)
            raise SettingsError(
                f"chain: {names} each have a {verb} of their own, and only one can be followed; "
                "keep one of them."
            )
        return (mine or self.strategies)[0]

    def choose_data(self, seen: Sequence[Task]) -> Manifest | None:
        """As the one part that chooses; by default the current task's clips."""
        return self._sole["choose_data"].choose_data(seen)

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Every part's."""
        for part in self.strategies:
            part.begin_task(learning, task)

    def weights(self) -> Iterable[nn.Parameter]:
        """All parts'."""
        return chain.from_iterable(part.weights() for part in self.strategies)

    def extend_batch(self, learning: Learning, batch: Batch) -> Batch:
        """Each part extends what the one before gave."""
        for part in self.strategies:
            batch = part.extend_batch(learning, batch)
        return batch

    def objective(self, learning: Learning, batch: Batch, output: Output) -> Tensor:
        """As the one part that has its own; by default the criterion."""
        return self._sole["objective"].objective(learning, batch, output)

    def penalty(self, learning: Learning, batch: Batch, output: Output) -> Tensor | None:
        """The sum of the parts'."""
        found = [part.penalty(learning, batch, output) for part in self.strategies]
        given = [penalty for penalty in found if penalty is not None]
        return sum(given[1:], given[0]) if given else None

    def edit_gradients(self, learning: Learning, batch: Batch, output: Output) -> None:
        """Each part edits what the one before left."""
        for part in self.strategies:
            part.edit_gradients(learning, batch, output)

    def after_step(self, learning: Learning) -> None:
        """Every part's."""
        for part in self.strategies:
            part.after_step(learning)

    def end_task(self, learning: Learning, task: Task) -> None:
        """Every part's."""
        for part in self.strategies:
            part.end_task(learning, task)

    def rule(self) -> Rule | None:
        """As the one part that has one."""
        return self._sole["rule"].rule()

    def check_optimiser(self, optimiser: str, weight_decay: float) -> None:
        """Every part's warnings."""
        for part in self.strategies:
            part.check_optimiser(optimiser, weight_decay)

    def state(self) -> dict[str, Any]:
        """The parts' states in their order."""
        return {"parts": [part.state() for part in self.strategies]}

    def load(self, state: dict[str, Any], detector: Detector) -> None:
        """Take up the parts' states."""
        for part, saved in zip(self.strategies, state["parts"], strict=True):
            part.load(saved, detector)

    def storage(self) -> Storage:
        """What all parts keep together."""
        kept = [part.storage() for part in self.strategies]
        return Storage(
            bytes=sum(k.bytes for k in kept),
            clips=sum(k.clips for k in kept),
            keeps_audio=any(k.keeps_audio for k in kept),
        )

    def action(self) -> list[dict[str, Any]]:
        """The parts' records, one after the other."""
        return [record for part in self.strategies for record in part.action()]


def _build(part: dict[str, Any]) -> Strategy:
    if "name" not in part:
        raise SettingsError(f"chain: each part needs the name of a strategy; found only {part}.")
    if part["name"] == "distil":  # its file is found, and told, by the experiment
        raise SettingsError(
            "chain: distil goes alone. Let a student learn with it first; another experiment, with "
            "[detector] start, then goes on from there with any strategy."
        )
    built: Strategy = STRATEGIES.build(**part)
    return built


def _check_pair(one: Strategy, other: Strategy) -> None:
    """Refuse two parts that undo one another."""
    mine, others = _kinds(one), _kinds(other)
    for kind, clashing, why in _CLASHES:
        if kind in mine and others.intersection(clashing):
            names = f"{type(one).__name__} and {type(other).__name__}"
            raise SettingsError(f"chain: {names} can't be put together: {why}; leave one of them out.")


def _kinds(part: Strategy) -> set[str]:
    """The part's classes by name (by name, so that a chain loads no other strategy's module)."""
    names = {kind.__name__ for kind in type(part).__mro__}
    return names | {_RESTART} if getattr(part, "restart", False) else names
