"""Make samples/whisper-meeting.*, a meeting in words of the test Whisper: `python -m tools.whisper.meeting [FOLDER]`.

Held-out sentences by three of flite's voices in turn; the model has heard two of them in training, and `rms` never.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tools.speech.audio import SAMPLE_RATE_HZ, Samples, joined, silence, write_audio
from tools.speech.meeting import with_room_tone
from tools.speech.voices import levelled
from tools.whisper.flite import Flite
from tools.whisper.grammar import fresh_sentence
from tools.whisper.utterance import Speech, trimmed

NAME = "whisper-meeting"
TITLE = "Planning the office week"
SEED = 12
VOICES = ("slt", "rms", "awb")
TURNS = 12
SENTENCES = (1, 1, 2)
PAUSES_SECONDS = {"turn": (0.5, 1.0), "sentence": (0.25, 0.45)}
TAIL_SECONDS = 0.6
BIT_RATE = 48_000
CODEC_RATE_HZ = 48_000


@dataclass(frozen=True)
class Word:
    """A word as it is written; seconds of the file."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Turn:
    """One voice speaking one sentence or more; seconds of the file."""

    speaker: str
    start: float
    end: float
    text: str
    words: tuple[Word, ...]


def make_meeting(folder: Path) -> None:
    """Write the sound, its turns and words, and its text."""
    samples, turns = assembled(random.Random(SEED), Flite())
    write_audio(folder / f"{NAME}.ogg", with_room_tone(samples), "libopus", bit_rate=BIT_RATE, rate_hz=CODEC_RATE_HZ)
    described = {
        "title": TITLE,
        "file": f"{NAME}.ogg",
        "language": "en",
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "duration": _seconds(len(samples)),
        "voices": sorted(VOICES),
        "turns": [asdict(turn) for turn in turns],
    }
    (folder / f"{NAME}.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (folder / f"{NAME}.txt").write_text("".join(f"{turn.text}\n" for turn in turns), encoding="utf-8")


def assembled(chance: random.Random, flite: Flite) -> tuple[Samples, list[Turn]]:
    """The turns one after another, and silence between them."""
    parts: list[Samples] = []
    turns: list[Turn] = []
    position = 0
    texts = _sentences(chance)
    for speaker, count in _script(chance):
        words: list[Word] = []
        for place in range(count):
            pause = silence(chance.uniform(*PAUSES_SECONDS["sentence" if place else "turn"]))
            speech = trimmed(flite.speak(next(texts), speaker, stretch=1.0))
            words += _timed(speech, position + len(pause))
            parts += [pause, levelled(_whole_numbers(speech))]
            position += len(pause) + len(speech.samples)
        turns.append(Turn(speaker, words[0].start, words[-1].end, " ".join(word.text for word in words), tuple(words)))
    return joined([*parts, silence(TAIL_SECONDS)]), turns


def _sentences(chance: random.Random) -> Iterator[str]:
    """Held-out ones without end, none of them twice."""
    said: set[str] = set()
    while True:
        text = fresh_sentence(chance, "en", held_out=True)
        if text not in said:
            said.add(text)
            yield text


def _script(chance: random.Random) -> Iterator[tuple[str, int]]:
    """Who speaks how many sentences; nobody has two turns in a row."""
    last = ""
    for _ in range(TURNS):
        last = chance.choice([voice for voice in VOICES if voice != last])
        yield last, chance.choice(SENTENCES)


def _whole_numbers(speech: Speech) -> Samples:
    return np.asarray(np.round(speech.samples * 32_767), np.int16)


def _timed(speech: Speech, position: int) -> Sequence[Word]:
    offset = position / SAMPLE_RATE_HZ
    return [Word(word.text, round(word.start + offset, 4), round(word.end + offset, 4)) for word in speech.words]


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE_HZ, 4)


if __name__ == "__main__":
    make_meeting(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("samples"))
