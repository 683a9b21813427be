"""SubRip subtitles."""

from services.gateway.formats.clock import timestamp
from services.gateway.formats.cues import Cue, cues
from services.gateway.formats.escaping import for_srt
from steno.jobs.v1.transcript_pb2 import Transcript


def to_srt(transcript: Transcript) -> str:
    """Numbered cues; the speaker is a label before the text. Empty without speech."""
    return "".join(_block(number, cue) for number, cue in enumerate(cues(transcript, labels=True), start=1))


def _block(number: int, cue: Cue) -> str:
    times = f"{timestamp(cue.start_ms, ',')} --> {timestamp(cue.end_ms, ',')}"
    return "\n".join([str(number), times, *map(for_srt, cue.lines), "", ""])
