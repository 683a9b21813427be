"""Labels as the network learns them."""

from pathlib import Path

import numpy as np
import pytest

from services.detection.features import FEATURE_COUNT
from services.inference.training.failures import NoUsableData
from services.inference.training.material import Material, norm_of, open_material
from services.inference.training.order import Annotation, AudioFile

TYPES = ("click", "hum")


def opened(folder: Path, *annotations: Annotation, columns: int = FEATURE_COUNT) -> Material:
    """A file of two seconds with labels."""
    np.save(folder / "a.npy", np.ones((100, columns), np.float16))
    return open_material([AudioFile("a", folder / "a.npy", 2_000, annotations)], TYPES)[0]


def test_marks_lie_where_labels_do_and_know_their_confidence(tmp_path: Path) -> None:
    marks = opened(tmp_path, Annotation("hum", 410, 790, 0.4), Annotation("cough", 0, 2_000, 1.0)).marks
    assert np.flatnonzero(marks[:, 1]).tolist() == list(range(20, 40))
    assert set(marks[20:40, 1]) == {102}
    assert marks[:, 0].sum() == 0


def test_short_labels_are_widened_so_that_what_is_learnt_can_be_shown(tmp_path: Path) -> None:
    marks = opened(tmp_path, Annotation("click", 1_005, 1_008, 1.0), Annotation("click", 0, 1, 1.0)).marks
    assert np.flatnonzero(marks[:, 0]).tolist() == [0, 1, 2, 49, 50, 51, 52]


def test_labels_outside_the_audio_are_cut_off(tmp_path: Path) -> None:
    marks = opened(tmp_path, Annotation("hum", 1_900, 9_000, 1.0), Annotation("click", 5_000, 6_000, 1.0)).marks
    assert np.flatnonzero(marks[:, 1]).tolist() == list(range(95, 100))
    assert marks[:, 0].sum() == 0


def test_overlapping_labels_of_a_type_are_one_event(tmp_path: Path) -> None:
    material = opened(tmp_path, Annotation("hum", 500, 900, 0.5), Annotation("hum", 300, 600, 0.25), Annotation("click", 550, 650, 1.0))
    assert material.events == [Annotation("hum", 300, 900, 0.5), Annotation("click", 550, 650, 1.0)]


def test_features_of_another_form_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoUsableData):
        opened(tmp_path, columns=FEATURE_COUNT + 1)


def test_the_norm_is_that_of_all_frames() -> None:
    rows = np.random.default_rng(1).normal(5.0, 3.0, (70_000, FEATURE_COUNT)).astype(np.float16)
    scaled = norm_of([rows[:30_000], rows[30_000:]]).applied(rows)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-2)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=1e-2)
