"""WebVTT subtitles. Source: W3C WebVTT, sections 4.1 and 4.2.2."""

from services.gateway.formats.clock import timestamp
from services.gateway.formats.cues import Cue, cues
from services.gateway.formats.escaping import for_voice, for_vtt
from steno.jobs.v1.transcript_pb2 import Transcript


def to_vtt(transcript: Transcript) -> str:
    """Cues with the speaker as a voice tag; only the header without speech."""
    return "WEBVTT\n\n" + "".join(_block(cue) for cue in cues(transcript))


def _block(cue: Cue) -> str:
    times = f"{timestamp(cue.start_ms, '.')} --> {timestamp(cue.end_ms, '.')}"
    voice = f"<v {for_voice(cue.speaker)}>" if cue.speaker else ""
    return f"{times}\n{voice}" + "\n".join(map(for_vtt, cue.lines)) + "\n\n"
