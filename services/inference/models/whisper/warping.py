"""Where in time each token is, from the attention that it paid: dynamic time warping."""

import numpy as np

from services.inference.models.mel_filters import Doubles
from services.inference.pcm import Floats

SMOOTHED_FRAMES = 7


def token_frames(attention: Floats, skipped: int) -> list[int]:
    """The frame at which each token starts, and that at which the last one ends.

    attention: (heads, tokens, frames), every row of a head summing to 1. skipped: tokens at the start that take part in the
    normalisation only, like the last, the end. Source: `timing.py` of openai/whisper.
    """
    spread = attention.std(axis=1, keepdims=True)
    normal = (attention - attention.mean(axis=1, keepdims=True)) / np.maximum(spread, np.finfo(np.float32).tiny)
    smooth = np.mean([median_filtered(head[skipped:-1], SMOOTHED_FRAMES) for head in normal], axis=0)
    return warp(-smooth.astype(np.float64))


def median_filtered(rows: Floats, width: int) -> Floats:
    """Median of `width` values around each one, the ends mirrored; unchanged where a row is too short.

    Half a bubble sort over shifted copies: ten times faster than sorting the windows one by one.
    """
    half = width // 2
    if rows.shape[1] <= half:
        return rows
    padded = np.pad(rows, ((0, 0), (half, half)), mode="reflect")
    shifted = [padded[:, place : place + rows.shape[1]] for place in range(width)]
    for sorted_tail in range(half + 1):
        for place in range(width - 1 - sorted_tail):
            low, high = shifted[place], shifted[place + 1]
            shifted[place], shifted[place + 1] = np.minimum(low, high), np.maximum(low, high)
    return shifted[half]


def warp(costs: Doubles) -> list[int]:
    """The column in which the cheapest monotonous path enters each row.

    costs: (rows, columns), any sign. Among equals a path goes along the row. Raises ValueError for an empty matrix.
    """
    if not costs.size:
        raise ValueError("nothing to align")
    total = _accumulated(costs)
    row, column = costs.shape
    entered = [0] * row
    while row > 0 and column > 0:
        entered[row - 1] = column - 1
        diagonal, above, left = total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]
        if diagonal < above and diagonal < left:
            row, column = row - 1, column - 1
        elif above < diagonal and above < left:
            row -= 1
        else:
            column -= 1
    return entered


def _accumulated(costs: Doubles) -> Doubles:
    """Cost of the cheapest path to each cell, with a border of infinities.

    A row at a time: a path that enters at k and goes along to j costs sum(k..j) more, so the minimum over k is a running one.
    """
    total = np.full((costs.shape[0] + 1, costs.shape[1] + 1), np.inf)
    total[0, 0] = 0
    sums = np.cumsum(costs, axis=1)
    for row, (cost, along) in enumerate(zip(costs, sums, strict=True), start=1):
        entry = np.minimum(total[row - 1, :-1], total[row - 1, 1:])
        total[row, 1:] = along + np.minimum.accumulate(entry - (along - cost))
    return total
