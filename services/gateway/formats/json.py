"""The richest form: the contract's fields, and what Steno adds to them. Times are seconds."""

import json
from typing import Any

from services.gateway.formats.clock import seconds
from services.gateway.formats.quality import finite, measures, segment_quality, transcript_quality
from steno.jobs.v1.transcript_pb2 import Segment, Transcript, Word

DEFAULT_SUGGESTION = "No speech was found in this recording, so there is nothing to transcribe. Was it music or background sound?"


def to_json(transcript: Transcript) -> str:
    """The document as text."""
    return json.dumps(document(transcript), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def document(transcript: Transcript) -> dict[str, Any]:
    """The document as plain values; without speech only the fields that say so."""
    if not transcript.speech_detected:
        return _without_speech(transcript)
    return {
        "text": transcript.text,
        "language": transcript.language or None,
        "segments": [_segment(segment) for segment in transcript.segments],
        "speakers": list(transcript.speakers),
        "audio_duration_seconds": seconds(transcript.audio_duration_ms),
        **transcript_quality(transcript),
    }


def _without_speech(transcript: Transcript) -> dict[str, Any]:
    return {
        "text": "",
        "language": None,
        "segments": [],
        "speech_detected": False,
        "speech_ratio": finite(transcript.speech_ratio),
        "suggestion": transcript.suggestion or DEFAULT_SUGGESTION,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "start": seconds(segment.start_offset_ms),
        "end": seconds(segment.end_offset_ms),
        "speaker": segment.speaker or None,
        "text": segment.text,
        "words": [_word(word) for word in segment.words],
        **segment_quality(segment),
        **measures(segment),
    }


def _word(word: Word) -> dict[str, Any]:
    fields: dict[str, Any] = {"start": seconds(word.start_offset_ms), "end": seconds(word.end_offset_ms), "text": word.text}
    if word.HasField("probability"):
        fields["probability"] = finite(word.probability)
    if word.speaker:
        fields["speaker"] = word.speaker
    return fields
