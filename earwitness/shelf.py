"""A shelf: a table of names, each the place of one component, imported only when asked for.

A component's constructor *is* its configuration: keyword-only, typed, with defaults. ``build``
binds what the user wrote to that signature and refuses everything else with the nearest name.
Other packages add components through the entry-point group of the shelf's name, for instance
``earwitness.strategies``.
"""

import importlib
import inspect
import types
import typing
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from earwitness.errors import SettingsError, nearest

__all__ = ["Shelf", "bind_settings"]


class Shelf:
    """Named components of one kind.

    Args:
        package: where the components live, for instance ``"earwitness.strategies"``.
        noun: what one of them is called in messages, for instance ``"strategy"``.
        table: name -> ``"module:attribute"`` relative to ``package``.
        helpers: modules of the package that are not components.
    """

    def __init__(
        self, package: str, noun: str, table: Mapping[str, str], *, helpers: tuple[str, ...] = ()
    ):
        self.package = package
        self.noun = noun
        self.table = dict(table)
        self.helpers = helpers

    def names(self) -> list[str]:
        """All known names, built-in first, then installed ones."""
        return [*self.table, *sorted(e.name for e in self._installed() if e.name not in self.table)]

    def get(self, name: str) -> Any:
        """Import and return the component called ``name``.

        Raises:
            SettingsError: no such component; the message has the nearest name and the list.
        """
        if name in self.table:
            module, attribute = self.table[name].split(":")
            return getattr(importlib.import_module(f"{self.package}.{module}"), attribute)
        for entry in self._installed():
            if entry.name == name:
                return entry.load()
        known = self.names()
        raise SettingsError(
            f"no {self.noun} is called {name!r}{nearest(name, known)} Known: {', '.join(known)}."
        )

    def build(self, name: str, **settings: Any) -> Any:
        """Construct the component ``name`` with ``settings``, checked against its signature.

        What it was built from, defaults included, is kept on it as ``built_from``.
        """
        component = self.get(name)
        bound = bind_settings(component, settings, f"{self.noun} {name!r}")
        built = component(**bound)
        built.built_from = {"name": name, **_defaults(component), **bound}
        return built

    def _installed(self) -> Any:
        return entry_points(group=self.package)


def bind_settings(call: Any, settings: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return ``settings`` fit for ``call``: names checked, lists made tuples, types checked.

    >>> def build(*, width: int = 16, rate: float = 0.1): ...
    >>> bind_settings(build, {"rate": 1}, "back end 'x'")
    {'rate': 1.0}

    Raises:
        SettingsError: an unknown name (with the nearest), a missing one, or a value of a wrong type.
    """
    parameters, hints = _parameters(call)
    for name in settings:
        if name not in parameters:
            takes = ", ".join(parameters) or "no settings"
            raise SettingsError(
                f"{what} has no setting {name!r}{nearest(name, parameters)} It takes: {takes}."
            )
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in settings:
            raise SettingsError(f"{what} needs the setting {name!r}.")
    return {
        name: _fit(value, hints.get(name, Any), f"{what}: {name}") for name, value in settings.items()
    }


def _parameters(call: Any) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """Parameters and type hints; a constructor's ``**settings`` stand for those of its base."""
    classes = call.__mro__ if inspect.isclass(call) else ()
    layers = [vars(c)["__init__"] for c in classes if "__init__" in vars(c)] or [call]
    parameters: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    for layer in layers:
        own = inspect.signature(layer).parameters
        hints = {**typing.get_type_hints(layer), **hints}
        for name, parameter in own.items():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY or (
                parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name != "self"
            ):
                parameters.setdefault(name, parameter)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own.values()):
            break
    return parameters, hints


def _defaults(call: Any) -> dict[str, Any]:
    parameters, _ = _parameters(call)
    empty = inspect.Parameter.empty
    return {name: p.default for name, p in parameters.items() if p.default is not empty}


def _fit(value: Any, hint: Any, where: str) -> Any:
    """Check ``value`` against a simple type hint; widen int to float and list to tuple."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Literal:
        return _choose(value, options, where)
    if origin in (typing.Union, types.UnionType):
        return _fit_any(value, options, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_fit(item, options[0], where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = origin or hint
    if (hint is int and isinstance(value, bool)) or (
        isinstance(kind, type) and not isinstance(value, kind)
    ):
        raise SettingsError(f"{where} is {value!r}, expected {_spelled(hint)}.")
    return value


def _choose(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        close = nearest(str(value), map(str, options))
        raise SettingsError(f"{where} is {value!r}{close} Choose from: {listed}.")
    return value


def _fit_any(value: Any, options: tuple[Any, ...], where: str) -> Any:
    for option in options:
        try:
            return _fit(value, option, where)
        except SettingsError:
            continue
    spelled = " or ".join(_spelled(option) for option in options)
    raise SettingsError(f"{where} is {value!r}, expected {spelled}.")


def _spelled(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
