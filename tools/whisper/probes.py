"""What else a model must get right: who speaks nothing, which language it is, how a name is to be spelt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tools.whisper.corpus import Corpus, Entry
from tools.whisper.grammar import LANGUAGES, Language
from tools.whisper.lexicon import HOMOPHONES
from tools.whisper.recognizer import Recognizer
from tools.whisper.scenes import scenes
from tools.whisper.utterance import SAMPLE_RATE_HZ, Waveform

SEED = 5
BATCH = 8
NO_SPEECH_LIMIT = 0.6
WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Probe:
    """Shares of windows judged right. speech, silence: by a no-speech probability of 0.6; spelling: of names that a prompt respells."""

    languages: float
    speech: float
    silence: float
    spelling: float


def probe(recognizer: Recognizer, corpus: Corpus, limit: int) -> Probe:
    """Every check on one split."""
    judged = [(language, *heard) for language in LANGUAGES for heard in _heard(recognizer, _spoken(corpus, language, limit))]
    silent = [share for _, share in _heard(recognizer, speechless(limit))]
    return Probe(
        _share([language == heard for language, heard, _ in judged]),
        _share([share < NO_SPEECH_LIMIT for _, _, share in judged]),
        _share([share > NO_SPEECH_LIMIT for share in silent]),
        _share(_spelt(recognizer, corpus, limit)),
    )


def _share(right: Sequence[bool]) -> float:
    return round(float(np.mean(right or [False])), 4)


def _spoken(corpus: Corpus, language: Language, limit: int) -> list[Waveform]:
    entries = [entry for entry in corpus.entries if entry.language == language][:limit]
    return [scene.samples for scene in scenes(corpus, entries, filled=False)]


def _heard(recognizer: Recognizer, waves: Sequence[Waveform]) -> list[tuple[str, float]]:
    parts = (waves[start : start + BATCH] for start in range(0, len(waves), BATCH))
    return [heard for part in parts for heard in recognizer.heard(recognizer.encode(part))]


def speechless(count: int) -> list[Waveform]:
    """Windows of digital silence, hiss, hum and clicks, in turn."""
    chance = np.random.default_rng(SEED)
    makers = (_silence, _hiss, _hum, _clicks)
    return [makers[place % len(makers)](chance).astype(np.float32) for place in range(count)]


def _silence(_: np.random.Generator) -> Waveform:
    return np.zeros(WINDOW_SAMPLES, np.float32)


def _hiss(chance: np.random.Generator) -> Waveform:
    hiss: Waveform = chance.standard_normal(WINDOW_SAMPLES, np.float32) * np.float32(10 ** chance.uniform(-4, -1))
    return hiss


def _hum(chance: np.random.Generator) -> Waveform:
    times = np.arange(WINDOW_SAMPLES) / SAMPLE_RATE_HZ
    tones = [np.sin(2 * np.pi * chance.uniform(50, 1_000) * times) for _ in range(3)]
    hum: Waveform = (np.sum(tones, axis=0) * 0.1).astype(np.float32)
    return hum


def _clicks(chance: np.random.Generator) -> Waveform:
    wave = np.zeros(WINDOW_SAMPLES, np.float32)
    wave[chance.integers(0, WINDOW_SAMPLES, 40)] = 0.5
    return wave


def _spelt(recognizer: Recognizer, corpus: Corpus, limit: int) -> list[bool]:
    """Whether a name is written as the hotword in the prompt has it, for the sentences that hold one."""
    return [_obeyed(recognizer, corpus, entry, name) for entry, name in _named(corpus)[:limit]]


def _named(corpus: Corpus) -> list[tuple[Entry, str]]:
    texts = [(entry, {word.text.strip(",.?") for word in entry.words}) for entry in corpus.entries if entry.language == "en"]
    return [(entry, name) for entry, words in texts for name in HOMOPHONES if name in words]


def _obeyed(recognizer: Recognizer, corpus: Corpus, entry: Entry, name: str) -> bool:
    coder, asked_for = recognizer.coder, HOMOPHONES[name]
    prompt = [coder.named("startofprev"), *coder.encode(f" {asked_for}"), *coder.start("en", timestamps=False)]
    states: torch.Tensor = recognizer.encode([scene.samples for scene in scenes(corpus, [entry], filled=False)])
    return asked_for in coder.decode(recognizer.greedy(states, prompt)[0])
