"""Everything earwitness raises on purpose.

::

    EarwitnessError            catch this to catch them all
    ├── SettingsError          a name or a setting is wrong: says the nearest valid one   (exit 2)
    ├── ProtocolError          a manifest, a score file or their join is wrong            (exit 1)
    ├── AudioError             one audio file cannot be used: path and reason             (exit 1)
    ├── CheckpointError        a detector or run on disk is not what it should be         (exit 1)
    ├── RunError               learning, scoring or a report failed                       (exit 1)
    └── MissingExtra           an optional dependency is absent: says how to install it   (exit 1)

Each message says where, what was expected, what was found, and what to do.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "AudioError",
    "CheckpointError",
    "EarwitnessError",
    "MissingExtra",
    "ProtocolError",
    "RunError",
    "SettingsError",
    "nearest",
]


class EarwitnessError(Exception):
    """Base of all deliberate errors; ``exit_code`` is what the command line returns."""

    exit_code = 1


class SettingsError(EarwitnessError):
    """A component or setting name is unknown, or a value does not fit."""

    exit_code = 2


class ProtocolError(EarwitnessError):
    """A manifest, a score file, or the join of the two is wrong."""


class AudioError(EarwitnessError):
    """One audio file cannot be used.

    ``path`` is the file and ``reason`` the cause, so that a batch job can list its failures.
    """

    def __init__(self, path: object, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class CheckpointError(EarwitnessError):
    """A saved detector or run is corrupted, foreign, or does not match."""


class RunError(EarwitnessError):
    """Learning, scoring or reporting failed."""


class MissingExtra(EarwitnessError):
    """An optional dependency is absent."""

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs an optional part; run: pip install 'earwitness[{extra}]'")
        self.extra = extra


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or "." where none is close.

    >>> nearest("ewcc", ["ewc", "rwm"])
    "; did you mean 'ewc'?"
    """
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else "."
