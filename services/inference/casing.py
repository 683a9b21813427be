"""A written form for engines that give lower case without punctuation.

Only what needs no guess: a capital where a stretch of speech begins, `I`, and a full stop where it ends. Names stay
small and questions end in full stops. A sentence ends at a change of speaker or a pause over 0.8 s, where segments do.
"""

from collections.abc import Sequence
from dataclasses import replace

from services.inference.transcript import Segment, Word


def write_out(segments: Sequence[Segment]) -> list[Segment]:
    """The same segments, words and times with capitals and full stops."""
    return [_write_out(segment) for segment in segments]


def _write_out(segment: Segment) -> Segment:
    words = [_with_pronoun(word) for word in segment.words]
    if not words:
        return segment
    words[0] = replace(words[0], text=words[0].text[:1].upper() + words[0].text[1:])
    words[-1] = replace(words[-1], text=words[-1].text + ".")
    return replace(segment, words=tuple(words), text=" ".join(word.text for word in words))


def _with_pronoun(word: Word) -> Word:
    """`i`, `i'm`, `i'll` and their like with a capital."""
    if word.text == "i" or word.text.startswith("i'"):
        return replace(word, text="I" + word.text[1:])
    return word
