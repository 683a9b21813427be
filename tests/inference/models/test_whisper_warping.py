"""Fast warping and medians give what slow ones give."""

import numpy as np
import pytest

from services.inference.models.mel_filters import Doubles
from services.inference.models.whisper.warping import median_filtered, token_frames, warp


def path_cost(costs: Doubles, entered: list[int]) -> float:
    """Of the path that enters each row there."""
    ends = [*entered[1:], costs.shape[1] - 1]
    total = 0.0
    for row, (start, following) in enumerate(zip(entered, ends, strict=True)):
        last = following if row == len(entered) - 1 else max(start, following - 1)
        total += float(costs[row, start : last + 1].sum())
    return total


def cheapest(costs: Doubles) -> float:
    """Cell by cell."""
    total = np.full((costs.shape[0] + 1, costs.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for row in range(1, total.shape[0]):
        for column in range(1, total.shape[1]):
            total[row, column] = costs[row - 1, column - 1] + min(
                total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]
            )
    return float(total[-1, -1])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 9), (5, 40), (23, 200)])
def test_path_is_the_cheapest_and_monotonous(rows: int, columns: int) -> None:
    costs = np.random.default_rng(rows).standard_normal((rows, columns)) + 2
    entered = warp(costs)
    assert entered[0] == 0
    assert entered == sorted(entered)
    assert path_cost(costs, entered) == pytest.approx(cheapest(costs))


def test_nothing_cannot_be_aligned() -> None:
    with pytest.raises(ValueError, match="nothing"):
        warp(np.zeros((0, 5)))


@pytest.mark.parametrize("columns", [1, 3, 4, 50])
def test_median_is_the_middle_of_the_sorted_window(columns: int) -> None:
    rows = np.random.default_rng(0).standard_normal((4, columns)).astype(np.float32)
    if columns <= 3:
        np.testing.assert_array_equal(median_filtered(rows, 7), rows)
    else:
        padded = np.pad(rows, ((0, 0), (3, 3)), mode="reflect")
        expected = np.sort(np.lib.stride_tricks.sliding_window_view(padded, 7, axis=1), axis=2)[:, :, 3]
        np.testing.assert_array_equal(median_filtered(rows, 7), expected)


def test_tokens_start_where_their_attention_starts() -> None:
    attention = np.full((2, 5, 100), 1e-4, np.float32)
    for token, (start, end) in enumerate([(0, 0), (0, 20), (20, 60), (60, 99), (99, 100)]):
        attention[:, token, start:end] = 1
    assert token_frames(attention, skipped=1) == pytest.approx([0, 20, 60], abs=1)
