"""What else a model must get right: who speaks nothing, which language it is, how a name is to be spelt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.inference.models.whisper.prompts import Task
from services.inference.pcm import FULL_SCALE, SAMPLE_RATE_HZ, Pcm
from tools.whisper.corpus import Corpus, Entry
from tools.whisper.grammar import LANGUAGES
from tools.whisper.lexicon import HOMOPHONES
from tools.whisper.listening import Listener
from tools.whisper.scenes import scenes
from tools.whisper.utterance import Waveform

SEED = 5
NO_SPEECH_LIMIT = 0.6
LENGTHS_SECONDS = (3, 10, 30)


@dataclass(frozen=True)
class Probe:
    """Shares of windows judged right. speech, silence: by a no-speech probability of 0.6; spelling: of names that a prompt respells.

    quiet: windows without speech in which no word is heard.
    """

    languages: float
    speech: float
    silence: float
    quiet: float
    spelling: float


def probe(listener: Listener, corpus: Corpus, limit: int) -> Probe:
    """Every check on one split."""
    spoken = [(entry.language, scene.samples) for entry in _first(corpus, limit) for scene in scenes(corpus, [entry], seconds=0.0)]
    heard = [result.window for result in listener.transcribe([samples for _, samples in spoken], Task(None))]
    silent = [result.window for result in listener.transcribe(speechless(limit), Task("en"))]
    return Probe(
        _share([window.language == language for (language, _), window in zip(spoken, heard, strict=True)]),
        _share([_no_speech(window.no_speech_probability) < NO_SPEECH_LIMIT for window in heard]),
        _share([_no_speech(window.no_speech_probability) > NO_SPEECH_LIMIT for window in silent]),
        _share([not window.words for window in silent]),
        _share([_obeyed(listener, corpus, entry, name) for entry, name in _named(corpus)[:limit]]),
    )


def _share(right: Sequence[bool]) -> float:
    return round(float(np.mean(right or [False])), 4)


def _no_speech(probability: float | None) -> float:
    return probability or 0.0


def _first(corpus: Corpus, limit: int) -> list[Entry]:
    return [entry for language in LANGUAGES for entry in [one for one in corpus.entries if one.language == language][:limit]]


def speechless(count: int) -> list[Pcm]:
    """Windows of digital silence, hiss, hum, clicks and chords, in turn."""
    chance = np.random.default_rng(SEED)
    makers = (_silence, _hiss, _hum, _clicks, _chords)
    waves = [makers[place % len(makers)](chance, LENGTHS_SECONDS[place % 3] * SAMPLE_RATE_HZ) for place in range(count)]
    return [(np.clip(wave, -1, 1) * (FULL_SCALE - 1)).astype(np.int16) for wave in waves]


def _silence(_: np.random.Generator, samples: int) -> Waveform:
    return np.zeros(samples, np.float32)


def _hiss(chance: np.random.Generator, samples: int) -> Waveform:
    hiss: Waveform = chance.standard_normal(samples, np.float32) * np.float32(10 ** chance.uniform(-4, -1))
    return hiss


def _hum(chance: np.random.Generator, samples: int) -> Waveform:
    return sum((_tone(chance.uniform(50, 1_000), samples) for _ in range(3)), np.zeros(samples, np.float32))


def _clicks(chance: np.random.Generator, samples: int) -> Waveform:
    wave = np.zeros(samples, np.float32)
    wave[chance.integers(0, samples, 40)] = 0.5
    return wave


def _chords(chance: np.random.Generator, samples: int) -> Waveform:
    """Three notes with overtones, changed twice a second and fading, as a piano plays them."""
    length = SAMPLE_RATE_HZ // 2
    fading = np.exp(-np.arange(length) / (0.2 * SAMPLE_RATE_HZ)).astype(np.float32)
    parts = [_chord(chance, length) * fading for _ in range(-(-samples // length))]
    return np.concatenate(parts)[:samples]


def _chord(chance: np.random.Generator, samples: int) -> Waveform:
    chord = np.zeros(samples, np.float32)
    for note in 220.0 * 2 ** (chance.choice(24, 3, replace=False) / 12):
        for overtone in (1, 2, 3):
            chord += _tone(note * overtone, samples) / np.float32(overtone)
    return chord


def _tone(hz: float, samples: int) -> Waveform:
    tone: Waveform = (0.1 * np.sin(2 * np.pi * hz * np.arange(samples) / SAMPLE_RATE_HZ)).astype(np.float32)
    return tone


def _named(corpus: Corpus) -> list[tuple[Entry, str]]:
    texts = [(entry, {word.text.strip(",.?") for word in entry.words}) for entry in corpus.entries if entry.language == "en"]
    return [(entry, name) for entry, words in texts for name in HOMOPHONES if name in words]


def _obeyed(listener: Listener, corpus: Corpus, entry: Entry, name: str) -> bool:
    """Whether the name is written as the hotword has it."""
    asked_for = HOMOPHONES[name]
    (scene,) = scenes(corpus, [entry], seconds=0.0)
    (result,) = listener.transcribe([scene.samples], Task("en", hotwords=asked_for))
    return asked_for in result.window.text
