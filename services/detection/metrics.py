"""How good detections are, as the DCASE evaluations count.

Source: Mesaros, Heittola, Virtanen 2016, "Metrics for polyphonic sound event detection", sec. 3.1 and 3.2. Counts of several
recordings add up. A type without events and detections scores 0 and is left out of the mean over types.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

ONSET_COLLAR_MS = 200
SEGMENT_MS = 1_000


class Event(Protocol):
    """Anything with a type and times."""

    @property
    def artifact_type(self) -> str:
        """Its type, by name."""

    @property
    def start_ms(self) -> int:
        """Where it starts."""

    @property
    def end_ms(self) -> int:
        """Where it ends; the end itself is outside."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Events, or segments: of the reference, of the detections, and those in both."""

    right: int = 0
    expected: int = 0
    found: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.right + other.right, self.expected + other.expected, self.found + other.found)

    @property
    def precision(self) -> float:
        """Share of the detections that are right, 0 without any."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the events that are found, 0 without any."""
        return self.right / self.expected if self.expected else 0.0

    @property
    def f1_score(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.right / (self.expected + self.found) if self.expected + self.found else 0.0


@dataclass(frozen=True, slots=True)
class Means:
    """Means over the types."""

    precision: float
    recall: float
    f1_score: float


def event_based(
    reference: Sequence[Event], found: Sequence[Event], artifact_types: Iterable[str], collar_ms: int = ONSET_COLLAR_MS
) -> dict[str, Counts]:
    """Counts of one recording's events by type: each event with at most one detection whose start is no further away than the collar."""
    return {name: _matched(_starts(reference, name), _starts(found, name), collar_ms) for name in artifact_types}


def segment_based(
    reference: Sequence[Event], found: Sequence[Event], artifact_types: Iterable[str], segment_ms: int = SEGMENT_MS
) -> dict[str, Counts]:
    """Counts of one recording's segments by type: a segment is active where any part of an event lies in it."""
    return {name: _overlap(_active(reference, name, segment_ms), _active(found, name, segment_ms)) for name in artifact_types}


def macro(by_type: Mapping[str, Counts]) -> Means:
    """Means over the types that have events or detections; zeros when none has."""
    present = [counts for counts in by_type.values() if counts.expected or counts.found] or [Counts()]
    sums = [sum(getattr(counts, figure) for counts in present) for figure in ("precision", "recall", "f1_score")]
    return Means(*(total / len(present) for total in sums))


def _starts(events: Sequence[Event], name: str) -> list[int]:
    return sorted(event.start_ms for event in events if event.artifact_type == name)


def _matched(expected: Sequence[int], found: Sequence[int], collar_ms: int) -> Counts:
    """As many pairs as there can be: with windows of one width, taking the earliest partner loses none."""
    right = first = 0
    for start in expected:
        while first < len(found) and found[first] < start - collar_ms:
            first += 1
        if first < len(found) and found[first] <= start + collar_ms:
            right, first = right + 1, first + 1
    return Counts(right, len(expected), len(found))


def _active(events: Sequence[Event], name: str, segment_ms: int) -> set[int]:
    spans = [(event.start_ms // segment_ms, -(-event.end_ms // segment_ms)) for event in events if event.artifact_type == name]
    return {segment for first, last in spans for segment in range(first, last)}


def _overlap(expected: set[int], found: set[int]) -> Counts:
    return Counts(len(expected & found), len(expected), len(found))
