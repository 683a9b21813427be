"""What a transcription used, as OpenAI's answers say it."""

from typing import Any

from steno.jobs.v1.transcript_pb2 import Transcript


def to_usage(transcript: Transcript) -> dict[str, Any]:
    """Whole seconds of audio; a started one counts."""
    return {"type": "duration", "seconds": -(-transcript.audio_duration_ms // 1000)}
