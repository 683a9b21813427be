"""Segments cut into subtitles: at most two lines of 42 characters and seven seconds, split at word times.

Source of the limits: Netflix Timed Text Style Guide, general requirements (42 characters, 2 lines, 7 seconds).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.formats.escaping import plain
from steno.jobs.v1.transcript_pb2 import Segment, Transcript

MAX_LINE_CHARACTERS = 42
MAX_LINES = 2
MAX_CUE_MS = 7000
_PAUSE_MS = 1500
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; speaker is empty when nobody was told apart."""

    start_ms: int
    end_ms: int
    speaker: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start_ms: int
    end_ms: int


def cues(transcript: Transcript, *, labels: bool = False) -> list[Cue]:
    """The subtitles in order of time. labels: leave room for "SPEAKER_00: " in the first line, and write it there."""
    found = [cue for segment in transcript.segments for cue in _segment_cues(segment, labels)]
    return sorted(found, key=lambda cue: cue.start_ms)


def _segment_cues(segment: Segment, labels: bool) -> Iterator[Cue]:
    speaker = plain(segment.speaker)[: MAX_LINE_CHARACTERS // 2].strip()
    label = f"{speaker}: " if labels and speaker else ""
    for tokens in _packed(_tokens(segment, MAX_LINE_CHARACTERS - len(label)), label):
        start = max(tokens[0].start_ms, 0)
        end = min(max(tokens[-1].end_ms, start + 1), start + MAX_CUE_MS)
        yield Cue(start, end, speaker, tuple(_wrapped(label, tokens)))


def _packed(tokens: list[_Token], label: str) -> Iterator[list[_Token]]:
    cue: list[_Token] = []
    for token in tokens:
        if cue and not _fits(cue, token, label):
            yield cue
            cue = []
        cue.append(token)
    if cue:
        yield cue


def _fits(cue: list[_Token], token: _Token, label: str) -> bool:
    if token.end_ms - cue[0].start_ms > MAX_CUE_MS or token.start_ms - cue[-1].end_ms > _PAUSE_MS:
        return False
    lines = _wrapped(label, cue)
    if cue[-1].text.endswith(_SENTENCE_ENDS) and len(lines) == MAX_LINES:
        return False
    return len(_wrapped(label, [*cue, token])) <= MAX_LINES


def _wrapped(label: str, tokens: list[_Token]) -> list[str]:
    lines = [label + tokens[0].text]
    for token in tokens[1:]:
        joined = f"{lines[-1]} {token.text}"
        if len(joined) <= MAX_LINE_CHARACTERS:
            lines[-1] = joined
        else:
            lines.append(token.text)
    return lines


def _tokens(segment: Segment, room: int) -> list[_Token]:
    words = [_Token(plain(word.text), word.start_offset_ms, word.end_offset_ms) for word in segment.words]
    timed = [word for word in words if word.text] or _spread(segment)
    return [piece for token in timed for piece in _chopped(token, room)]


def _spread(segment: Segment) -> list[_Token]:
    """Words without times of their own share the segment's, by their length."""
    words = plain(segment.text).split()
    total = sum(len(word) + 1 for word in words)
    length_ms = max(segment.end_offset_ms - segment.start_offset_ms, 0)
    tokens: list[_Token] = []
    seen = 0
    for word in words:
        start = segment.start_offset_ms + length_ms * seen // total
        seen += len(word) + 1
        tokens.append(_Token(word, start, segment.start_offset_ms + length_ms * seen // total))
    return tokens


def _chopped(token: _Token, room: int) -> Iterator[_Token]:
    """A word longer than a line, such as a sentence of a script without spaces, in pieces that fit."""
    if len(token.text) <= room:
        yield token
        return
    length_ms, size = token.end_ms - token.start_ms, len(token.text)
    for start in range(0, size, room):
        end = min(start + room, size)
        yield _Token(token.text[start:end], token.start_ms + length_ms * start // size, token.start_ms + length_ms * end // size)
