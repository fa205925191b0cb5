"""Handwritten digits, 8 x 8 pixels, as a small stream of real images that needs no download.

1,797 images of 43 writers (Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI
Machine Learning Repository, 1998; the part that comes with scikit-learn), as vectors of 64 pixels
between 0 and 1. Three streams are made of them:

- ``rotated``: every task has all images, turned by one angle from 0 to 180 degrees;
- ``permuted``: every task has all images, their pixels in one fixed order of its own (Goodfellow et
  al., 2014); the first task has them as they are;
- ``classes``: every task has the images of its own digits.

An image is in the same split in every task: 1,280 train, 450 test, drawn with equal shares of the
digits, and the 67 left over are dev.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.corpora._made import read_made
from earwitness.errors import MissingExtra, SettingsError
from earwitness.trials import Manifest, Trial

__all__ = ["DIGITS", "read"]

DIGITS = tuple("0123456789")
_RECIPE = 1  # raise it when the same settings would give other vectors
_MOST = {"rotated": 181, "permuted": 1000, "classes": 10}


def read(
    root: str | Path,
    *,
    task: Literal["rotated", "permuted", "classes"] = "rotated",
    tasks: int = 5,
) -> dict[str, Manifest]:
    """``train``, ``dev`` and ``test`` of all tasks; the column ``domain`` names the task.

    The vectors are made in ``root`` the first time (needs scikit-learn) and read from there later.

    Args:
        root: an empty folder, a folder to create, or one that holds this corpus.
        task: what a task is; see above.
        tasks: how many. Angles are evenly spaced from 0 to 180 degrees (five: 0, 45, 90, 135, 180);
            digits are dealt out in order (five: 0 and 1, 2 and 3, ...).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     train = read(folder, task="classes")["train"]
    >>> train.counts("domain")["classes-01"], train.counts()["7"], train.trials[0].path
    (257, 127, 'vectors.npy')

    Raises:
        SettingsError: no tasks, or more than there can be.
        MissingExtra: scikit-learn is needed and not installed.
        ProtocolError: ``root`` holds something else, other settings, or a damaged corpus.
    """
    if not 1 <= tasks <= _MOST[task]:
        raise SettingsError(f"corpus 'digits': tasks is {tasks}, expected 1 to {_MOST[task]} ({task}).")
    settings = {"corpus": "digits", "recipe": _RECIPE, "task": task, "tasks": tasks}
    return read_made(root, settings, lambda: _make(task, tasks), classes=DIGITS)


def _make(task: str, tasks: int) -> tuple[NDArray[np.float32], list[Trial]]:
    images, labels = _load()
    splits = _splits(labels)
    rows, trials = [], []
    for name, numbers, seen in _tasks(task, tasks, images, labels):
        for split, chosen in splits.items():
            inside = chosen[np.isin(chosen, numbers)]
            rows.append(seen[inside].reshape(len(inside), -1).astype(np.float32))
            trials += [
                Trial(f"{name}-{n:04d}", "", str(labels[n]), domain=name, split=split) for n in inside
            ]
    return np.concatenate(rows), trials


def _load() -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (n, 8, 8) between 0 and 1, and the digits they show."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtra("the corpus 'digits'", "digits") from None
    digits = load_digits()
    return digits.images / 16, digits.target


def _splits(labels: NDArray[Any]) -> dict[str, NDArray[np.int_]]:
    """Which images are in which split, each digit in equal shares."""
    from sklearn.model_selection import train_test_split

    every = np.arange(len(labels))
    train, test = train_test_split(
        every, train_size=1280, test_size=450, random_state=0, stratify=labels
    )
    return {"train": train, "dev": np.setdiff1d(every, [*train, *test]), "test": test}


def _tasks(
    task: str, tasks: int, images: NDArray[Any], labels: NDArray[Any]
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """For each task: its name, the numbers of its images, and all images as it shows them."""
    every = np.arange(len(images))
    if task == "classes":
        for digits in np.array_split(np.arange(10), tasks):
            name = "".join(str(digit) for digit in digits)
            yield f"classes-{name}", every[np.isin(labels, digits)], images
    elif task == "rotated":
        for angle in np.linspace(0, 180, tasks):
            yield f"rot{angle:03.0f}", every, _rotate(images, float(angle))
    else:
        for number in range(tasks):
            order = np.random.default_rng(number).permutation(64) if number else np.arange(64)
            yield f"perm{number}", every, images.reshape(len(images), 64)[:, order]


def _rotate(images: NDArray[Any], angle: float) -> NDArray[Any]:
    """Turned by ``angle`` degrees about the middle, between pixels linearly, zero outside."""
    from scipy.ndimage import rotate

    turned: NDArray[Any] = rotate(
        images, angle, axes=(2, 1), reshape=False, order=1, mode="constant", cval=0
    )
    return turned
