"""Consecutive segments of one speaker, as people read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from services.gateway.formats.escaping import plain
from steno.jobs.v1.transcript_pb2 import Segment, Transcript


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker said until the next one spoke; speaker is empty when nobody was told apart."""

    speaker: str
    start_ms: int
    end_ms: int
    text: str


def turns(transcript: Transcript) -> Iterator[Turn]:
    """The turns with text, in order of time."""
    for speaker, segments in groupby(transcript.segments, _speaker):
        spoken = [segment for segment in segments if plain(segment.text)]
        if spoken:
            text = " ".join(plain(segment.text) for segment in spoken)
            yield Turn(speaker, spoken[0].start_offset_ms, spoken[-1].end_offset_ms, text)


def _speaker(segment: Segment) -> str:
    return plain(segment.speaker)
