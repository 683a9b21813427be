"""What the model is to say about a window, and what each 20 ms of it holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.whisper.corpus import Corpus
from tools.whisper.grammar import LANGUAGES, bare, vocabulary
from tools.whisper.tokens import Coder
from tools.whisper.utterance import Span

IGNORED = -100
TARGETS_PER_SECOND = 50
GUIDE_MARGIN = 2

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Sentence:
    """A sentence placed in a window, its words spelt as they are to be written; seconds from the window's start."""

    start: float
    end: float
    words: tuple[Span, ...]
    phones: tuple[Span, ...]


@dataclass(frozen=True)
class Guide:
    """Which frames (20 ms) an alignment head should look at where row `row` of the decoder predicts a word."""

    row: int
    first_frame: float
    last_frame: float


@dataclass(frozen=True)
class Target:
    """Decoder input, its labels one step ahead (`IGNORED` where nothing is asked), and guides for the alignment heads."""

    inputs: list[int]
    labels: list[int]
    guides: list[Guide]


@dataclass(frozen=True)
class Alphabet:
    """Class numbers of words and phones for the frame classifiers; 0 is silence."""

    words: dict[str, int]
    phones: dict[str, int]

    def word_classes(self, sentences: Iterable[Sentence], frames: int) -> Classes:
        """The word spoken in each frame, (frames,)."""
        return _painted([(bare(word.text), word) for one in sentences for word in one.words], self.words, frames)

    def phone_classes(self, sentences: Iterable[Sentence], frames: int) -> Classes:
        """The phone spoken in each frame, (frames,)."""
        return _painted([(phone.text, phone) for one in sentences for phone in one.phones], self.phones, frames)


def _painted(named: Iterable[tuple[str, Span]], numbers: dict[str, int], frames: int) -> Classes:
    classes = np.zeros(frames, np.int64)
    for name, span in named:
        start, end = round(span.start * TARGETS_PER_SECOND), round(span.end * TARGETS_PER_SECOND)
        classes[start:end] = numbers.get(name, IGNORED)
    return classes


def alphabet_of(corpus: Corpus) -> Alphabet:
    """Every word of the grammar and every phone of a corpus."""
    words = sorted({word for language in LANGUAGES for word in vocabulary(language)})
    phones = sorted({phone.text for entry in corpus.entries for phone in entry.phones})
    return Alphabet({word: number for number, word in enumerate(words, 1)}, {phone: number for number, phone in enumerate(phones, 1)})


def transcript(coder: Coder, start: list[int], sentences: Sequence[Sentence], *, timestamps: bool, offset: float) -> Target:
    """The target of a window; `start` is what steers the decoder, and `offset` seconds are added to every timestamp."""
    body: list[int] = []
    guides: list[Guide] = []
    for one in sentences:
        if timestamps:
            body.append(coder.timestamp(one.start + offset))
        for word in one.words:
            ids = coder.encode(f" {word.text}")
            guides.extend(_guides(word, len(start) + len(body) - 1, len(ids)))
            body.extend(ids)
        if timestamps:
            body.append(coder.timestamp(one.end + offset))
    whole = [*start, *body, coder.end]
    return Target(whole[:-1], _asked(coder, whole), guides)


def _guides(word: Span, row: int, tokens: int) -> Iterable[Guide]:
    """A word's time shared evenly among its tokens."""
    step = (word.end - word.start) / tokens
    for place in range(tokens):
        first, last = word.start + step * place, word.start + step * (place + 1)
        yield Guide(row + place, first * TARGETS_PER_SECOND - GUIDE_MARGIN, last * TARGETS_PER_SECOND + GUIDE_MARGIN)


def _asked(coder: Coder, whole: list[int]) -> list[int]:
    """Labels one step ahead; nothing is asked before the start of the transcript."""
    begin = whole.index(coder.named("startoftranscript"))
    return [IGNORED] * begin + whole[begin + 1 :]


def no_speech(coder: Coder, start: list[int]) -> Target:
    """The target of a window without speech: said at once, and again as an empty transcript for whom does not listen."""
    begin = start.index(coder.named("startoftranscript"))
    rest = len(start) - begin - 2
    return Target(start, [IGNORED] * begin + [coder.named("nospeech")] + [IGNORED] * rest + [coder.end], [])
