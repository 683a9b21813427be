"""What of a model's words is not to be believed, and what a reader should know of the rest."""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from services.inference.transcript import Segment, Verdict, Word
from steno.inference.v1.window_transcript_pb2 import WindowTranscript

OVERLAP = "overlap"
LOW_CONFIDENCE = "low_confidence"
HIGH_NO_SPEECH = "high_no_speech"
REPETITION = "repetition"

LONGEST_DOUBTFUL_MS = 2_000
IMPLAUSIBLE_PROBABILITY = 0.15
_LOW_PROBABILITY = 0.3
_HIGH_NO_SPEECH_PROBABILITY = 0.6
# Who stammers or insists says a word three times, rarely four; nobody says a phrase of six words so often.
_LONGEST_PHRASE = 6
_REPETITIONS = 4
_BORDER_WORDS = 3
_LOOP_SHARE = 0.8
_NO_LETTERS = re.compile(r"[^\w]+")


def plausible(words: Sequence[Word]) -> list[Word]:
    """The words without those that last over two seconds and were guessed: nobody spoke them."""
    return [
        word
        for word in words
        if word.probability is None or word.probability >= IMPLAUSIBLE_PROBABILITY or word.end_ms - word.start_ms <= LONGEST_DOUBTFUL_MS
    ]


def is_guessed_loop(words: Sequence[Word]) -> bool:
    """Whether nearly all is one phrase over and over that the model was not sure of: what it makes of sounds that are no words."""
    texts = [_bare(word.text) for word in words]
    looped = max((size + _longest_run(texts, size) for size in range(1, _LONGEST_PHRASE + 1)), default=0)
    return _repeats(texts) and looped >= _LOOP_SHARE * len(texts) and _is_guessed(words)


def flags(segment: Segment, window: WindowTranscript, said_twice: Collection[int]) -> Iterator[str]:
    """What to tell of a segment. window: the one that it begins in. said_twice: as `said_twice` finds them."""
    if segment.overlap:
        yield OVERLAP
    if window.verdict == Verdict.DOUBTFUL or _is_guessed(segment.words):
        yield LOW_CONFIDENCE
    if window.no_speech_prob > _HIGH_NO_SPEECH_PROBABILITY:
        yield HIGH_NO_SPEECH
    if any(word.start_ms in said_twice for word in segment.words) or _repeats([_bare(word.text) for word in segment.words]):
        yield REPETITION


def said_twice(windows: Sequence[WindowTranscript]) -> set[int]:
    """File times at which windows begin with the last three words or more of the window before."""
    heard = [(window, [_bare(word.text) for word in window.words]) for window in windows if window.words]
    return {
        later.words[0].start_offset_ms
        for (_, ending), (later, beginning) in pairwise(heard)
        if any(ending[-size:] == beginning[:size] for size in range(_BORDER_WORDS, min(len(ending), len(beginning)) + 1))
    }


def _is_guessed(words: Sequence[Word]) -> bool:
    known = [word.probability for word in words if word.probability is not None]
    return bool(known) and sum(known) / len(known) < _LOW_PROBABILITY


def _repeats(texts: Sequence[str]) -> bool:
    """Whether a phrase of up to six words comes four times in a row."""
    return any(_longest_run(texts, size) >= size * (_REPETITIONS - 1) for size in range(1, _LONGEST_PHRASE + 1))


def _longest_run(texts: Sequence[str], size: int) -> int:
    """The most words in a row that each are the same as the one `size` words before."""
    longest = run = 0
    for earlier, later in zip(texts, texts[size:], strict=False):
        run = run + 1 if earlier == later else 0
        longest = max(longest, run)
    return longest


def _bare(text: str) -> str:
    return _NO_LETTERS.sub("", text).casefold()
