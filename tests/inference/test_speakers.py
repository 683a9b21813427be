"""Known voices name the speakers that sound like them, and nobody else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.inference.diarization.turns import diarize
from services.inference.pcm import Floats
from services.inference.slots import Slots
from services.inference.speakers import centroid, name_speakers, speaker_centroids, to_bytes
from services.inference.transcript import Turn, speaker_labels
from services.inference.voices import Voices
from services.inference.windows import Region
from steno.jobs.v1.job_pb2 import KnownSpeaker
from steno.jobs.v1.transcript_pb2 import Transcript
from tests.inference.conftest import Heard
from tests.inference.stage import TWO_VOICES, House, Stage

DATA = Path(__file__).parent / "data"
VOICES = ("awb", "rms", "slt")
on_house = pytest.mark.asyncio(loop_scope="session")


async def reference(house: House, scratch: Path, voice: str, name: str = "") -> KnownSpeaker:
    voices = Voices(house.engine, house.sandbox, scratch, Slots(1, 0, "Voices wait."))
    described = await voices.describe((DATA / f"voice_{voice}.ogg").read_bytes())
    return KnownSpeaker(name=name or voice.upper(), embedding=to_bytes(described.embedding))


def talker_at(turns: list[Turn], at_ms: float) -> int:
    return next(turn.speaker for turn in turns if turn.start_ms <= at_ms < turn.end_ms)


@on_house
async def test_each_voice_of_a_conversation_gets_its_own_name(
    house: House, tmp_path: Path, meeting: Heard, meeting_reference: dict[str, Any]
) -> None:
    turns = diarize(meeting.regions, meeting.spans, meeting.embeddings)
    known = [await reference(house, tmp_path, voice) for voice in (*VOICES, "kal16")]
    names = name_speakers(turns, meeting.spans, meeting.embeddings, known)
    assert sorted(names.values()) == ["AWB", "RMS", "SLT"]
    for turn in meeting_reference["turns"]:
        assert names[talker_at(turns, 500 * (turn["start"] + turn["end"]))] == turn["speaker"].upper()


@on_house
async def test_an_absent_voice_names_nobody(house: House, tmp_path: Path, meeting: Heard) -> None:
    turns = diarize(meeting.regions, meeting.spans, meeting.embeddings)
    assert name_speakers(turns, meeting.spans, meeting.embeddings, [await reference(house, tmp_path, "kal16")]) == {}


@on_house
async def test_one_known_voice_leaves_the_others_numbered(house: House, tmp_path: Path, meeting: Heard) -> None:
    turns = diarize(meeting.regions, meeting.spans, meeting.embeddings)
    names = name_speakers(turns, meeting.spans, meeting.embeddings, [await reference(house, tmp_path, "rms", "Ann")])
    assert list(names.values()) == ["Ann"]
    labels = speaker_labels({turn.speaker for turn in turns}, names)
    assert sorted(labels.values()) == ["Ann", "SPEAKER_00", "SPEAKER_01"]


@on_house
async def test_a_job_carries_the_name_into_its_transcript(stage: Stage, house: House, tmp_path: Path) -> None:
    known = [await reference(house, tmp_path, "rms", "Bob"), await reference(house, tmp_path, "kal16", "Nobody")]
    job = stage.job(TWO_VOICES, diarize=True, word_timestamps=True, known_speakers=known)
    await stage.run(job)
    transcript: Transcript = stage.storage.transcript((await stage.completed(job)).transcript_artefact_id)
    assert list(transcript.speakers) == ["Bob", "SPEAKER_00"]
    said = {segment.speaker: segment.text.lower() for segment in transcript.segments}
    assert "monday morning" in said["SPEAKER_00"]
    assert {word.speaker for segment in transcript.segments for word in segment.words} == {"SPEAKER_00", "Bob"}


@on_house
async def test_a_job_with_a_broken_known_voice_fails_and_says_why(stage: Stage) -> None:
    job = stage.job(TWO_VOICES, diarize=True, known_speakers=[KnownSpeaker(name="Ann", embedding=b"no")])
    await stage.run(job)
    failed = await stage.failed(job)
    assert (failed.reason, failed.retryable) == ("INVALID_FIELD", False)
    assert stage.engine.windows_heard == 0


def rows(*directions: int) -> Floats:
    found = np.zeros((len(directions), 256), np.float32)
    found[np.arange(len(directions)), directions] = 1
    return found


def known_as(name: str, row: Floats) -> KnownSpeaker:
    return KnownSpeaker(name=name, embedding=to_bytes(row))


SPANS = [Region(at, at + 2_000) for at in range(0, 8_000, 2_000)]
TURNS = [Turn(0, 4_000, 0), Turn(4_000, 8_000, 1)]


def test_pairs_are_the_most_alike_together_not_the_first_that_do() -> None:
    embeddings = rows(0, 0, 1, 1)
    between = centroid(np.concatenate([embeddings[:1], embeddings[:1], 1.2 * embeddings[2:3]]))
    known = [known_as("Both", between), known_as("First", embeddings[0])]
    assert float(between @ embeddings[0]) > 0.80
    assert name_speakers(TURNS, SPANS, embeddings, known) == {0: "First"}


def test_a_name_with_two_recordings_is_one_speaker() -> None:
    known = [known_as("Ann", rows(5)[0]), known_as("Ann", rows(1)[0])]
    assert name_speakers(TURNS, SPANS, rows(0, 0, 1, 1), known) == {1: "Ann"}


def test_spans_across_a_change_do_not_blur_a_voice() -> None:
    spans = [Region(0, 2_000), Region(1_000, 3_000), Region(2_000, 4_000)]
    found = speaker_centroids([Turn(0, 2_000, 0), Turn(2_000, 4_000, 1)], spans, rows(0, 7, 1))
    assert [int(found[speaker].argmax()) for speaker in (0, 1)] == [0, 1]
    assert all(float(found[speaker].max()) == pytest.approx(1) for speaker in (0, 1))


def test_a_voice_heard_only_across_changes_still_has_a_centroid() -> None:
    found = speaker_centroids([Turn(0, 1_500, 0), Turn(1_500, 2_000, 1)], [Region(0, 2_000)], rows(3))
    assert set(found) == {0, 1}


def test_nobody_is_named_without_known_voices_or_speech() -> None:
    assert name_speakers(TURNS, SPANS, rows(0, 0, 1, 1), []) == {}
    assert name_speakers([], [], np.zeros((0, 256), np.float32), [known_as("Ann", rows(0)[0])]) == {}


def test_a_given_name_is_nobody_elses_number() -> None:
    assert speaker_labels([2, 0, 1], {1: "SPEAKER_00"}) == {0: "SPEAKER_01", 1: "SPEAKER_00", 2: "SPEAKER_02"}
