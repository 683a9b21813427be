"""The port to whatever writes summaries."""

from dataclasses import dataclass
from typing import Protocol

from steno.jobs.v1.transcript_pb2 import Transcript


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary. lasting: False when a better one may be had later."""

    text: str
    lasting: bool = True


class Summarizer(Protocol):
    """Writes summaries."""

    async def summarize(self, transcript: Transcript) -> Summary:
        """The summary; empty without speech. Raises nothing but cancellation."""
