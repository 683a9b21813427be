"""A sound over and over is told from everything that people say, also from what they say again."""

import numpy as np
import pytest

from services.inference.loops import repeats_itself
from services.inference.pcm import SAMPLE_RATE_HZ, Pcm
from tests.inference.conftest import Heard, decode
from tests.inference.sounds import WORDLESS, again, looped
from tests.inference.stage import HELLO

LOOPS = ("short syllable", "syllable with pauses", "long syllable", "two syllables", "beats", "swelling noise")
MAINS_HZ = 50


def with_noise(pcm: Pcm, decibels_below: float) -> Pcm:
    level = np.std(pcm.astype(np.float64)) * 10 ** (-decibels_below / 20)
    return np.asarray(np.clip(pcm + level * np.random.default_rng(3).standard_normal(len(pcm)), -32_768, 32_767), np.int16)


def pieces(pcm: Pcm, seconds: int) -> list[Pcm]:
    size = seconds * SAMPLE_RATE_HZ
    return [pcm[start : start + size] for start in range(0, len(pcm) - size, SAMPLE_RATE_HZ)]


@pytest.mark.parametrize("name", LOOPS)
def test_loop_repeats_itself(name: str) -> None:
    assert repeats_itself(WORDLESS[name]())


def test_loop_repeats_itself_under_noise() -> None:
    assert repeats_itself(with_noise(looped(600, 350, pause_ms=150), 12))


@pytest.mark.parametrize("seconds", [2, 5, 15, 30])
def test_no_window_of_a_meeting_does(meeting: Heard, seconds: int) -> None:
    assert not any(repeats_itself(piece) for piece in pieces(meeting.pcm, seconds))


def test_speech_under_mains_hum_does_not(meeting: Heard) -> None:
    times = np.arange(len(meeting.pcm)) / SAMPLE_RATE_HZ
    hum = sum(3_000 * np.sin(2 * np.pi * MAINS_HZ * n * times) / n for n in range(1, 9))
    humming = np.asarray(np.clip(0.1 * meeting.pcm + hum, -32_768, 32_767), np.int16)
    assert not any(repeats_itself(piece) for piece in pieces(humming, 15))


def test_sentence_that_is_said_again_does_not() -> None:
    assert not repeats_itself(again(decode(HELLO), 6))


@pytest.mark.parametrize("name", ["silence", "noise", "faint noise", "tone"])
def test_steady_sound_does_not(name: str) -> None:
    assert not repeats_itself(WORDLESS[name]())


@pytest.mark.parametrize("samples", [0, 1, 400, 31_999])
def test_too_short_a_window_never_does(samples: int) -> None:
    assert not repeats_itself(looped(300, 200)[:samples])
