"""The test Whisper that ships hears a meeting in its own words, and nothing where nobody speaks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.inference.models.vad import load_vad
from services.inference.models.whisper.model import WhisperModel, WhisperRequest, load_whisper
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import Pcm
from tests.inference.models.whisper_cases import MEETING
from tools.whisper.evaluate import evaluate_meeting
from tools.whisper.listening import Listener
from tools.whisper.probes import speechless


@pytest.fixture(scope="module")
def whisper(trained_whisper_folder: Path) -> WhisperModel:
    return load_whisper(trained_whisper_folder)


def test_words_of_a_meeting_are_heard_where_they_are_spoken(whisper: WhisperModel) -> None:
    found = evaluate_meeting(Listener(load_vad(), whisper), MEETING.with_suffix(".json"))
    assert found.words > 100
    assert found.word_error_rate <= 0.1
    assert found.starts_close >= 0.9


@pytest.mark.parametrize("name", ["music.ogg", "noise.ogg", "silence.flac"])
@pytest.mark.parametrize("timestamps", [False, True])
def test_clips_without_speech_have_no_words(name: str, timestamps: bool, whisper: WhisperModel, clip: Callable[[str], Pcm]) -> None:
    (result,) = whisper.transcribe([WhisperRequest(clip(name), Task("en", timestamps=timestamps))])
    assert (result.window.text, result.window.words) == ("", ())


def test_hardly_any_other_sound_is_taken_for_words(whisper: WhisperModel) -> None:
    found = whisper.transcribe([WhisperRequest(pcm, Task("en")) for pcm in speechless(15)])
    assert sum(bool(result.window.words) for result in found) <= 1
