"""No word is spoken in silence, wherever its attention is."""

from pathlib import Path

import numpy as np
import pytest

from services.inference.models.whisper.model import WhisperRequest, load_whisper
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import Pcm, cut, sound_bounds_ms
from tests.inference.conftest import decode
from tests.inference.models.whisper_cases import MEETING

BEFORE_MS, AFTER_MS = 700, 1_300


@pytest.fixture
def turn() -> Pcm:
    """Speech from its first to its last sound."""
    spoken = cut(decode(MEETING), 400, 8_000)
    return cut(spoken, *sound_bounds_ms(spoken))


def with_silence(pcm: Pcm, level: float) -> Pcm:
    """The sound between two pauses that are not quite silent."""
    padded = np.pad(pcm, (BEFORE_MS * 16, AFTER_MS * 16)).astype(np.float64)
    hiss = np.random.default_rng(3).normal(0, level, len(padded))
    return np.asarray(np.clip(padded + hiss, -32_768, 32_767), np.int16)


@pytest.mark.parametrize("level", [0.0, 6.0])
def test_sound_begins_and_ends_where_speech_does(level: float, turn: Pcm) -> None:
    start_ms, end_ms = sound_bounds_ms(with_silence(turn, level))
    assert start_ms == pytest.approx(BEFORE_MS, abs=20)
    assert end_ms == pytest.approx(BEFORE_MS + len(turn) / 16, abs=20)


def test_audio_of_one_level_is_sound_from_end_to_end() -> None:
    assert sound_bounds_ms(np.zeros(16_000, np.int16)) == (0, 1_000)
    assert sound_bounds_ms(np.full(16_160, 500, np.int16)) == (0, 1_010)
    assert sound_bounds_ms(np.zeros(0, np.int16)) == (0, 0)


def test_words_stay_out_of_the_silence_around_speech(trained_whisper_folder: Path, turn: Pcm) -> None:
    (result,) = load_whisper(trained_whisper_folder).transcribe([WhisperRequest(with_silence(turn, 6.0), Task("en"))])
    words = result.window.words
    assert words[0].start_ms == pytest.approx(BEFORE_MS, abs=20)
    assert words[-1].end_ms <= BEFORE_MS + len(turn) / 16 + 20
