"""OpenAI's verbose_json. Source: OpenAI API reference, "The transcription object (Verbose JSON)"."""

import math
import zlib
from collections.abc import Collection, Iterator
from typing import Any

from services.gateway.formats.clock import seconds
from services.gateway.formats.escaping import plain
from services.gateway.formats.language_names import english_name
from services.gateway.formats.logprobs import mean_logprob
from services.gateway.formats.quality import segment_quality, transcript_quality
from services.gateway.formats.usage import to_usage
from steno.jobs.v1.transcript_pb2 import Segment, Transcript

SEGMENT = "segment"
WORD = "word"
TRANSLATE = "translate"
_FRAME_MS = 10


def to_verbose(transcript: Transcript, *, task: str = "transcribe", granularities: Collection[str] = (SEGMENT,)) -> dict[str, Any]:
    """The document as plain values. granularities: which of `segment` and `word` it lists."""
    fields: dict[str, Any] = {
        "task": task,
        "language": "english" if task == TRANSLATE else english_name(transcript.language),
        "duration": seconds(transcript.audio_duration_ms),
        "text": transcript.text,
    }
    if SEGMENT in granularities:
        fields["segments"] = [verbose_segment(segment) for segment in transcript.segments]
    if WORD in granularities:
        fields["words"] = list(_words(transcript))
    return {**fields, "usage": to_usage(transcript), **transcript_quality(transcript)}


def verbose_segment(segment: Segment) -> dict[str, Any]:
    """All ten keys, and Steno's own. The text begins with a space, as Whisper's does: texts joined with nothing between stay readable.

    A transcript keeps no tokens, so their list is empty; what the model did not say of itself is computed or 0.
    """
    text = plain(segment.text)
    return {
        "id": segment.id,
        "seek": segment.start_offset_ms // _FRAME_MS,
        "start": seconds(segment.start_offset_ms),
        "end": seconds(segment.end_offset_ms),
        "text": f" {text}",
        "tokens": [],
        "temperature": _finite(segment.temperature),
        "avg_logprob": _finite(segment.avg_logprob if segment.HasField("avg_logprob") else mean_logprob(segment) or 0.0),
        "compression_ratio": _finite(segment.compression_ratio if segment.HasField("compression_ratio") else compression_ratio(text)),
        "no_speech_prob": _finite(segment.no_speech_prob),
        **segment_quality(segment),
    }


def compression_ratio(text: str) -> float:
    """Bytes of the text over bytes of the text compressed; high for text that repeats itself. Source: openai-whisper, utils.py."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _words(transcript: Transcript) -> Iterator[dict[str, Any]]:
    for segment in transcript.segments:
        for word in segment.words:
            yield {"word": plain(word.text), "start": seconds(word.start_offset_ms), "end": seconds(word.end_offset_ms)}


def _finite(number: float) -> float:
    return round(number, 6) if math.isfinite(number) else 0.0
