"""What is said, as sentences and as the terms in them, in any language."""

import re
from collections.abc import Iterator

from services.gateway.formats.escaping import plain
from steno.jobs.v1.transcript_pb2 import Transcript

MOST_SENTENCES = 5_000
MOST_CHARACTERS = 400
_END = re.compile(r"(?<=[.?!…][\"'”’)])\s+|(?<=[.?!…])\s+|(?<=[。？！])")
# Scripts that put no spaces between words.
_DENSE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_RUN = re.compile(rf"[{_DENSE}]+|[^\W_{_DENSE}]+(?:['’][^\W_{_DENSE}]+)*")
_IS_DENSE = re.compile(rf"[{_DENSE}]")


def sentences(transcript: Transcript) -> list[str]:
    """At most 5,000 in order, of at most 400 characters; an even selection of more. A segment without full stops is one sentence."""
    found = [sentence[:MOST_CHARACTERS] for segment in transcript.segments for sentence in _END.split(plain(segment.text)) if sentence]
    if len(found) <= MOST_SENTENCES:
        return found
    return [found[number * len(found) // MOST_SENTENCES] for number in range(MOST_SENTENCES)]


def terms(sentence: str) -> Iterator[str]:
    """Words in lower case; pairs of characters where a script has no spaces."""
    for run in _RUN.findall(sentence.casefold()):
        if _IS_DENSE.match(run) and len(run) > 1:
            yield from (run[start : start + 2] for start in range(len(run) - 1))
        else:
            yield run


def written_out(sentence: str) -> str:
    """With a capital and a full stop where an engine left them away."""
    capital = sentence[:1].upper() + sentence[1:]
    return f"{capital}." if capital[-1:].isalnum() and not _IS_DENSE.match(capital[-1]) else capital
