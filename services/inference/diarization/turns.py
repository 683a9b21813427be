"""Labels of overlapping spans to turns of file time."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from services.inference.diarization.clustering import (
    Labels,
    SpeakerCount,
    centroids,
    cluster_speakers,
)
from services.inference.diarization.spans import span_count
from services.inference.pcm import Floats
from services.inference.transcript import Turn
from services.inference.windows import Region

STEP_MS = 50
SHARPNESS = 25.0
CHANGE_COST = 2.0
VOTE_FLOOR = 1e-3

Votes = npt.NDArray[np.float64]


def diarize(
    regions: Sequence[Region],
    spans: Sequence[Region],
    embeddings: Floats,
    count: SpeakerCount | None = None,
) -> list[Turn]:
    """Turns that cover the regions, one speaker at a time, numbered by first appearance.

    spans: from `embedding_spans(regions)`; embeddings: (spans, 256), a row each. At most as many speakers
    as the count allows; fewer than asked where one of them is nowhere the loudest.
    """
    if not len(spans):
        return []
    labels = cluster_speakers(embeddings, count or SpeakerCount())
    preferences = speaker_preferences(embeddings, labels)
    stretches = [
        stretch
        for region, (first, last) in zip(regions, span_ranges(regions), strict=True)
        for stretch in region_turns(region, spans[first:last], preferences[first:last])
    ]
    return number_by_appearance(join_neighbours(stretches))


def speaker_preferences(embeddings: Floats, labels: Labels) -> Votes:
    """(spans, speakers): half the cluster's label, half how like each centroid the span sounds."""
    similarities = (embeddings @ centroids(embeddings, labels).T).astype(np.float64)
    weights = np.exp((similarities - similarities.max(axis=1, keepdims=True)) * SHARPNESS)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(0.5 * weights + 0.5 * np.eye(weights.shape[1])[labels], np.float64)


def span_ranges(regions: Sequence[Region]) -> Iterator[tuple[int, int]]:
    """First and one past the last of each region's spans in the list of all."""
    first = 0
    for region in regions:
        last = first + span_count(region)
        yield first, last
        first = last


def region_turns(region: Region, spans: Sequence[Region], preferences: Votes) -> Iterator[Turn]:
    """The most likely sequence of speakers over one region's steps of 50 ms."""
    votes = step_votes(region, spans, preferences)
    path = smooth(np.log(votes))
    changes = np.flatnonzero(np.diff(path)) + 1
    edges = [0, *changes.tolist(), len(path)]
    for first, last in pairwise(edges):
        end_ms = region.end_ms if last == len(path) else region.start_ms + last * STEP_MS
        yield Turn(region.start_ms + first * STEP_MS, end_ms, int(path[first]))


def step_votes(region: Region, spans: Sequence[Region], preferences: Votes) -> Votes:
    """(steps, speakers) shares: every span votes where it lies, most in its middle."""
    steps = max(1, -(-region.duration_ms // STEP_MS))
    times_ms = region.start_ms + (np.arange(steps) + 0.5) * STEP_MS
    votes = np.full((steps, preferences.shape[1]), VOTE_FLOOR)
    for span, preference in zip(spans, preferences, strict=True):
        first, last = np.searchsorted(times_ms, (span.start_ms, span.end_ms))
        middle, half = (span.start_ms + span.end_ms) / 2, span.duration_ms / 2
        weights = 1 - np.abs(times_ms[first:last] - middle) / half
        votes[first:last] += weights[:, None] * preference
    return np.asarray(votes / votes.sum(axis=1, keepdims=True), np.float64)


def smooth(scores: Votes) -> Labels:
    """Viterbi path over (steps, speakers) log scores in which every change costs the same."""
    best = scores[0].copy()
    came_from = np.zeros(scores.shape, np.intp)
    everyone = np.arange(scores.shape[1])
    for step in range(1, len(scores)):
        changed = best.max() - CHANGE_COST
        came_from[step] = np.where(best >= changed, everyone, best.argmax())
        best = np.maximum(best, changed) + scores[step]
    path = [int(best.argmax())]
    for step in range(len(scores) - 1, 0, -1):
        path.append(int(came_from[step, path[-1]]))
    return np.array(path[::-1], np.intp)


def join_neighbours(turns: Sequence[Turn]) -> list[Turn]:
    """Join turns of one speaker that touch."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].speaker == turn.speaker and turn.start_ms <= joined[-1].end_ms:
            joined[-1] = Turn(joined[-1].start_ms, turn.end_ms, turn.speaker)
        else:
            joined.append(turn)
    return joined


def number_by_appearance(turns: Sequence[Turn]) -> list[Turn]:
    """The same turns with speakers 0, 1, … in order of their first turn."""
    numbers: dict[int, int] = {}
    return [Turn(turn.start_ms, turn.end_ms, numbers.setdefault(turn.speaker, len(numbers))) for turn in turns]
