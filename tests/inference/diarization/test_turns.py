"""Who speaks when: the meeting's three voices, and whatever number the caller gives."""

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.diarization.clustering import SpeakerCount
from services.inference.diarization.spans import embedding_blocks, embedding_spans
from services.inference.diarization.turns import diarize
from services.inference.pcm import Floats
from services.inference.transcript import Turn
from services.inference.windows import Region
from tests.inference.conftest import Heard


def diarization_error(reference: list[Turn], found: list[Turn]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyannote.core import Annotation, Segment
        from pyannote.metrics.diarization import DiarizationErrorRate

        annotations = [Annotation(), Annotation()]
        for annotation, turns in zip(annotations, (reference, found), strict=True):
            for track, turn in enumerate(turns):
                annotation[Segment(turn.start_ms / 1000, turn.end_ms / 1000), track] = turn.label
        return float(DiarizationErrorRate(collar=0.25)(*annotations))


def voices(count: int, spans: int, seed: int = 0, spread: float = 0.25) -> tuple[Floats, np.ndarray[Any, Any]]:
    """Rows of length 1 around `count` directions, and whose each is."""
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.normal(size=(256, count)))[0].T
    whose = np.repeat(np.arange(count), -(-spans // count))[:spans]
    rows = directions[whose] + random.normal(size=(spans, 256)) * spread / 16
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32), whose


def test_the_meeting_has_three_speakers_in_the_right_places(meeting: Heard, meeting_reference: dict[str, Any]) -> None:
    turns = diarize(meeting.regions, meeting.spans, meeting.embeddings)
    names = sorted({turn["speaker"] for turn in meeting_reference["turns"]})
    reference = [
        Turn(round(turn["start"] * 1000), round(turn["end"] * 1000), names.index(turn["speaker"])) for turn in meeting_reference["turns"]
    ]
    assert {turn.label for turn in turns} == {"SPEAKER_00", "SPEAKER_01", "SPEAKER_02"}
    assert diarization_error(reference, turns) <= 0.15


@pytest.mark.parametrize("speakers", [1, 2, 3, 4])
def test_a_known_number_of_speakers_is_honoured(meeting: Heard, speakers: int) -> None:
    turns = diarize(meeting.regions, meeting.spans, meeting.embeddings, SpeakerCount.exactly(speakers))
    assert len({turn.speaker for turn in turns}) == speakers


def test_a_range_of_speakers_is_honoured(meeting: Heard) -> None:
    at_most = diarize(meeting.regions, meeting.spans, meeting.embeddings, SpeakerCount(maximum=2))
    at_least = diarize(meeting.regions, meeting.spans, meeting.embeddings, SpeakerCount(minimum=4))
    assert len({turn.speaker for turn in at_most}) == 2
    assert len({turn.speaker for turn in at_least}) >= 4


def test_speakers_are_numbered_by_first_appearance_and_turns_cover_the_speech(meeting: Heard) -> None:
    turns = diarize(meeting.regions, meeting.spans, meeting.embeddings)
    first = list(dict.fromkeys(turn.speaker for turn in turns))
    assert first == sorted(first)
    assert all(one.end_ms <= two.start_ms for one, two in pairwise(turns))
    assert sum(turn.end_ms - turn.start_ms for turn in turns) == sum(region.duration_ms for region in meeting.regions)


def test_hours_of_speech_are_clustered_from_a_sample() -> None:
    region = Region(0, 10_800_000)
    spans = embedding_spans([region], region.end_ms)
    embeddings, whose = voices(5, len(spans))
    turns = diarize([region], spans, embeddings)
    assert len(spans) > 21_000
    assert len({turn.speaker for turn in turns}) == 5
    edges = np.flatnonzero(np.diff(whose)) + 1
    assert [round(turn.end_ms / 60_000) for turn in turns[:-1]] == [round(spans[edge].start_ms / 60_000) for edge in edges]


def test_noise_taken_for_speech_is_clustered_in_bounded_time() -> None:
    region = Region(0, 300_000)
    spans = embedding_spans([region], region.end_ms)
    noise = np.abs(np.random.default_rng(0).normal(size=(len(spans), 256)) - 0.3)
    turns = diarize([region], spans, np.asarray(noise / np.linalg.norm(noise, axis=1, keepdims=True), np.float32))
    assert len({turn.speaker for turn in turns}) <= 20


def test_no_speech_has_no_turns() -> None:
    assert diarize([], [], np.zeros((0, 256), np.float32)) == []


def test_an_empty_range_of_speakers_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum"):
        SpeakerCount(3, 2)


@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(1, 90_000)), min_size=1, max_size=8))
def test_spans_cover_every_region_and_blocks_hold_every_span(gaps: list[tuple[int, int]]) -> None:
    regions, at = [], 0
    for gap, length in gaps:
        regions.append(Region(at + gap, at + gap + length))
        at += gap + length
    spans = embedding_spans(regions, at)
    for region in regions:
        inside = sorted(span for span in spans if span.start_ms < region.end_ms and span.end_ms > region.start_ms)
        assert inside[0].start_ms <= region.start_ms
        assert max(span.end_ms for span in inside) >= region.end_ms
    blocks = embedding_blocks(spans)
    assert [(b.start_ms + s, b.start_ms + e) for b in blocks for s, e in b.spans] == [(s.start_ms, s.end_ms) for s in spans]
    assert all(block.end_ms - block.start_ms <= 60_013 for block in blocks)


@given(st.integers(1, 12), st.integers(0, 5))
def test_any_number_of_spans_clusters(regions: int, seed: int) -> None:
    stretches = [Region(at * 4_000, at * 4_000 + 1_500) for at in range(regions)]
    embeddings, _ = voices(1, regions, seed, spread=16)
    turns = diarize(stretches, embedding_spans(stretches, 60_000), embeddings)
    assert len(turns) >= 1
    assert turns[0].speaker == 0
