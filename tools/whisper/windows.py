"""Training windows: sentences of the corpus laid into silence, disturbed, with their targets."""

import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tools.whisper import augment
from tools.whisper.corpus import Corpus, Entry
from tools.whisper.grammar import Language, fresh_sentence
from tools.whisper.lexicon import HOMOPHONES
from tools.whisper.mel import FRAMES_PER_SECOND, MEL_BINS, Frames, log_mel
from tools.whisper.targets import TARGETS_PER_SECOND, Alphabet, Classes, Sentence, Target, no_speech, transcript
from tools.whisper.tokens import TIMESTAMP_SECONDS, Coder
from tools.whisper.utterance import Span

ENGLISH_SHARE = 0.66
SPEECHLESS_SHARE = 0.06
PROMPT_TOKENS = 223


class Shape(NamedTuple):
    """seconds of a window; whether it holds many sentences; its first encoder position (20 ms each)."""

    seconds: float
    many: bool
    first_position: int


@dataclass(frozen=True)
class Window:
    """features: (80, frames) float32; word and phone classes: (frames / 2,)."""

    features: Frames
    target: Target
    words: Classes
    phones: Classes


class Composer:
    """Makes windows of a corpus; the seed fixes all of them."""

    def __init__(self, corpus: Corpus, coder: Coder, alphabet: Alphabet, seed: int) -> None:
        self._corpus, self._coder, self._alphabet = corpus, coder, alphabet
        self.end = coder.end
        self._chance = random.Random(seed)
        self._noise = np.random.default_rng(seed)
        self._entries: dict[Language, list[Entry]] = {"en": [], "es": []}
        for entry in corpus.entries:
            self._entries[entry.language].append(entry)

    def window(self, shape: Shape) -> Window:
        """A window of a shape."""
        frames = round(shape.seconds * FRAMES_PER_SECOND)
        if self._chance.random() < SPEECHLESS_SHARE:
            return self._finished(augment.speechless(self._noise, frames), [], self._no_speech())
        language: Language = "en" if self._chance.random() < ENGLISH_SHARE else "es"
        power, sentences = self._placed(shape, language, frames)
        spoken = round(sentences[-1].end * FRAMES_PER_SECOND)
        return self._finished(augment.disturbed(self._noise, power, spoken), sentences, self._transcript(shape, language, sentences))

    def _finished(self, power: Frames, sentences: list[Sentence], target: Target) -> Window:
        features = log_mel(power)
        if self._chance.random() < 0.25:
            features = augment.masked(self._noise, features)
        steps = len(power) * TARGETS_PER_SECOND // FRAMES_PER_SECOND
        words, phones = self._alphabet.word_classes(sentences, steps), self._alphabet.phone_classes(sentences, steps)
        return Window(features, target, words, phones)

    def _no_speech(self) -> Target:
        language: Language = self._chance.choice(("en", "es"))
        timestamps = self._chance.random() < 0.5
        return no_speech(self._coder, self._coder.start(language, timestamps=timestamps), timestamps=timestamps)

    def _transcript(self, shape: Shape, language: Language, sentences: list[Sentence]) -> Target:
        timestamps = self._chance.random() < 0.5
        prompt, written = self._prompted(language, sentences) if shape.many else ([], sentences)
        start = [*prompt, *self._coder.start(language, timestamps=timestamps)]
        return transcript(self._coder, start, written, timestamps=timestamps, offset=shape.first_position * TIMESTAMP_SECONDS)

    def _placed(self, shape: Shape, language: Language, frames: int) -> tuple[Frames, list[Sentence]]:
        """Sentences laid one after another, each in a voice of its own."""
        power, sentences = np.zeros((frames, MEL_BINS), np.float32), list[Sentence]()
        place = int(self._chance.uniform(0, 0.8 if shape.many else 0.5) * FRAMES_PER_SECOND)
        full = frames * self._chance.uniform(0.2, 1.0) if shape.many else 0
        while not sentences or place < full:
            sound, sentence = self._spoken(language, frames if not sentences else frames - place)
            if sound is None or sentence is None:
                break
            place = min(place, frames - len(sound))
            power[place : place + len(sound)] += sound
            sentences.append(_moved(sentence, place / FRAMES_PER_SECOND))
            place += len(sound) + self._pause()
        return power, sentences

    def _pause(self) -> int:
        longest = 1.2 if self._chance.random() < 0.85 else 4
        return int(self._chance.uniform(0.1, longest) * FRAMES_PER_SECOND)

    def _spoken(self, language: Language, longest: int) -> tuple[Frames | None, Sentence | None]:
        """A sentence of at most so many frames in a changed voice; nothing when all that were tried are longer."""
        stretch, warp = self._chance.uniform(0.87, 1.15), self._chance.uniform(0.88, 1.13)
        for _ in range(20):
            entry = self._chance.choice(self._entries[language])
            if round(entry.frames * stretch) < longest:
                break
        else:
            return self._shortest(language, longest)
        gain = np.float32(10 ** self._chance.uniform(-1, 0))
        sound = augment.warped(augment.stretched(self._corpus.power(entry), stretch), warp) * gain
        return sound, _timed(entry, stretch)

    def _shortest(self, language: Language, longest: int) -> tuple[Frames | None, Sentence | None]:
        entry = min(self._chance.sample(self._entries[language], 100), key=lambda entry: entry.frames)
        return (self._corpus.power(entry), _timed(entry, 1.0)) if entry.frames < longest else (None, None)

    def _prompted(self, language: Language, sentences: list[Sentence]) -> tuple[list[int], list[Sentence]]:
        """A prompt, often none, and the sentences spelt as it asks for."""
        spelling = self._spelling(language, sentences)
        if not spelling and self._chance.random() < 0.93:
            return [], sentences
        ids = self._coder.encode(f" {self._prompt(language, spelling)}")[-PROMPT_TOKENS:]
        return [self._coder.named("startofprev"), *ids], [_spelt(sentence, spelling) for sentence in sentences]

    def _spelling(self, language: Language, sentences: list[Sentence]) -> dict[str, str]:
        if language != "en" or self._chance.random() < 0.85:
            return {}
        heard = {word.text.strip(",.?") for sentence in sentences for word in sentence.words}
        return {name: other for name, other in HOMOPHONES.items() if self._chance.random() < (0.7 if name in heard else 0.1)}

    def _prompt(self, language: Language, spelling: dict[str, str]) -> str:
        """Hotwords, or earlier sentences that hold them."""
        names = list(spelling.values())
        if names and self._chance.random() < 0.5:
            self._chance.shuffle(names)
            return ", ".join(names)
        said = [_respelt(fresh_sentence(self._chance, language, held_out=False), spelling) for _ in range(self._chance.randint(1, 5))]
        return " ".join([*said, *(f"Good morning, {name}." for name in names)])


def _timed(entry: Entry, stretch: float) -> Sentence:
    words, phones = _scaled(entry.words, stretch), _scaled(entry.phones, stretch)
    return Sentence(words[0].start, words[-1].end, words, phones)


def _scaled(spans: tuple[Span, ...], factor: float) -> tuple[Span, ...]:
    return tuple(Span(span.text, span.start * factor, span.end * factor) for span in spans)


def _moved(sentence: Sentence, seconds: float) -> Sentence:
    words, phones = (
        tuple(Span(text, start + seconds, end + seconds) for text, start, end in spans) for spans in (sentence.words, sentence.phones)
    )
    return Sentence(sentence.start + seconds, sentence.end + seconds, words, phones)


def _spelt(sentence: Sentence, spelling: dict[str, str]) -> Sentence:
    words = tuple(word._replace(text=_respelt(word.text, spelling)) for word in sentence.words)
    return Sentence(sentence.start, sentence.end, words, sentence.phones)


def _respelt(text: str, spelling: dict[str, str]) -> str:
    return " ".join(spelling.get(word.rstrip(",.?"), word.rstrip(",.?")) + word[len(word.rstrip(",.?")) :] for word in text.split())
