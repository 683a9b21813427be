"""Threshold, joining, least duration, confidence."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.detection.detections import Detection, Floats, detections_of

TYPES = ("click", "hum")


def scores_of(spans: Mapping[str, Sequence[tuple[int, int, float]]], frames: int = 100) -> Floats:
    """Scores of 0 but in the spans of frames."""
    scores = np.zeros((frames, len(TYPES)), np.float32)
    for artifact_type, places in spans.items():
        for start, end, score in places:
            scores[start:end, TYPES.index(artifact_type)] = score
    return scores


def found(scores: Floats, threshold: float = 0.5, merge: int = 200, least: int = 50, duration: int = 2_000) -> list[Detection]:
    """By the documented defaults."""
    return detections_of(scores, TYPES, threshold, merge, least, duration)


def test_a_frame_counts_from_the_threshold_on() -> None:
    scores = scores_of({"hum": [(10, 20, 0.5), (60, 70, 0.49)]})
    assert found(scores) == [Detection("hum", 200, 400, 0.5)]
    assert found(scores, threshold=0.51) == []
    assert len(found(scores, threshold=0.25)) == 2


def test_what_is_closer_than_the_window_is_one() -> None:
    nine, ten = scores_of({"hum": [(10, 20, 0.75), (29, 40, 1.0)]}), scores_of({"hum": [(10, 20, 0.75), (30, 40, 1.0)]})
    assert found(nine) == [Detection("hum", 200, 800, 1.0)]
    assert found(ten) == [Detection("hum", 200, 400, 0.75), Detection("hum", 600, 800, 1.0)]
    assert len(found(nine, merge=0)) == 2


def test_types_do_not_join_each_other() -> None:
    scores = scores_of({"hum": [(10, 20, 1.0)], "click": [(15, 25, 1.0)]})
    assert found(scores) == [Detection("hum", 200, 400, 1.0), Detection("click", 300, 500, 1.0)]


def test_pieces_are_joined_before_the_short_are_dropped() -> None:
    crumbs = scores_of({"click": [(10, 11, 1.0), (13, 14, 1.0), (50, 51, 1.0)]})
    assert found(crumbs) == [Detection("click", 200, 280, 1.0)]
    assert found(crumbs, least=81) == []
    assert [each.start_ms for each in found(crumbs, least=0)] == [200, 1_000]


def test_nothing_ends_after_the_recording() -> None:
    assert found(scores_of({"hum": [(90, 100, 1.0)]}), duration=1_990) == [Detection("hum", 1_800, 1_990, 1.0)]


def test_no_frames_hold_nothing() -> None:
    assert found(np.zeros((0, 2), np.float32)) == []


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=60), st.integers(0, 300), st.integers(0, 200))
def test_detections_keep_their_distance_and_their_length(column: list[float], merge: int, least: int) -> None:
    scores = np.asarray([[score, 0.0] for score in column], np.float32).reshape(-1, 2)
    events = found(scores, merge=merge, least=least, duration=len(column) * 20)
    assert all(event.end_ms - event.start_ms >= least for event in events)
    assert all(later.start_ms - earlier.end_ms >= max(merge, 1) for earlier, later in pairwise(events))
    for event in events:
        inside = column[event.start_ms // 20 : event.end_ms // 20]
        assert inside[0] >= 0.5
        assert inside[-1] >= 0.5
        assert event.confidence == max(inside)
