"""How much of what was said was heard, and how near in time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from services.inference.transcript import Word
from tools.whisper.grammar import bare
from tools.whisper.utterance import Span

CLOSE_SECONDS = 0.1


@dataclass(frozen=True)
class Score:
    """word_error_rate: of all words. starts_close, ends_close: share of the words heard right that start or end within 100 ms.

    start_offset: median of the heard starts less the spoken ones, in seconds.
    """

    words: int
    word_error_rate: float
    starts_close: float
    ends_close: float
    start_offset: float


def score(spoken: Sequence[Sequence[Span]], heard: Sequence[Sequence[Word]]) -> Score:
    """Recordings of at least one word each, and what was heard in them."""
    references = [_plain(word.text for word in words) for words in spoken]
    error = jiwer.wer(references, [_plain(word.text for word in words) or "-" for words in heard])
    pairs = [pair for both in zip(spoken, heard, strict=True) for pair in _pairs(*both)]
    starts = np.array([word.start_ms / 1000 - span.start for span, word in pairs] or [np.inf])
    ends = np.array([word.end_ms / 1000 - span.end for span, word in pairs] or [np.inf])
    return Score(sum(map(len, spoken)), round(error, 4), _close(starts), _close(ends), round(float(np.median(starts)), 3))


def _close(offsets: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    return round(float(np.mean(np.abs(offsets) <= CLOSE_SECONDS)), 4)


def _plain(words: Iterable[str]) -> str:
    return " ".join(bare(word) for word in words if bare(word))


def _pairs(spoken: Sequence[Span], heard: Sequence[Word]) -> Iterator[tuple[Span, Word]]:
    """Words that were heard right, with their own."""
    if not heard:
        return
    said, written = (" ".join(bare(word.text) or "-" for word in words) for words in (spoken, heard))
    for one in jiwer.process_words(said, written).alignments[0]:
        if one.type == "equal":
            places = zip(range(one.ref_start_idx, one.ref_end_idx), range(one.hyp_start_idx, one.hyp_end_idx), strict=True)
            yield from ((spoken[left], heard[right]) for left, right in places)
