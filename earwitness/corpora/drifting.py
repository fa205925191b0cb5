"""Vectors that are drawn, not measured: two classes whose place moves from task to task.

**Synthetic data**: normal noise in 1,024 dimensions (the size of large speech models' embeddings),
there to compare methods and libraries with each other on known ground. Results on it say nothing
about speech. *Bonafide* of task t lies around a mean m_t, *spoof* around m_t + s_t, where, with
orthonormal directions q_0 to q_10,

    s_t = 1.5 q_0 + 4 q_{1+t},    m_t = 2 q_{6+t} - 4 q_t  (the second term only for t > 0).

A weak direction q_0 is right for every task; the strong one of each task is, as an offset, in the
way of the next: what a detector learns first misleads it later.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.corpora._made import read_made
from earwitness.trials import CLASSES, Manifest, Trial

__all__ = ["read"]

_RECIPE = 1  # raise it when other vectors would come out
_SEED, _DEV_SEED = 20240501, 20240502
_TASKS, _DIM = 5, 1024
_TRAIN, _TEST, _DEV = 4000, 1000, 500

Draw = tuple[NDArray[np.float32], NDArray[np.int_]]


def read(root: str | Path) -> dict[str, Manifest]:
    """Five tasks of 4,000 train, 500 dev and 1,000 test vectors, half of them of each class.

    Made in ``root`` the first time (113 MB) and read from there later; the column ``domain`` has
    the tasks, drift1 to drift5.

    Args:
        root: an empty folder, a folder to create, or one that holds this corpus.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read(folder)["test"].counts("domain")["drift5"]
    1000

    Raises:
        ProtocolError: ``root`` holds something else, or a damaged corpus.
    """
    return read_made(root, {"corpus": "drifting", "recipe": _RECIPE}, _make, classes=CLASSES)


def _make() -> tuple[NDArray[np.float32], list[Trial]]:
    rng, dev_rng = np.random.default_rng(_SEED), np.random.default_rng(_DEV_SEED)
    q = np.linalg.qr(rng.standard_normal((_DIM, 1 + 2 * _TASKS)))[0].T
    rows, trials = [], []
    for task in range(_TASKS):
        shift = 1.5 * q[0] + 4 * q[1 + task]
        mean = 2 * q[1 + _TASKS + task] - (4 * q[task] if task else 0)
        parts = {
            "train": _draw(rng, _TRAIN, mean, shift),
            "test": _draw(rng, _TEST, mean, shift),
            "dev": _draw(dev_rng, _DEV, mean, shift),  # of its own generator: the others stay
        }
        for split, (numbers, labels) in parts.items():
            rows.append(numbers)
            trials += _trials(f"drift{task + 1}", split, labels)
    return np.concatenate(rows), trials


def _draw(rng: np.random.Generator, count: int, mean: NDArray[Any], shift: NDArray[Any]) -> Draw:
    """``count`` vectors in random order, every other one of class 1."""
    labels = np.arange(count) % 2
    numbers = rng.standard_normal((count, _DIM)) + mean + labels[:, None] * shift
    order = rng.permutation(count)
    return numbers[order].astype(np.float32), labels[order]


def _trials(domain: str, split: str, labels: NDArray[np.int_]) -> list[Trial]:
    return [
        Trial(f"{domain}-{split}-{n:04d}", "", CLASSES[label], domain=domain, split=split)
        for n, label in enumerate(labels)
    ]
