"""Chunks, runs and batches."""

from typing import Any

import numpy as np

from services.detection.features import FEATURE_COUNT
from services.inference.training.material import Material
from services.inference.training.order import Order
from services.inference.training.sampling import Layout, Run, batch_of, batches, drawn_runs, layout_of
from services.inference.training.shape import CONTEXT_FRAMES
from services.inference.training.split import Part
from tools.detection.folder import DEFAULT_ORDER


def layout(**changes: Any) -> Layout:
    """That of the defaults, changed as told."""
    return layout_of(Order(**{**DEFAULT_ORDER, **changes}))


def material(frames: int, **marks: tuple[int, int]) -> Material:
    """Features that count the frames; two types, `first` and `second`, marked where told."""
    labels = np.zeros((frames, 2), np.uint8)
    for column, name in enumerate(("first", "second")):
        labels[slice(*marks.get(name, (0, 0))), column] = 255
    return Material(np.repeat(np.arange(frames, dtype=np.float16)[:, None], FEATURE_COUNT, axis=1), labels, [])


def test_a_step_counts_as_many_chunks_as_the_batch_has() -> None:
    for batch_size in (8, 32, 256):
        chosen = layout(batch_size=batch_size)
        assert chosen.runs * chosen.chunks == batch_size
        assert chosen.runs * chosen.coverage().sum() == batch_size * 25


def test_chunks_are_as_long_and_as_far_apart_as_ordered() -> None:
    chosen = layout(chunk_size_ms=1_000, stride_ms=2_000, batch_size=8)
    counted = np.flatnonzero(chosen.coverage()) - CONTEXT_FRAMES
    assert chosen.chunks == 2
    assert counted.tolist() == [*range(50), *range(100, 150)]
    assert layout().coverage().max() == 2


def test_every_frame_of_a_part_is_in_one_or_two_chunks() -> None:
    chosen, files = layout(), [material(3_000, first=(0, 3_000))]
    part = Part(0, 200, 2_800)
    runs = drawn_runs(files, [part], chosen, np.random.default_rng(1))
    totals = np.zeros(3_000)
    for run in runs:
        weights = batch_of(files, [run], chosen).weights[0]
        for offset in np.flatnonzero(weights):
            totals[run.start - CONTEXT_FRAMES + offset] += weights[offset]
    assert totals[:200].sum() == totals[2_800:].sum() == 0
    assert set(totals[200:2_800]) == {1.0, 2.0}


def test_surroundings_are_read_and_what_lies_outside_the_file_is_marked() -> None:
    chosen, files = layout(), [material(1_000)]
    batch = batch_of(files, [Run(Part(0, 0, 1_000), -10), Run(Part(0, 0, 1_000), 900)], chosen)
    first, last = (np.flatnonzero(batch.inside[row, :, 0]) for row in (0, 1))
    assert first[0] == CONTEXT_FRAMES + 10
    assert batch.features[0, first[0], 0] == 0
    assert batch.features[1, 0, 0] == 900 - CONTEXT_FRAMES
    assert last[-1] + 900 - CONTEXT_FRAMES == 999
    assert batch.weights[0, : first[0]].sum() == 0


def test_rare_types_are_drawn_more_often_and_empty_runs_are_bounded() -> None:
    chosen = layout()
    common = [material(1_000, first=(0, 1_000)) for _ in range(20)]
    files = [*common, material(100, second=(40, 50)), *(material(1_000) for _ in range(200))]
    parts = [Part(index, 0, len(file.features)) for index, file in enumerate(files)]
    drawn = drawn_runs(files, parts, chosen, np.random.default_rng(1))
    drawn_files = np.asarray([run.part.file for run in drawn])
    of_common, of_rare, empty = (drawn_files < 20).sum(), (drawn_files == 20).sum(), (drawn_files > 20).sum()
    assert of_rare >= 6
    assert empty <= 2 * (of_common + of_rare)


def test_an_epoch_is_the_same_for_its_seed_and_another_for_another() -> None:
    chosen, files, parts = layout(), [material(5_000, first=(0, 5_000))], [Part(0, 0, 5_000)]
    once, again, other = (drawn_runs(files, parts, chosen, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert once == again != other
    assert [batch.weights.shape[0] for batch in batches(files, once[:3], chosen, 2)] == [4, 4]
