"""Who says what as plain lines: "[Speaker 1]: Hello"."""

from services.gateway.formats.turns import turns
from steno.jobs.v1.transcript_pb2 import Transcript


def to_dialogue(transcript: Transcript) -> str:
    """A line per turn, speakers numbered from 1 by first appearance; empty without speech."""
    numbers: dict[str, int] = {}
    return "\n".join(f"[Speaker {numbers.setdefault(turn.speaker, len(numbers) + 1)}]: {turn.text}" for turn in turns(transcript))
