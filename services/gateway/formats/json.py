"""The richest form: the contract's fields, and what Steno adds to them. Times are seconds."""

import json
from typing import Any, Literal

from steno.jobs.v1.transcript_pb2 import Gap, Segment, Transcript, Word

DEFAULT_SUGGESTION = "No speech was found in this recording, so there is nothing to transcribe. Was it music or background sound?"
_Quality = Literal["avg_logprob", "no_speech_prob", "compression_ratio", "temperature"]
_QUALITY: tuple[_Quality, ...] = ("avg_logprob", "no_speech_prob", "compression_ratio", "temperature")


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
        "speech_detected": True,
        "speech_ratio": _finite(transcript.speech_ratio),
        "speakers": list(transcript.speakers),
        "audio_duration_seconds": seconds(transcript.audio_duration_ms),
        "truncated": transcript.truncated,
        "gaps": [_gap(gap) for gap in transcript.gaps],
        "engine": transcript.engine,
        "model": transcript.model,
    }


def seconds(offset_ms: int) -> float:
    """Milliseconds as seconds."""
    return round(offset_ms / 1000, 3)


def _without_speech(transcript: Transcript) -> dict[str, Any]:
    return {
        "text": "",
        "language": None,
        "segments": [],
        "speech_detected": False,
        "speech_ratio": _finite(transcript.speech_ratio),
        "suggestion": transcript.suggestion or DEFAULT_SUGGESTION,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": segment.id,
        "start": seconds(segment.start_offset_ms),
        "end": seconds(segment.end_offset_ms),
        "speaker": segment.speaker or None,
        "text": segment.text,
        "words": [_word(word) for word in segment.words],
        "language": segment.language or None,
        "flags": list(segment.flags),
    }
    for name in _QUALITY:
        if segment.HasField(name):
            fields[name] = _finite(getattr(segment, name))
    return fields


def _word(word: Word) -> dict[str, Any]:
    fields: dict[str, Any] = {"start": seconds(word.start_offset_ms), "end": seconds(word.end_offset_ms), "text": word.text}
    if word.HasField("probability"):
        fields["probability"] = _finite(word.probability)
    if word.speaker:
        fields["speaker"] = word.speaker
    return fields


def _gap(gap: Gap) -> dict[str, Any]:
    return {"start": seconds(gap.start_offset_ms), "end": seconds(gap.end_offset_ms), "reason": gap.reason}


def _finite(number: float) -> float | None:
    return round(number, 6) if abs(number) < float("inf") else None
