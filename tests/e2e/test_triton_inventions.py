"""Nothing is written that nobody said: silence, noise, music and loops of sound, through REST on a real Triton."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.inference.pcm import Pcm, cut
from tests.e2e.mesh import SAMPLES, Mesh
from tests.e2e.scores import words
from tests.inference.sounds import WORDLESS, again
from tools.speech.audio import read_audio, write_audio
from tools.whisper.probes import speechless

MEETING = SAMPLES / "whisper-meeting.ogg"
TURNS = json.loads(MEETING.with_suffix(".json").read_text())["turns"]
EDGE_MS = 100
TIMES = 3

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def sound() -> Pcm:
    """The meeting."""
    return read_audio(MEETING)


def turn(sound: Pcm, number: int) -> Pcm:
    """One turn alone."""
    return cut(sound, round(TURNS[number]["start"] * 1000) - EDGE_MS, round(TURNS[number]["end"] * 1000) + EDGE_MS)


def transcripts(mesh: Mesh, folder: Path, sounds: Iterable[Pcm]) -> list[dict[str, Any]]:
    """Of every sound, all at once, in a language that is told: it is not the time to guess one."""
    paths = [folder / f"{number}.flac" for number, _ in enumerate(sounds)]
    for path, samples in zip(paths, sounds, strict=True):
        write_audio(path, samples, "flac")
    jobs = [mesh.submitted(path, language="en") for path in paths]
    assert {mesh.finished(job)["status"] for job in jobs} == {"done"}
    return [mesh.result(job) for job in jobs]


def is_honest(transcript: dict[str, Any]) -> bool:
    """Whether what has no text says that nobody spoke, or that something could not be transcribed."""
    return bool(transcript["text"]) or not transcript["speech_detected"] or bool(transcript["gaps"])


def test_silence_noise_and_music_have_no_words(on_triton: Mesh, tmp_path: Path) -> None:
    clips = [read_audio(SAMPLES / "clips" / name) for name in ("music.ogg", "noise.ogg", "silence.flac")]
    found = transcripts(on_triton, tmp_path, [*speechless(15), *(make() for make in WORDLESS.values()), *clips])
    assert [transcript["text"] for transcript in found] == [""] * len(found)
    assert all(is_honest(transcript) for transcript in found)


def test_noise_and_music_between_words_add_none(on_triton: Mesh, tmp_path: Path, sound: Pcm) -> None:
    noises = [wave for wave in speechless(15) if len(wave) < 12 * 16_000]
    first, last = turn(sound, 0), turn(sound, 8)
    between = np.concatenate(noises)
    (found,) = transcripts(on_triton, tmp_path, [np.concatenate([first, between, last])])
    assert words(found["text"]) == words(f"{TURNS[0]['text']} {TURNS[8]['text']}")
    middle = (len(first) / 16_000, (len(first) + len(between)) / 16_000)
    heard = [word for segment in found["segments"] for word in segment["words"]]
    assert not [word for word in heard if middle[0] < (word["start"] + word["end"]) / 2 < middle[1]]


def test_sentence_said_again_and_again_is_written_no_more_often(on_triton: Mesh, tmp_path: Path, sound: Pcm) -> None:
    path = tmp_path / "again.flac"
    write_audio(path, again(turn(sound, 2), TIMES), "flac")
    row = on_triton.finished(on_triton.submitted(path, language="en"))
    if row["status"] == "failed":
        # What compresses so well is not believed, though it was said; then nothing is written, and nothing charged.
        assert (row["error_code"], row["billed_seconds"] or 0) == ("TRANSCRIPTION_FAILED", 0)
        return
    assert Counter(words(on_triton.result(row["job_id"])["text"])) <= Counter(words(TURNS[2]["text"]) * TIMES)


def test_looped_sound_is_no_sentence(on_triton: Mesh, tmp_path: Path, sound: Pcm) -> None:
    (no,) = (word for word in TURNS[5]["words"] if word["text"] == "No,")
    word = cut(sound, round(no["start"] * 1000), round(no["end"] * 1000))
    vowel = cut(word, 150, 250)
    for found in transcripts(on_triton, tmp_path, [np.tile(word, 30), np.tile(vowel, 100)]):
        assert set(words(found["text"])) <= {"no"}, found
        assert len(words(found["text"])) <= 30
        assert is_honest(found)
