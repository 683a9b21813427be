"""A file in through REST, a transcript with speakers out."""

import io
import json
from pathlib import Path

import docx
import pysubs2
import pytest
import webvtt

from tests.e2e.mesh import SAMPLES, Mesh
from tests.e2e.scores import diarization_error_rate, word_error_rate, words
from tools.speech.forms import FORMS, write_form

CLIPS = {clip["file"]: clip for clip in json.loads((SAMPLES / "clips.json").read_text())}
HELLO = SAMPLES / "clips" / "hello.flac"


@pytest.fixture(scope="module")
def meeting(embedded: Mesh) -> dict[str, object]:
    """The transcript of the sample meeting."""
    return embedded.transcribed(SAMPLES / "meeting.flac", language="en")


def test_sample_meeting_is_read_with_its_three_speakers(meeting: dict[str, object]) -> None:
    assert word_error_rate((SAMPLES / "meeting.txt").read_text(), meeting) <= 0.10
    assert meeting["speakers"] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert diarization_error_rate(SAMPLES / "meeting.json", meeting) <= 0.15
    assert meeting["engine"] == "local"


def test_words_have_times_in_order_inside_their_segments(meeting: dict[str, object]) -> None:
    segments = meeting["segments"]
    assert isinstance(segments, list)
    for segment in segments:
        times = [time for word in segment["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert segment["start"] <= times[0]
        assert times[-1] <= segment["end"] + 0.001


@pytest.mark.timeout(300)
@pytest.mark.parametrize("suffix", [suffix for suffix in FORMS if suffix != ".flac"])
def test_every_form_of_the_meeting_gives_the_same_words(suffix: str, embedded: Mesh, meeting: dict[str, object], tmp_path: Path) -> None:
    form = write_form(SAMPLES / "meeting.flac", tmp_path / f"meeting{suffix}")
    transcript = embedded.transcribed(form, language="en", diarize="false")
    assert words(transcript["text"]) == words(str(meeting["text"]))


def test_clip_is_transcribed_whatever_the_backends(mesh: Mesh) -> None:
    job_id = mesh.submitted(HELLO, source="recording")
    row = mesh.finished(job_id)
    assert (row["status"], row["progress"], row["error"]) == ("done", 1.0, None)
    assert (row["source"], row["language"], row["filename"]) == ("recording", "en", "hello.flac")
    assert row["speech_detected"] is True
    assert 0.5 < row["speech_ratio"] <= 1.0
    assert abs(row["audio_duration_seconds"] - CLIPS["clips/hello.flac"]["duration"]) < 0.05
    transcript = mesh.result(job_id)
    assert word_error_rate(CLIPS["clips/hello.flac"]["text"], transcript) <= 0.2
    assert transcript["segments"][0]["speaker"] == "SPEAKER_00"


def test_all_formats_come_from_one_transcript(mesh: Mesh) -> None:
    job_id = mesh.submitted(SAMPLES / "clips" / "two_voices.ogg")
    assert mesh.finished(job_id)["status"] == "done"
    said = words(mesh.result(job_id)["text"])

    def body(name: str) -> bytes:
        return mesh.client.get(f"/api/v1/jobs/{job_id}/result", params={"format": name}).raise_for_status().content

    assert set(said) <= set(words(body("txt").decode()))
    subtitles = pysubs2.SSAFile.from_string(body("srt").decode(), format_="srt")
    assert set(said) <= set(words(" ".join(event.plaintext for event in subtitles)))
    captions = webvtt.from_buffer(io.StringIO(body("vtt").decode()))
    assert set(said) <= set(words(" ".join(caption.text for caption in captions.captions)))
    paragraphs = docx.Document(io.BytesIO(body("docx"))).paragraphs
    assert set(said) <= set(words(" ".join(paragraph.text for paragraph in paragraphs)))


@pytest.mark.parametrize("name", ["music.ogg", "noise.ogg", "silence.flac"])
def test_audio_without_speech_is_done_and_free(name: str, mesh: Mesh) -> None:
    job_id = mesh.submitted(SAMPLES / "clips" / name)
    row = mesh.finished(job_id)
    assert (row["status"], row["speech_detected"], row["language"]) == ("done", False, None)
    transcript = mesh.result(job_id)
    assert (transcript["text"], transcript["segments"], transcript["language"]) == ("", [], None)
    assert transcript["speech_detected"] is False
    assert transcript["speech_ratio"] < 0.05
    assert transcript["suggestion"]


def test_language_that_no_model_knows_fails_with_its_reason(embedded: Mesh) -> None:
    row = embedded.finished(embedded.submitted(HELLO, language="fr"))
    assert row["status"] == "failed"
    assert "fr" in row["error"]


def test_progress_streams_to_the_end_and_resumes(embedded: Mesh) -> None:
    job_id = embedded.submitted(SAMPLES / "clips" / "long_pause.flac")
    seen: list[tuple[int, str, dict[str, object]]] = []
    with embedded.client.stream("GET", f"/api/v1/jobs/{job_id}/events", timeout=120) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in response.iter_lines():
            if line == "" and "data" in event:
                seen.append((int(event["id"]), event["event"], json.loads(event["data"])))
                event = {}
            elif not line.startswith(":"):
                key, _, value = line.partition(": ")
                event[key] = value
    ids = [number for number, _, _ in seen]
    assert ids == sorted(set(ids))
    assert seen[-1][1] == "done"
    progress = [float(str(row["progress"])) for _, _, row in seen]
    assert progress == sorted(progress)
    headers = {"Last-Event-ID": str(ids[-2])} if len(ids) > 1 else {}
    with embedded.client.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=headers, timeout=30) as response:
        resumed = [line for line in response.iter_lines() if line.startswith("id: ")]
    assert [int(line.removeprefix("id: ")) for line in resumed] == ids[-1:]
