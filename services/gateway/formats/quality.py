"""How far a transcript is to be trusted: Steno's own fields, which stand beside those of every contract. Times are seconds."""

import math
from typing import Any, Literal

from services.gateway.formats.clock import seconds
from steno.jobs.v1.transcript_pb2 import Gap, Segment, SpokenLanguage, Transcript

_Measure = Literal["avg_logprob", "no_speech_prob", "compression_ratio", "temperature"]
_MEASURES: tuple[_Measure, ...] = ("avg_logprob", "no_speech_prob", "compression_ratio", "temperature")


def transcript_quality(transcript: Transcript) -> dict[str, Any]:
    """Whether there was speech, what of it has no text, and what made the text."""
    return {
        "speech_detected": transcript.speech_detected,
        "speech_ratio": finite(transcript.speech_ratio),
        "languages": [_language(spoken) for spoken in transcript.languages],
        "truncated": transcript.truncated,
        "gaps": [_gap(gap) for gap in transcript.gaps],
        "engine": transcript.engine,
        "model": transcript.model,
    }


def segment_quality(segment: Segment) -> dict[str, Any]:
    """Its language and what a reader should know of it."""
    return {"language": segment.language or None, "flags": list(segment.flags)}


def measures(segment: Segment) -> dict[str, float | None]:
    """What the model said of itself; what it did not say is left out."""
    return {name: finite(getattr(segment, name)) for name in _MEASURES if segment.HasField(name)}


def finite(number: float) -> float | None:
    """The number, rounded; None for one that JSON does not know."""
    return round(number, 6) if math.isfinite(number) else None


def _language(spoken: SpokenLanguage) -> dict[str, Any]:
    return {"language": spoken.language, "duration": seconds(spoken.duration_ms)}


def _gap(gap: Gap) -> dict[str, Any]:
    return {"start": seconds(gap.start_offset_ms), "end": seconds(gap.end_offset_ms), "reason": gap.reason}
