"""Which chunks a step learns from.

The parts are cut into chunks of `chunk_size_ms`, one every `stride_ms`; a step counts the loss over `batch_size` chunks. A network
that hears five seconds would read most frames of a single chunk for their surroundings alone, so chunks are drawn as runs
of up to eight neighbours that share theirs. Where each run starts is drawn anew every epoch. Runs with a label are all
drawn, those with a rare type more than once; of the others at most twice as many.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from services.detection.features import FEATURE_COUNT, FRAME_MS
from services.inference.training.material import Floats, Marks, Material
from services.inference.training.order import Order
from services.inference.training.shape import CONTEXT_FRAMES
from services.inference.training.split import Part

_RUN_CHUNKS = 8
_RUN_MS = 4_000
_EMPTY_PER_LABELLED = 2
_LEAST_EMPTY = 8
_MOST_REPEATS = 6
_RARE_SHARE = 0.25


@dataclass(frozen=True)
class Layout:
    """Chunks in frames, how many a run has, and how many runs a step."""

    chunk: int
    stride: int
    chunks: int
    runs: int

    @property
    def advance(self) -> int:
        """From one run's start to the next."""
        return self.chunks * self.stride

    @property
    def window(self) -> int:
        """Frames that a run reads: its chunks and their surroundings."""
        return self.chunk + (self.chunks - 1) * self.stride + 2 * CONTEXT_FRAMES

    def coverage(self) -> Floats:
        """How many of a run's chunks each frame of its window is in: (window,) float32, 0 in the surroundings."""
        counts = np.zeros(self.window, np.float32)
        for index in range(self.chunks):
            start = CONTEXT_FRAMES + index * self.stride
            counts[start : start + self.chunk] += 1
        return counts


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring chunks of a part; start is the first chunk's frame, in front of the part it may lie."""

    part: Part
    start: int


@dataclass(frozen=True)
class Batch:
    """Windows of a step. features: (runs, window, FEATURE_COUNT), as prepared. marks: (runs, window, types).

    inside: (runs, window, 1), 0 outside the file. weights: (runs, window), how often the loss counts each frame.
    """

    features: Floats
    inside: Floats
    marks: Marks
    weights: Floats


def layout_of(order: Order) -> Layout:
    """The order's chunks in frames; the batch is rounded to whole runs."""
    chunk, stride = (max(1, (length_ms + FRAME_MS // 2) // FRAME_MS) for length_ms in (order.chunk_size_ms, order.stride_ms))
    chunks = max(1, min(_RUN_CHUNKS, order.batch_size, _RUN_MS // (stride * FRAME_MS)))
    return Layout(chunk, stride, chunks, max(1, round(order.batch_size / chunks)))


def drawn_runs(materials: Sequence[Material], parts: Sequence[Part], layout: Layout, random: Generator) -> list[Run]:
    """The runs of an epoch, shuffled."""
    runs = [run for part in parts for run in _runs(part, layout, random)]
    present = np.asarray([_marked(materials, run, layout).any(axis=0) for run in runs])
    labelled = np.flatnonzero(present.any(axis=1))
    empty = random.permutation(np.flatnonzero(~present.any(axis=1)))[: max(_LEAST_EMPTY, _EMPTY_PER_LABELLED * len(labelled))]
    drawn = np.concatenate([np.repeat(labelled, _repeats(present[labelled])), empty])
    return [runs[index] for index in random.permutation(drawn)]


def _runs(part: Part, layout: Layout, random: Generator) -> list[Run]:
    first = part.start - int(random.integers(layout.advance))
    return [Run(part, start) for start in range(first, part.end, layout.advance)]


def _marked(materials: Sequence[Material], run: Run, layout: Layout) -> Marks:
    """Labels under the run's own chunks."""
    start, end = max(run.part.start, run.start), min(run.part.end, run.start + layout.window - 2 * CONTEXT_FRAMES)
    return materials[run.part.file].marks[start:end]


def _repeats(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each run is drawn: often enough that a type has a quarter of the runs of the commonest."""
    counts = present.sum(axis=0)
    wanted = np.ceil(_RARE_SHARE * counts.max(initial=0) / np.maximum(1, counts))
    return np.asarray(np.clip((present * wanted).max(axis=1, initial=1), 1, _MOST_REPEATS), np.int64)


def batches(materials: Sequence[Material], runs: Sequence[Run], layout: Layout, steps: int) -> Iterator[Batch]:
    """So many batches of full size; the runs begin again where they end."""
    for step in range(steps):
        yield batch_of(materials, [runs[(step * layout.runs + index) % len(runs)] for index in range(layout.runs)], layout)


def batch_of(materials: Sequence[Material], runs: Sequence[Run], layout: Layout) -> Batch:
    """Read the runs' windows."""
    types = materials[0].marks.shape[1]
    shape = (len(runs), layout.window)
    batch = Batch(
        np.zeros((*shape, FEATURE_COUNT), np.float32),
        np.zeros((*shape, 1), np.float32),
        np.zeros((*shape, types), np.uint8),
        np.zeros(shape, np.float32),
    )
    coverage = layout.coverage()
    for row, run in enumerate(runs):
        first = run.start - CONTEXT_FRAMES
        start, end = max(0, first), min(len(materials[run.part.file].features), first + layout.window)
        span = slice(start - first, end - first)
        batch.features[row, span] = materials[run.part.file].features[start:end]
        batch.marks[row, span] = materials[run.part.file].marks[start:end]
        batch.inside[row, span] = 1
        counted = slice(max(0, run.part.start - first), max(0, run.part.end - first))
        batch.weights[row, counted] = coverage[counted]
    return batch
