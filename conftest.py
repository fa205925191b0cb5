"""Tests and examples of an optional part that isn't installed are skipped, and say so.

The files that take longest begin first, so that no worker is left with one of them at the end.
"""

import doctest
from collections.abc import Generator
from importlib import util

import pytest

from earwitness.errors import MissingExtra

LONG = ("test_docs.py", "test_crashes.py", "test_running.py", "test_distributed.py")
OPTIONAL = {"augment": ("pyworld", "audiomentations"), "differential": ("sklearn",)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, the others as they were; `make test` keeps xdist from ordering them anew."""
    place = {name: n for n, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


def is_absent(error: BaseException) -> bool:
    """Whether an error is about an optional part, and that isn't here."""
    names = OPTIONAL.get(error.extra, ()) if isinstance(error, MissingExtra) else ()
    return any(util.find_spec(name) is None for name in names)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Turn `MissingExtra` into a skip where the part is really absent, in tests and in docstrings."""
    try:
        return (yield)
    except (MissingExtra, doctest.UnexpectedException) as error:
        cause = error.exc_info[1] if isinstance(error, doctest.UnexpectedException) else error
        if is_absent(cause):
            pytest.skip(str(cause))
        raise
