"""Summaries of task matrices against hand computations on a published matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.errors import ProtocolError
from earwitness.metrics import continual

# EER in %, method ELMA (rank 32) on the eight tasks of EVDA; rows after task 1..8. From the result
# file that the authors' repository ships and plots in Evaluation_on_all_tasks.pdf.
ELMA = np.array(
    [
        [4.8, 43.2, 44.0, 48.8, 44.8, 49.6, 43.6, 35.2],
        [4.8, 2.4, 24.8, 48.8, 16.8, 49.6, 43.6, 35.2],
        [4.8, 2.8, 0.4, 48.8, 23.6, 49.6, 43.6, 35.2],
        [4.8, 2.8, 0.4, 4.8, 23.6, 49.2, 34.0, 30.4],
        [4.8, 2.8, 0.4, 4.8, 2.0, 49.6, 33.6, 32.4],
        [4.0, 2.4, 0.4, 4.4, 2.0, 18.0, 26.8, 30.4],
        [4.0, 2.8, 3.2, 4.8, 2.0, 23.2, 16.4, 30.8],
        [5.6, 2.8, 3.2, 6.0, 2.0, 20.8, 16.0, 13.6],
    ]
)
# Computed by hand, column by column.
BY_HAND = {
    "final_average": 8.75,  # 70.0 / 8, the mean that the repository's README gives
    # row means 4.8, 3.6, 8/3, 3.2, 2.96, 5.2, 56.4/7, 8.75
    "average_over_time": (4.8 + 3.6 + 8 / 3 + 3.2 + 2.96 + 5.2 + 56.4 / 7 + 8.75) / 8,
    # last minus lowest before: 1.6 .4 2.8 1.6 0 2.8 -.4
    "forgetting": 8.8 / 7,
    # as learned minus last: -.8 -.4 -2.8 -1.2 0 -2.8 .4
    "backward_transfer": -7.6 / 7,
    # 50 minus the superdiagonal, whose sum is 247.6
    "forward_transfer": 50 - 247.6 / 7,
    "learning_accuracy": 62.4 / 8,
    "clear_in_domain": 62.4 / 8,
    "clear_next_domain": 247.6 / 7,
    "clear_accuracy": 205.2 / 36,
    "clear_backward": 142.8 / 28,
    "clear_forward": 1069.6 / 28,
}


def test_elma_by_hand() -> None:
    found = continual.summarise(ELMA, lower_is_better=True, untrained=np.full(8, 50.0))
    assert list(found) == list(BY_HAND)
    for name, value in BY_HAND.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


def test_accuracy_has_the_same_transfer_as_error() -> None:
    """100 - EER is an accuracy: differences keep value and meaning, levels become 100 - level."""
    error = continual.summarise(ELMA, lower_is_better=True, untrained=np.full(8, 50.0))
    right = continual.summarise(100 - ELMA, lower_is_better=False, untrained=np.full(8, 50.0))
    differences = {"forgetting", "backward_transfer", "forward_transfer"}
    for name in BY_HAND:
        expected = error[name] if name in differences else 100 - error[name]  # type: ignore[operator]
        assert right[name] == pytest.approx(expected, abs=1e-9), name


def test_signs_mean_what_they_say() -> None:
    forgets = [[0.0, 0.5], [0.4, 0.0]]
    assert continual.forgetting(forgets, lower_is_better=True) == 0.4
    assert continual.backward_transfer(forgets, lower_is_better=True) == -0.4
    improves = [[0.4, 0.1], [0.0, 0.0]]
    assert continual.forgetting(improves, lower_is_better=True) == -0.4
    assert continual.backward_transfer(improves, lower_is_better=True) == 0.4
    helps = continual.forward_transfer(improves, [0.5, 0.5], lower_is_better=True)
    assert helps == pytest.approx(0.4)


def test_forgetting_is_from_the_best_not_from_the_first_and_without_the_last_row() -> None:
    matrix = np.array([[0.3, 0.5, 0.5], [0.1, 0.2, 0.5], [0.2, 0.1, 0.1]])
    # Task 1: best 0.1, last 0.2; task 2: best before the last row 0.2, last 0.1.
    assert continual.forgetting(matrix, lower_is_better=True) == pytest.approx((0.1 - 0.1) / 2)
    transfer = continual.backward_transfer(matrix, lower_is_better=True)
    assert transfer == pytest.approx((0.1 + 0.1) / 2)


def test_results_before_learning_a_task_are_not_its_best() -> None:
    matrix = np.array([[0.1, 0.0, 0.5], [0.1, 0.3, 0.5], [0.1, 0.3, 0.1]])
    assert continual.forgetting(matrix, lower_is_better=True) == 0


@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n), min_size=n, max_size=n
        )
    )
)
def test_against_loops(rows: list[list[float]]) -> None:
    """The formulas written as sums over 1-based positions, as in the papers."""
    last = len(rows)

    def at(i: int, j: int) -> float:
        return rows[i - 1][j - 1]

    found = continual.summarise(rows, lower_is_better=False, untrained=[0.25] * last)
    earlier = range(1, last)
    expected = {
        "forgetting": sum(max(at(t, j) for t in range(j, last)) - at(last, j) for j in earlier)
        / (last - 1),
        "backward_transfer": sum(at(last, j) - at(j, j) for j in earlier) / (last - 1),
        "forward_transfer": sum(at(j - 1, j) - 0.25 for j in range(2, last + 1)) / (last - 1),
        "average_over_time": sum(sum(at(t, j) for j in range(1, t + 1)) / t for t in range(1, last + 1))
        / last,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    assert found["forgetting"] >= -found["backward_transfer"] - 1e-9  # type: ignore[operator]


def test_one_task_leaves_differences_undefined() -> None:
    found = continual.summarise([[0.2]], lower_is_better=True, untrained=[0.5])
    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {
        "forgetting",
        "backward_transfer",
        "forward_transfer",
        "clear_next_domain",
        "clear_backward",
        "clear_forward",
    }
    assert found["final_average"] == found["average_over_time"] == 0.2


def test_without_an_untrained_row_only_forward_transfer_is_undefined() -> None:
    found = continual.summarise(ELMA, lower_is_better=True)
    assert [name for name, value in found.items() if value is None] == ["forward_transfer"]


def test_single_functions_refuse_one_task() -> None:
    refused = 0
    for function in (
        continual.clear_next_domain,
        continual.clear_backward,
        continual.clear_forward,
    ):
        with pytest.raises(ProtocolError, match="T >= 2"):
            function([[0.1]])
        refused += 1
    for difference in (continual.forgetting, continual.backward_transfer):
        with pytest.raises(ProtocolError, match="T >= 2"):
            difference([[0.1]], lower_is_better=True)
        refused += 1
    with pytest.raises(ProtocolError, match="T >= 2"):
        continual.forward_transfer([[0.1]], [0.5], lower_is_better=True)
    assert refused == 5


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ([[0.1, 0.2]], r"shape \(1, 2\)"),
        ([0.1, 0.2], r"shape \(2,\)"),
        (np.zeros((0, 0)), r"shape \(0, 0\)"),
        ([[0.1, float("nan")], [0.1, 0.2]], r"1 value\(s\).*first at \[0, 1\]"),
        ([[0.1, None], [0.1, 0.2]], r"NaN or infinite"),
        ([[0.1], [0.1, 0.2]], "not an array"),
    ],
)
def test_bad_matrices_are_refused(matrix: object, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        continual.summarise(matrix, lower_is_better=True)  # type: ignore[arg-type]


def test_untrained_row_must_fit() -> None:
    with pytest.raises(ProtocolError, match=r"shape \(7,\)"):
        continual.summarise(ELMA, lower_is_better=True, untrained=np.full(7, 0.5))
    with pytest.raises(ProtocolError, match="untrained row has 1 value"):
        continual.summarise([[1, 1], [1, 1]], lower_is_better=True, untrained=[0.5, float("inf")])
