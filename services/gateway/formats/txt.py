"""Plain text: a paragraph per turn."""

from services.gateway.formats.turns import turns
from steno.jobs.v1.transcript_pb2 import Transcript


def to_txt(transcript: Transcript) -> str:
    """Paragraphs parted by an empty line, each with its speaker's label when speakers were told apart."""
    paragraphs = [f"{turn.speaker}: {turn.text}" if turn.speaker else turn.text for turn in turns(transcript)]
    return "\n\n".join(paragraphs) + "\n" if paragraphs else ""
