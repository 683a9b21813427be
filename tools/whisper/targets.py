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
OPENING, CLOSING = "¿", ",.?"
LEAST_GUIDE_SECONDS = 0.1  # the timing filters over 0.14 s, and would lose what is shorter than half of it
PAUSE_SECONDS = 0.5

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
    following = [*(one.start for one in sentences[1:]), sentences[-1].end + PAUSE_SECONDS]
    for one, pause_end in zip(sentences, following, strict=True):
        parts = _spoken(coder, one, pause_end)
        if timestamps:
            parts = [_stamp(coder, one.start, offset), *parts, _stamp(coder, one.end, offset)]
        guides.extend(_guides(parts, len(start) + len(body) - 1))
        body.extend(token for ids, _, _ in parts for token in ids)
    guides.extend(_guides([([coder.end], sentences[-1].end, following[-1])], len(start) + len(body) - 1))
    whole = [*start, *body, coder.end]
    return Target(whole[:-1], _asked(coder, whole), guides)


Part = tuple[list[int], float, float]


def _stamp(coder: Coder, seconds: float, offset: float) -> Part:
    return [coder.timestamp(seconds + offset)], seconds, seconds


def _spoken(coder: Coder, sentence: Sentence, pause_end: float) -> list[Part]:
    ends = [*(word.start for word in sentence.words[1:]), pause_end]
    return [part for word, end in zip(sentence.words, ends, strict=True) for part in _parts(coder, word, end)]


def _parts(coder: Coder, word: Span, next_start: float) -> list[Part]:
    """Tokens and their time: a word is spoken in its own, the marks around it in the pauses before and after."""
    opening = word.text[: len(word.text) - len(word.text.lstrip(OPENING))]
    closing = word.text[len(word.text.rstrip(CLOSING)) :]
    letters = word.text[len(opening) : len(word.text) - len(closing)]
    times = ((opening, word.start, word.start), (letters, word.start, word.end), (closing, word.end, next_start))
    space = " "
    parts: list[Part] = []
    for text, first, last in times:
        if text:
            parts.append((coder.encode(space + text), first, last))
            space = ""
    return parts


def _guides(parts: Iterable[Part], row: int) -> Iterable[Guide]:
    """Every part's time shared evenly among its tokens, none of which gets less than the least."""
    for ids, start, end in parts:
        step = (end - start) / len(ids)
        for place in range(len(ids)):
            missing = max(0.0, LEAST_GUIDE_SECONDS - step) / 2
            first, last = start + step * place - missing, start + step * (place + 1) + missing
            yield Guide(row, max(0.0, first) * TARGETS_PER_SECOND, last * TARGETS_PER_SECOND)
            row += 1


def _asked(coder: Coder, whole: list[int]) -> list[int]:
    """Labels one step ahead; nothing is asked before the start of the transcript."""
    begin = whole.index(coder.named("startoftranscript"))
    return [IGNORED] * begin + whole[begin + 1 :]


def no_speech(coder: Coder, start: list[int], *, timestamps: bool) -> Target:
    """The target of a window without speech: said at once, and again as an empty transcript for whom does not listen."""
    begin = start.index(coder.named("startoftranscript"))
    rest = len(start) - begin - 2
    empty = [coder.timestamp(0), coder.end] if timestamps else [coder.end]
    labels = [IGNORED] * begin + [coder.named("nospeech")] + [IGNORED] * rest + empty
    return Target([*start, *empty[:-1]], labels, [])
