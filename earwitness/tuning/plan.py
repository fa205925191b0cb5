"""A file that says what to search, taken apart: the experiment, the spaces, the budget."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from earwitness.errors import SettingsError
from earwitness.experiment import Experiment
from earwitness.metrics import lower_is_better
from earwitness.runs import Run, plan_runs
from earwitness.settings import read_settings, vary
from earwitness.shelf import bind_settings
from earwitness.streams import Stream
from earwitness.trials import CLASSES
from earwitness.tuning.spaces import Space, first_of, merge, section, take_space

__all__ = ["Budget", "Plan", "read_plan"]


@dataclass(frozen=True)
class Budget:
    """The section ``[tuning]``: trials of each searched strategy, seeds of each trial."""

    trials: int = 12
    seeds: tuple[int, ...] = (100,)
    sampler_seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1 or self.sampler_seed < 0:
            raise SettingsError(
                f"[tuning] trials is {self.trials} and sampler_seed {self.sampler_seed}; "
                "expected trials from 1 and sampler_seed from 0."
            )


@dataclass(frozen=True)
class Plan:
    """The file as ``given``; ``base`` is the experiment in it, with some settings of each space."""

    given: dict[str, Any]
    base: Experiment
    spaces: dict[str, Space]
    budget: Budget

    def strategy(self, label: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """A strategy's own settings and the chosen ones."""
        return merge(self.base.settings["strategies"][label], chosen)

    def trial(self, number: int, chosen: Mapping[str, Mapping[str, Any]]) -> Experiment:
        """Some strategies with chosen settings: the search's seeds, the first order, dev alone."""
        stream = dict(self.base.settings["stream"])
        orders = stream.pop("orders", None)
        if isinstance(orders, list):
            stream["order"] = orders[0]
        settings = {
            **self.base.settings,
            "name": f"{self.base.name}-trial-{number}",
            "seeds": list(self.budget.seeds),
            "stream": stream,
            "strategies": {label: self.strategy(label, own) for label, own in chosen.items()},
            "evaluation": {"splits": ["dev"], "untrained": False},
        }
        return Experiment.from_settings(settings, folder=self.base.folder)

    @cached_property
    def stream(self) -> Stream:
        """The tasks in their first order."""
        return self.trial(0, {label: {} for label in self.spaces}).stream()

    @property
    def metric(self) -> str:
        """What a trial is judged by."""
        return "eer" if self.stream.classes == CLASSES else "accuracy"

    @property
    def minimise(self) -> bool:
        """Whether a lower value is a better one."""
        return lower_is_better(self.metric)

    def runs(self, label: str, folder: Path) -> list[Run]:
        """The runs of one trial, one a seed."""
        tasks = [task.name for task in self.stream]
        return plan_runs(folder, [label], self.budget.seeds, [tasks], metric=self.metric)


def read_plan(path: Path, overrides: Iterable[str], trials: int | None) -> Plan:
    """Read a file; ``trials`` takes the place of its own.

    Raises:
        SettingsError: the file is wrong, an end of what is searched is not allowed, nothing is
            searched, or a seed is among those that are reported.
    """
    given = read_settings(path, overrides)
    try:
        plan = _take_apart(given, path.parent, {} if trials is None else {"trials": trials})
        _check_seeds(plan)
        for label, space in plan.spaces.items():
            _check_ends(plan, label, space)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    return plan


def _take_apart(given: dict[str, Any], folder: Path, more: dict[str, Any]) -> Plan:
    rest = deepcopy(given)
    tuning = section(rest.pop("tuning", {}), "[tuning]")
    budget = Budget(**bind_settings(Budget, {**tuning, **more}, "[tuning]"))
    strategies: dict[str, Any] = {}
    spaces: dict[str, Space] = {}
    for label, settings in section(rest.get("strategies", {}), "[strategies]").items():
        space = take_space(label, settings)
        for name, own in vary({label: settings}).items():
            strategies[name], spaces[name] = merge(own, first_of(space)), space
    if not any(spaces.values()):
        raise SettingsError("nothing is to be searched; say what in [strategies.<label>.search].")
    base = Experiment.from_settings({**rest, "strategies": strategies}, folder=folder)
    return Plan(given, base, spaces, budget)


def _check_seeds(plan: Plan) -> None:
    plan.trial(0, {})  # refuses what is no list of seeds
    reported = sorted(set(plan.budget.seeds) & set(plan.base.seeds))
    if reported:
        raise SettingsError(
            f"[tuning] seeds has {reported[0]}, which is among the experiment's seeds too; choose "
            "others, so that no run that is reported has had a say in its settings."
        )


def _check_ends(plan: Plan, label: str, space: Space) -> None:
    """Whether every end of the search is allowed, before anything is learned."""
    for name, values in space.items():
        for end in values.ends:
            one = {label: plan.strategy(label, {name: end})}
            trial = Experiment("", {**plan.base.settings, "strategies": one})
            try:
                trial.strategy(label), trial.training(label)
            except SettingsError as error:
                raise SettingsError(f"[strategies.{label}.search] {name}: {error}") from None
