"""The search itself: ask for settings, run them side by side, judge them on dev, tell."""

import importlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earwitness.errors import MissingExtra, ProtocolError, RunError
from earwitness.evaluation import summary
from earwitness.experiment import Experiment
from earwitness.files import write_json
from earwitness.records import write_provenance
from earwitness.running import run
from earwitness.runs import Run
from earwitness.tuning.plan import Plan, read_plan
from earwitness.tuning.record import Tried, Tuned, conclude, keep_search, write_record, write_tuned
from earwitness.tuning.spaces import Space, size_of

__all__ = ["Search", "tune"]

# What bad settings can end in: no finite loss, no finite scores, a matrix that cannot be factored.
_FAILURES = (RunError, ProtocolError, torch.linalg.LinAlgError, np.linalg.LinAlgError)
# Where a RunError comes from that says nothing of the settings: the folder in use, a worker killed.
_ELSEWHERE = (BlockingIOError, BrokenProcessPool)

_Chosen = dict[str, dict[str, Any]]  # label -> settings


def tune(
    path: str | Path,
    folder: str | Path,
    *,
    trials: int | None = None,
    workers: int = 1,
    overrides: Iterable[str] = (),
    on_trial: Callable[[Tried], object] = lambda tried: None,
) -> Tuned:
    """Search settings for each strategy that says what to search, on dev, with equally many trials.

    The value of a trial is the mean over all tasks after the last one, over the search's seeds, with
    the tasks in their first order: EER, or accuracy for other classes than bonafide and spoof. A trial
    that fails (its loss became NaN, say) counts as the worst value. No settings are tried twice. The
    same call goes on where it was stopped and ends with the same result; so does one for more trials.

    Args:
        path: the experiment file. ``overrides``: ``section.key=value``, replacing values of it.
        folder: where to write.
        trials: for each searched strategy, by default the file's; strategies without search have one.
        workers: runs side by side.
        on_trial: told of every trial in order.

    Raises:
        SettingsError: the file is wrong, or an end of what is to be searched.
        CheckpointError: the folder has another search in it.
        RunError: every trial of a strategy failed; or another process is at work in the folder.
        MissingExtra: without Optuna.
    """
    optuna = _optuna()
    plan, folder = read_plan(Path(path), overrides, trials), Path(folder)
    seed = plan.budget.sampler_seed
    searches = {n: Search(space, seed, plan.minimise) for n, space in plan.spaces.items()}
    keep_search(plan, folder / "search.toml")
    tried: list[Tried] = []
    for number in range(1, plan.budget.trials + 1):
        asked = {label: search.ask() for label, search in searches.items()}
        chosen = {label: settings for label, settings in asked.items() if settings is not None}
        for one in _try(plan, number, chosen, folder / "trials" / str(number), workers):
            searches[one.label].tell(one.value)
            tried.append(one)
            on_trial(one)
        tuned = conclude(plan, tried, folder)
        write_record(plan, tuned, f"TPESampler of Optuna {optuna.__version__}")
    write_tuned(plan, tuned)
    return tuned


class Search:
    """The search in one space: which settings to try next, never the same twice.

    >>> from earwitness.tuning.spaces import Choices
    >>> search = Search({"budget": Choices([8, 16])}, seed=0, minimise=True)
    >>> for value in (0.2, 0.1):
    ...     print(search.ask())
    ...     search.tell(value)
    {'budget': 16}
    {'budget': 8}
    >>> search.ask() is None
    True
    """

    def __init__(self, space: Space, seed: int, minimise: bool):
        self.optuna = _optuna()
        self.space = space
        self.tried: list[dict[str, Any]] = []
        self.study = self.optuna.create_study(direction="minimize" if minimise else "maximize")
        self.parzen = self.optuna.samplers.TPESampler(seed=seed)
        self.chance = self.optuna.samplers.RandomSampler(seed=seed + 1)

    def ask(self) -> dict[str, Any] | None:
        """New settings, or None when all there are were tried."""
        if len(self.tried) >= size_of(self.space):
            return None
        settings = self._draw(self.parzen)
        # The estimator may want what was good so far over and over; then chance decides.
        while settings in self.tried:
            self.study.tell(self.trial, state=self.optuna.trial.TrialState.FAIL)
            settings = self._draw(self.chance)
        self.tried.append(settings)
        return settings

    def tell(self, value: float) -> None:
        """The value of the settings asked for last."""
        self.study.tell(self.trial, value)

    def _draw(self, sampler: Any) -> dict[str, Any]:
        self.study.sampler = sampler
        self.trial = self.study.ask()
        return {name: values.suggest(self.trial, name) for name, values in self.space.items()}


def _optuna() -> Any:
    try:
        optuna: Any = importlib.import_module("optuna")
    except ModuleNotFoundError:
        raise MissingExtra("a search", "tune") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _try(plan: Plan, number: int, chosen: _Chosen, folder: Path, workers: int) -> list[Tried]:
    """Run a trial of each strategy, or find it done, and judge it."""
    failed = _run(plan, number, chosen, folder, workers)
    worst = 1.0 if plan.minimise else 0.0
    tried = []
    for label, settings in chosen.items():
        runs = plan.runs(label, folder)
        seconds = round(sum(sum(one.seconds().values()) for one in runs), 3)
        value = worst if label in failed else _final_average(runs)
        tried.append(Tried(label, number, settings, value, seconds, failed.get(label)))
    return tried


def _final_average(runs: list[Run]) -> float:
    return float(np.mean([summary(one, split="dev")["final_average"] for one in runs]))


def _run(plan: Plan, number: int, chosen: _Chosen, folder: Path, workers: int) -> dict[str, str]:
    """Run all side by side; returns which failed, and why.

    A failure stops everything that is at work. Whatever was at work then goes on one strategy at a
    time, which shows whose failure it was, and the rest side by side.
    """
    note = folder / "failed.json"
    noted = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    failed = {n: one["reason"] for n, one in noted.items() if chosen.get(n) == one["settings"]}
    left = [label for label in chosen if label not in failed]

    def attempt(labels: list[str]) -> Exception | None:
        trial = plan.trial(number, {label: chosen[label] for label in labels})
        return _error_of(trial, folder, workers)

    while left and (error := attempt(left)):
        begun = [n for n in left if any(_is_begun(one) for one in plan.runs(n, folder))]
        if not begun:
            raise error
        for label in begun:
            left.remove(label)
            own = error if len(begun) == 1 else attempt([label])
            if own:
                failed[label] = str(own)
                noted[label] = {"settings": chosen[label], "reason": failed[label]}
                write_json(note, noted)
    if failed:  # a strategy that ran alone has left a record of itself alone
        write_provenance(plan.trial(number, chosen), [plan.stream], folder)
    return failed


def _error_of(trial: Experiment, folder: Path, workers: int) -> Exception | None:
    try:
        run(trial, folder, workers=workers)
    except _FAILURES as error:
        if isinstance(error.__context__, _ELSEWHERE):
            raise
        return error
    return None


def _is_begun(one: Run) -> bool:
    return one.path.is_dir() and not one.is_done
