"""The settings of an experiment file, not yet built into anything: reading, replacing, varying."""

import itertools
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from earwitness.errors import SettingsError, nearest

__all__ = [
    "difference",
    "parse_value",
    "read_assignments",
    "read_settings",
    "refuse_unknown",
    "require_section",
    "vary",
]

_LONGEST = 80  # characters of a label that is made from varied values


def read_settings(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The settings of a TOML file with overrides applied, not yet checked; named after the file.

    Raises:
        SettingsError: no such file, not TOML, nothing in it, or not an override.
    """
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such experiment file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise SettingsError(f"{path}: not a TOML file ({error}).") from None
    for override in overrides:
        _override(settings, override)
    if not settings:
        raise SettingsError(f"{path}: nothing in it; expected at least [stream] with its root.")
    settings.setdefault("name", path.stem)
    return settings


def vary(strategies: dict[str, Any]) -> dict[str, Any]:
    """A strategy with ``vary`` becomes one for each combination of the values listed there.

    The new label has label, settings and values; where that is no name for a folder, too long or not
    one of its own, a number takes the place of the values.

    >>> list(vary({"replay": {"vary": {"budget": [4, 8]}}}))
    ['replay-budget-4', 'replay-budget-8']
    >>> list(vary({"replay": {"vary": {"share": [[1, 2], "1/2"]}}}))
    ['replay-share-1', 'replay-share-2']

    Raises:
        SettingsError: not lists of different values; a label that is no name for a folder, or that
            two strategies would have.
    """
    varied: dict[str, Any] = {}
    for label, settings in strategies.items():
        where = f"[strategies.{label}]"
        _require_label(label)
        require_section(settings, where)
        lists = _lists_of_values(settings.get("vary", {}), where)
        own = {key: value for key, value in settings.items() if key != "vary"}
        chosen = [
            dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())
        ]
        made = [{"name": label, **own, **one} for one in chosen] if lists else [own]
        for name, one in zip(_varied_labels(label, chosen), made, strict=True):
            if name in varied or (lists and name in strategies):
                raise SettingsError(f"{where}: two strategies would be labelled {name!r}; rename one.")
            varied[name] = one
    return varied


def _lists_of_values(lists: Any, where: str) -> dict[str, list[Any]]:
    listed = isinstance(lists, dict) and all(isinstance(v, list) and v for v in lists.values())
    if not listed:
        raise SettingsError(f"{where} vary is {lists!r}, expected lists of values.")
    for key, values in lists.items():
        repeated = [value for position, value in enumerate(values) if value in values[:position]]
        if repeated:
            raise SettingsError(f"{where} vary has {repeated[0]!r} more than once in {key}.")
    return lists


def _varied_labels(label: str, chosen: list[dict[str, Any]]) -> list[str]:
    """A label for each choice of values: with the values if that makes good names, else numbered."""
    names = ["-".join([label, *(f"{k}-{_plain(v)}" for k, v in one.items())]) for one in chosen]
    if chosen == [{}] or (len(set(names)) == len(names) and max(map(len, names)) <= _LONGEST):
        return names
    return ["-".join([label, *one, str(number)]) for number, one in enumerate(chosen, 1)]


def _plain(value: Any) -> str:
    """A value in the characters of a label: what stands between others becomes one ``-``."""
    other = "[^A-Za-z0-9._+-]+"
    return re.sub(other, "-", re.sub(f"^{other}|{other}$", "", str(value)))


def _require_label(label: str) -> None:
    """A label is a folder's name and part of a path."""
    if label in (".", "..") or not re.fullmatch("[A-Za-z0-9._+-]+", label):
        raise SettingsError(
            f"[strategies] has the label {label!r}; labels become folders, so expected are letters "
            "(a to z, A to Z), digits, '.', '_', '-' and '+'."
        )


def _override(settings: dict[str, Any], text: str) -> None:
    """Set ``a.b.c=value``; the value is TOML, or a plain word."""
    where, sign, value = text.partition("=")
    if not sign or not where.strip():
        raise SettingsError(f"{text!r} is not an override; expected section.key=value.")
    *tables, key = where.strip().split(".")
    for table in tables:
        settings = settings.setdefault(table, {})
        if not isinstance(settings, dict):
            raise SettingsError(f"{text!r}: {table!r} is a value, not a section.")
    settings[key] = parse_value(value)


def read_assignments(texts: Iterable[str], example: str) -> dict[str, Any]:
    """Settings of a component from ``--set name=value``; ``example`` is for the error.

    >>> read_assignments(["kernel=linear", "C=0.5"], "kernel=linear")
    {'kernel': 'linear', 'C': 0.5}

    Raises:
        SettingsError: a text without a name or a sign.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise SettingsError(f"--set {text!r}: expected setting=value, such as {example}.")
        found[name.strip()] = parse_value(value)
    return found


def parse_value(text: str) -> Any:
    """What a text on the command line stands for: TOML, or a plain word.

    >>> parse_value("[1, 2]"), parse_value(" word ")
    ([1, 2], 'word')
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def difference(name: str, before: Any, now: Any) -> str:
    """What differs between two settings, without what doesn't.

    >>> difference("training", {"epochs": 3, "seconds": 1.0}, {"epochs": 9, "seconds": 1.0})
    'training.epochs was 3, now 9'
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{name} was {before}, now {now}"
    other = [key for key in {**now, **before} if before.get(key) != now.get(key)]
    return ", ".join(difference(f"{name}.{key}", before.get(key), now.get(key)) for key in other)


def require_section(table: Any, where: str) -> None:
    """Raise when what should be a section is a value."""
    if not isinstance(table, dict):
        raise SettingsError(f"{where} is {table!r}, expected a section.")


def refuse_unknown(table: Any, known: tuple[str, ...], where: str) -> None:
    """Raise when a section has a key that is not known, with the nearest that is."""
    require_section(table, where)
    for key in table:
        if key not in known:
            raise SettingsError(
                f"{where} has no key {key!r}{nearest(key, known)} It takes: {', '.join(known)}."
            )
