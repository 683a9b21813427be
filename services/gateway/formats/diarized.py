"""OpenAI's diarized_json. Source: OpenAI API reference, "The transcription object (Diarized JSON)"."""

from collections.abc import Collection, Iterator
from itertools import count, product
from string import ascii_uppercase
from typing import Any

from services.gateway.formats.clock import seconds
from services.gateway.formats.escaping import plain
from services.gateway.formats.quality import segment_quality, transcript_quality
from services.gateway.formats.usage import to_usage
from steno.jobs.v1.transcript_pb2 import Segment, Transcript

SEGMENT_TYPE = "transcript.text.segment"


def to_diarized(transcript: Transcript, known_names: Collection[str] = ()) -> dict[str, Any]:
    """The document as plain values. known_names: the labels that the order gave."""
    return {
        "task": "transcribe",
        "duration": seconds(transcript.audio_duration_ms),
        "text": transcript.text,
        "segments": diarized_segments(transcript, known_names),
        "usage": to_usage(transcript),
        **transcript_quality(transcript),
    }


def diarized_segments(transcript: Transcript, known_names: Collection[str] = ()) -> list[dict[str, Any]]:
    """Segments with ids from seg_001 on; speakers are A, B, … in order of appearance, or their known names."""
    names = speaker_names(transcript, known_names)
    return [
        _segment(number, segment, names[plain(segment.speaker)])
        for number, segment in enumerate((segment for segment in transcript.segments if plain(segment.text)), start=1)
    ]


def speaker_names(transcript: Transcript, known_names: Collection[str] = ()) -> dict[str, str]:
    """What each label of the transcript is called. A letter that is somebody's known name is nobody else's."""
    known = {plain(name): name for name in known_names}
    letters = (letter for letter in _letters() if letter not in known.values())
    labels = dict.fromkeys(plain(segment.speaker) for segment in transcript.segments if plain(segment.text))
    return {label: known[label] if label in known else next(letters) for label in labels}


def _letters() -> Iterator[str]:
    """A to Z, then AA, AB, …"""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))


def _segment(number: int, segment: Segment, speaker: str) -> dict[str, Any]:
    return {
        "type": SEGMENT_TYPE,
        "id": f"seg_{number:03d}",
        "start": seconds(segment.start_offset_ms),
        "end": seconds(segment.end_offset_ms),
        "text": plain(segment.text),
        "speaker": speaker,
        **segment_quality(segment),
    }
