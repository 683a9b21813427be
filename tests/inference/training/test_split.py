"""What is held out."""

import numpy as np
import pytest

from services.detection.features import FEATURE_COUNT
from services.inference.training.failures import NoUsableData
from services.inference.training.material import Material
from services.inference.training.split import GAP_FRAMES, Split, split

TYPES = 3


def file_with(*types: int, frames: int = 1_000, at: int = 500) -> Material:
    """A file with one mark of each of the types."""
    marks = np.zeros((frames, TYPES), np.uint8)
    marks[at : at + 10, list(types)] = 255
    return Material(np.zeros((frames, FEATURE_COUNT), np.float16), marks, [])


def held_files(found: Split) -> set[int]:
    """The files that are held out."""
    return {part.file for part in found.validation}


def test_files_are_on_one_side_only_and_the_share_is_kept() -> None:
    found = split([file_with(0, 1, 2) for _ in range(10)], 0.3, seed=1)
    assert len(found.validation) == 3
    assert {part.file for part in found.training} | held_files(found) == set(range(10))
    assert len(found.training) == 7


@pytest.mark.parametrize("seed", range(20))
def test_every_type_of_two_files_is_on_both_sides(seed: int) -> None:
    materials = [file_with(0) for _ in range(8)] + [file_with(1), file_with(1), file_with(2), file_with(2)]
    found = split(materials, 0.1, seed)
    for side in (found.training, found.validation):
        assert np.any([materials[part.file].marks.any(axis=0) for part in side], axis=0).all()


@pytest.mark.parametrize("seed", range(20))
def test_what_one_file_alone_has_is_learnt(seed: int) -> None:
    materials = [file_with(0), file_with(0), file_with(0, 1), file_with(0)]
    assert 2 not in held_files(split(materials, 0.5, seed))


def test_another_seed_holds_out_other_files() -> None:
    materials = [file_with(0, 1, 2) for _ in range(10)]
    assert split(materials, 0.2, 1) == split(materials, 0.2, 1)
    assert len({frozenset(held_files(split(materials, 0.2, seed))) for seed in range(10)}) > 1


def test_a_single_file_is_split_in_time_with_a_gap() -> None:
    marks = np.zeros((10_000, TYPES), np.uint8)
    for at in (1_000, 4_500, 9_500):
        marks[at : at + 10] = 255
    found = split([Material(np.zeros((10_000, FEATURE_COUNT), np.float16), marks, [])], 0.2, seed=1)
    (held,) = found.validation
    assert held.end - held.start == 2_000
    assert marks[held.start : held.end].any()
    for part in found.training:
        assert part.end <= held.start - GAP_FRAMES or part.start >= held.end + GAP_FRAMES


def test_files_without_labels_are_refused() -> None:
    with pytest.raises(NoUsableData):
        split([file_with(), file_with()], 0.2, seed=1)
