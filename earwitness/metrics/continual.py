"""Summaries of a task matrix: what was learned, kept, forgotten and foreseen.

``matrix[i, j]`` is a metric on task ``j`` after learning task ``i``, shape ``(T, T)``, T tasks in
the order of learning; ``untrained[j]`` is the same metric before any task was learned.

Levels (averages, CLEAR's means) are in the metric's own direction. Differences have one meaning
for all metrics: transfer is positive where it helps, forgetting is positive where something was
lost. With ``lower_is_better`` (EER, minDCF) the sign of the matrix is changed for them.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError

__all__ = [
    "average_over_time",
    "backward_transfer",
    "clear_accuracy",
    "clear_backward",
    "clear_forward",
    "clear_in_domain",
    "clear_next_domain",
    "final_average",
    "forgetting",
    "forward_transfer",
    "learning_accuracy",
    "summarise",
]


def final_average(matrix: ArrayLike) -> float:
    """Mean over all tasks after the last one: ``1/T sum_j R[T,j]``.

    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017.

    >>> final_average([[0.1, 0.5], [0.3, 0.1]])
    0.2
    """
    return float(_square(matrix)[-1].mean())


def average_over_time(matrix: ArrayLike) -> float:
    """Mean over the tasks learned so far, averaged over time: ``1/T sum_t 1/t sum_{j<=t} R[t,j]``.

    The average incremental accuracy of Rebuffi et al., "iCaRL", CVPR 2017.

    >>> round(average_over_time([[0.1, 0.5], [0.3, 0.1]]), 12)
    0.15
    """
    levels = _square(matrix)
    return float(np.mean([row[: t + 1].mean() for t, row in enumerate(levels)]))


def backward_transfer(matrix: ArrayLike, *, lower_is_better: bool) -> float:
    """What later tasks did to earlier ones: ``1/(T-1) sum_{j<T} (S[T,j] - S[j,j])``.

    Positive: earlier tasks improved. Lopez-Paz & Ranzato, NeurIPS 2017.

    >>> round(backward_transfer([[0.1, 0.5], [0.3, 0.1]], lower_is_better=True), 12)
    -0.2

    Raises:
        ProtocolError: not a square, finite matrix of at least two tasks.
    """
    good = _goodness(_square(matrix, at_least=2), lower_is_better)
    return float(np.mean(good[-1, :-1] - np.diagonal(good)[:-1]))


def forward_transfer(matrix: ArrayLike, untrained: ArrayLike, *, lower_is_better: bool) -> float:
    """What earlier tasks did for the next one: ``1/(T-1) sum_{j>=2} (S[j-1,j] - s b[j])``.

    ``b`` is the untrained detector. Positive: earlier tasks helped. Lopez-Paz & Ranzato, NeurIPS
    2017.

    >>> forward_transfer([[0.1, 0.375], [0.3, 0.1]], [0.5, 0.5], lower_is_better=True)
    0.125

    Raises:
        ProtocolError: not a square, finite matrix of at least two tasks, or not one value a task.
    """
    levels = _square(matrix, at_least=2)
    before = _numbers(untrained, "the untrained row")
    if before.shape != levels.shape[1:]:
        raise ProtocolError(
            f"the untrained row has the shape {before.shape}; expected {levels.shape[1:]}, "
            "one value for each task."
        )
    gain = np.diagonal(levels, 1) - before[1:]
    return float(np.mean(_goodness(gain, lower_is_better)))


def forgetting(matrix: ArrayLike, *, lower_is_better: bool) -> float:
    """Best minus last result: ``1/(T-1) sum_{j<T} (max_{j<=l<T} S[l,j] - S[T,j])``.

    Positive: something was lost; negative: the last task improved earlier ones beyond their best.
    Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018.

    >>> round(forgetting([[0.1, 0.5], [0.3, 0.1]], lower_is_better=True), 12)
    0.2

    Raises:
        ProtocolError: not a square, finite matrix of at least two tasks.
    """
    good = _goodness(_square(matrix, at_least=2), lower_is_better)
    return float(np.mean([good[j:-1, j].max() - good[-1, j] for j in range(len(good) - 1)]))


def learning_accuracy(matrix: ArrayLike) -> float:
    """Mean result on each task right after it was learned (plasticity): ``1/T sum_j R[j,j]``.

    Riemer et al., "Learning to learn without forgetting by maximizing transfer and minimizing
    interference", ICLR 2019.

    >>> learning_accuracy([[0.1, 0.5], [0.3, 0.1]])
    0.1
    """
    return float(np.diagonal(_square(matrix)).mean())


def clear_in_domain(matrix: ArrayLike) -> float:
    """Mean of the diagonal. Lin et al., "The CLEAR benchmark", NeurIPS 2021, as all ``clear_*``.

    >>> clear_in_domain([[0.1, 0.5], [0.3, 0.1]])
    0.1
    """
    return learning_accuracy(matrix)


def clear_next_domain(matrix: ArrayLike) -> float:
    """Mean of the first superdiagonal: each task just before it is learned.

    >>> clear_next_domain([[0.1, 0.5], [0.3, 0.1]])
    0.5

    Raises:
        ProtocolError: not a square, finite matrix of at least two tasks.
    """
    return float(np.diagonal(_square(matrix, at_least=2), 1).mean())


def clear_accuracy(matrix: ArrayLike) -> float:
    """Mean of the lower triangle with the diagonal: all results on tasks already learned.

    >>> round(clear_accuracy([[0.1, 0.5], [0.3, 0.2]]), 12)
    0.2
    """
    levels = _square(matrix)
    return float(levels[np.tril_indices(len(levels))].mean())


def clear_backward(matrix: ArrayLike) -> float:
    """Mean of the strict lower triangle: a level, not a difference.

    >>> clear_backward([[0.1, 0.5], [0.3, 0.1]])
    0.3

    Raises:
        ProtocolError: not a square, finite matrix of at least two tasks.
    """
    levels = _square(matrix, at_least=2)
    return float(levels[np.tril_indices(len(levels), -1)].mean())


def clear_forward(matrix: ArrayLike) -> float:
    """Mean of the strict upper triangle: a level, not a difference.

    >>> clear_forward([[0.1, 0.5], [0.3, 0.1]])
    0.5

    Raises:
        ProtocolError: not a square, finite matrix of at least two tasks.
    """
    levels = _square(matrix, at_least=2)
    return float(levels[np.triu_indices(len(levels), 1)].mean())


def summarise(
    matrix: ArrayLike, *, lower_is_better: bool, untrained: ArrayLike | None = None
) -> dict[str, float | None]:
    """All summaries by name; None where one is undefined (a single task, or no untrained row).

    >>> summarise([[0.1]], lower_is_better=True)["forgetting"] is None
    True

    Raises:
        ProtocolError: not a square, finite matrix, or an untrained row that doesn't fit.
    """
    levels = _square(matrix)
    pairs = len(levels) > 1
    better = {"lower_is_better": lower_is_better}
    return {
        "final_average": final_average(levels),
        "average_over_time": average_over_time(levels),
        "forgetting": forgetting(levels, **better) if pairs else None,
        "backward_transfer": backward_transfer(levels, **better) if pairs else None,
        "forward_transfer": forward_transfer(levels, untrained, **better)
        if pairs and untrained is not None
        else None,
        "learning_accuracy": learning_accuracy(levels),
        "clear_in_domain": clear_in_domain(levels),
        "clear_next_domain": clear_next_domain(levels) if pairs else None,
        "clear_accuracy": clear_accuracy(levels),
        "clear_backward": clear_backward(levels) if pairs else None,
        "clear_forward": clear_forward(levels) if pairs else None,
    }


def _goodness(levels: NDArray[np.float64], lower_is_better: bool) -> NDArray[np.float64]:
    return -levels if lower_is_better else levels


def _square(matrix: ArrayLike, *, at_least: int = 1) -> NDArray[np.float64]:
    levels = _numbers(matrix, "the task matrix")
    if levels.ndim != 2 or levels.shape[0] != levels.shape[1] or len(levels) < at_least:
        raise ProtocolError(
            f"the task matrix has the shape {levels.shape}; expected (T, T), a row after each of "
            f"T >= {at_least} tasks and a column for each."
        )
    return levels


def _numbers(values: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{what} is not an array of real numbers ({error}).") from None
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        raise ProtocolError(
            f"{what} has {len(wrong)} value(s) that are NaN or infinite, "
            f"first at {wrong[0].tolist()}; every task is judged after every task."
        )
    return numbers
