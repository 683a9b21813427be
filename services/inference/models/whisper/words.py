"""Tokens to words, with times."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.inference.models.whisper.vocabulary import Vocabulary
from services.inference.transcript import Word

WITHOUT_SPACES = frozenset({"ja", "lo", "my", "th", "yue", "zh"})
OPENING = "\"'“¡¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"
SENTENCE_ENDS = (".", "。", "!", "！", "?", "？")
BROKEN = "\ufffd"
LONGEST_WORD_MS = 2_000
LONG_MEDIAN_MS = 700


@dataclass(frozen=True, slots=True)
class SpokenToken:
    """A token of text with its probability and its stretch of the window."""

    token: int
    start_ms: int
    end_ms: int
    probability: float


def build_words(vocabulary: Vocabulary, tokens: Sequence[SpokenToken], language: str | None) -> tuple[Word, ...]:
    """Words as they are written, punctuation with the word that it belongs to; a word is never longer than 2 s."""
    pieces = list(_whole_characters(vocabulary, tokens))
    if language not in WITHOUT_SPACES:
        pieces = list(_joined(pieces))
    words = _with_punctuation(pieces)
    return tuple(_bounded([replace(word, text=word.text.strip()) for word in words if word.text.strip()]))


def _whole_characters(vocabulary: Vocabulary, tokens: Sequence[SpokenToken]) -> Iterator[Word]:
    """A character may take several tokens. Source: `split_tokens_on_unicode` of openai/whisper."""
    whole = vocabulary.decode([token.token for token in tokens])
    held: list[SpokenToken] = []
    seen = 0
    for token in tokens:
        held.append(token)
        text = vocabulary.decode([part.token for part in held])
        # Half a character decodes to U+FFFD, and so does what was never one: that is in the whole text too.
        if BROKEN not in text or whole[seen + text.index(BROKEN) :].startswith(BROKEN):
            yield _word(text.replace(BROKEN, ""), held)
            held = []
            seen += len(text)
    if held:
        yield _word(vocabulary.decode([part.token for part in held]).replace(BROKEN, ""), held)


def _word(text: str, tokens: Sequence[SpokenToken]) -> Word:
    return Word(text, tokens[0].start_ms, tokens[-1].end_ms, statistics.fmean(token.probability for token in tokens))


def _joined(pieces: Sequence[Word]) -> Iterator[Word]:
    """A space or a mark begins a word."""
    held: list[Word] = []
    for piece in pieces:
        if held and (piece.text.startswith(" ") or piece.text.strip() in CLOSING + OPENING):
            yield _union(held)
            held = []
        held.append(piece)
    if held:
        yield _union(held)


def _union(pieces: Sequence[Word]) -> Word:
    probability = statistics.fmean(piece.probability or 0.0 for piece in pieces)
    return Word("".join(piece.text for piece in pieces), pieces[0].start_ms, pieces[-1].end_ms, probability)


def _with_punctuation(words: Sequence[Word]) -> list[Word]:
    """Marks join their word and leave its times and probability alone."""
    found: list[Word] = []
    opening = ""
    for word in words:
        mark = word.text.strip()
        if found and not opening and mark and mark in CLOSING and not word.text.startswith(" "):
            found[-1] = replace(found[-1], text=found[-1].text + mark)
        elif mark and mark in OPENING and word.text.startswith(" "):
            opening += word.text
        else:
            found.append(replace(word, text=opening + word.text.lstrip() if opening else word.text))
            opening = ""
    return found


def _bounded(words: Sequence[Word]) -> Iterator[Word]:
    """Shorten words that swallowed a pause: it lies after the end of a sentence or before its start."""
    lengths = [word.end_ms - word.start_ms for word in words if word.end_ms > word.start_ms]
    usual_ms = min(LONG_MEDIAN_MS, statistics.median(lengths)) if lengths else LONG_MEDIAN_MS
    before = ""
    for word in words:
        starts_sentence = not before or before.endswith(SENTENCE_ENDS)
        before = word.text
        ends_sentence = word.text.endswith(SENTENCE_ENDS)
        longest_ms = int(2 * usual_ms) if starts_sentence or ends_sentence else LONGEST_WORD_MS
        if word.end_ms - word.start_ms <= longest_ms:
            yield word
        elif starts_sentence and not ends_sentence:
            yield replace(word, start_ms=word.end_ms - longest_ms)
        else:
            yield replace(word, end_ms=word.start_ms + longest_ms)
