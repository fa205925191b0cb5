"""What may be searched: for each setting a range of numbers, or a list to choose from."""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from earwitness.errors import SettingsError
from earwitness.shelf import bind_settings

__all__ = [
    "Choices",
    "Numbers",
    "Space",
    "first_of",
    "merge",
    "section",
    "short",
    "size_of",
    "take_space",
]

_EDGE = 0.05  # of a range, at either end


@dataclass(frozen=True)
class Numbers:
    """Every number from ``low`` to ``high``, whole ones where both ends are whole.

    >>> numbers = Numbers(0.1, 1000.0, log=True)
    >>> numbers.edge(0.11), numbers.edge(10.0), Numbers(1, 5).size
    ('lower', None, 5)

    Raises:
        SettingsError: not ``low < high``, or with ``log`` not ``0 < low``.
    """

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and not self.low > 0):
            positive = "0 < " if self.log else ""
            raise SettingsError(f"low is {self.low}, high {self.high}; expected {positive}low < high.")

    @property
    def ends(self) -> list[Any]:
        """Values between which all others lie."""
        return [self.low, self.high]

    @property
    def size(self) -> float:
        """How many different values there are."""
        return self.high - self.low + 1 if self._is_whole else math.inf

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Any, name: str) -> int | float:
        """What Optuna's trial says."""
        draw = trial.suggest_int if self._is_whole else trial.suggest_float
        return draw(name, self.low, self.high, log=self.log)

    def edge(self, value: float) -> str | None:
        """At which end a value lies: in the first or last twentieth of the range, or of its log."""
        scale = math.log if self.log else float
        low, at, high = scale(self.low), scale(value), scale(self.high)
        share = (at - low) / (high - low)
        return "lower" if share <= _EDGE else "upper" if share >= 1 - _EDGE else None

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """One of several values of any kind; numbers among themselves have a lowest and a highest.

    >>> Choices([0.1, 0.01]).edge(0.1), Choices(["none", "class"]).edge("none")
    ('upper', None)

    Raises:
        SettingsError: not a list, empty, or a value twice.
    """

    values: list[Any]

    def __post_init__(self) -> None:
        listed = isinstance(self.values, list) and self.values
        if not listed or any(self.values.count(value) > 1 for value in self.values):
            raise SettingsError(
                f"found {self.values!r}, expected a list of different values or {{ low, high, log }}."
            )

    @property
    def ends(self) -> list[Any]:
        """All values."""
        return self.values

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def suggest(self, trial: Any, name: str) -> Any:
        """What Optuna's trial says."""
        return self.values[trial.suggest_categorical(name, range(len(self.values)))]

    def edge(self, value: Any) -> str | None:
        """Whether a number is the lowest or the highest of several."""
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)
        if not numbers or len(self.values) == 1:
            return None
        return {min(self.values): "lower", max(self.values): "upper"}.get(value)

    def __str__(self) -> str:
        return f"[{', '.join(short(value) for value in self.values)}]"


Space = dict[str, Numbers | Choices]


def take_space(label: str, settings: Any) -> Space:
    """Take ``search`` out of a strategy's settings; an empty space if there is none.

    >>> settings = {"alpha": 0.1, "search": {"budget": [8, 16]}}
    >>> take_space("replay", settings), settings
    ({'budget': Choices(values=[8, 16])}, {'alpha': 0.1})

    Raises:
        SettingsError: it says which setting of which strategy is not a range or a list.
    """
    where = f"[strategies.{label}.search]"
    search = section(settings, f"[strategies.{label}]").pop("search", {})
    space: Space = {}
    for name, given in section(search, where).items():
        try:
            if isinstance(given, dict):
                space[name] = Numbers(**bind_settings(Numbers, given, "a range"))
            else:
                space[name] = Choices(given)
        except SettingsError as error:
            raise SettingsError(f"{where} {name}: {error}") from None
    return space


def size_of(space: Space) -> float:
    """How many different settings a space has: one where nothing is searched."""
    return math.prod(values.size for values in space.values())


def first_of(space: Space) -> dict[str, Any]:
    """Some settings of a space."""
    return {name: values.ends[0] for name, values in space.items()}


def merge(own: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A strategy's settings with others put in; a dot leads into a table.

    >>> merge({"share": 0.5}, {"budget": 8, "training.epochs": 2})
    {'share': 0.5, 'budget': 8, 'training': {'epochs': 2}}
    """
    merged = deepcopy(dict(own))
    for name, value in chosen.items():
        *tables, key = name.split(".")
        place = merged
        for table in tables:
            place = section(place.setdefault(table, {}), table)
        place[key] = value
    return merged


def section(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a table.

    Raises:
        SettingsError: it is something else.
    """
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is {value!r}, expected a section.")
    return value


def short(value: Any) -> str:
    """A value for reading: numbers with six digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)
