"""The whole path over a real Triton: the meeting in the test model's own words, through REST."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.inference.models.catalogue.bundled import TEST_MODEL
from services.inference.transcript import Word
from tests.e2e.batches import executed, executed_since, mean_size
from tests.e2e.mesh import SAMPLES, Mesh
from tests.e2e.scores import diarization_error_rate, word_error_rate
from tests.otlp import Collector, running_collector
from tools.speech.audio import read_audio, write_audio
from tools.whisper.scores import Score, score
from tools.whisper.utterance import Span

MEETING = SAMPLES / "whisper-meeting.ogg"
REFERENCE = MEETING.with_suffix(".json")
TOGETHER = 8
MEAN_BATCH = 3.0
# Of a recording of 106 s.
LEAST_WINDOWS = 4
TRACE_ID, CLIENT_SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# From the order to a worker, and on.
ORDERED = [
    ("steno-inference", "process work-transcription"),
    ("steno-jobs", "send steno.work.transcription"),
    ("steno-jobs", "steno.jobs.v1.JobsService/CreateJob"),
    ("steno-gateway", "steno.jobs.v1.JobsService/CreateJob"),
    ("steno-gateway", "POST native/transcribe"),
]
HEARD = [
    ("steno-triton", "InferRequest"),
    ("steno-inference", "infer whisper"),
    ("steno-inference", "transcribe window"),
    ("steno-inference", "transcribe"),
    *ORDERED,
]
SETTLED = [
    ("steno-billing", "settle"),
    ("steno-billing", "process billing-holds"),
    ("steno-jobs", "send steno.events.jobs.JobSucceeded"),
    ("steno-jobs", "process jobs-results"),
    ("steno-inference", "send steno.events.inference.TranscriptCompleted"),
    *ORDERED,
]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def triton_tls() -> bool:
    """This module's mesh says all in TLS, to Triton too."""
    return True


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the mesh, Triton included, sends its spans."""
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def triton_environment(collector: Collector) -> Mapping[str, str]:
    """A mesh that records the traces that its clients record."""
    off_by_itself = {"OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **off_by_itself}


@pytest.fixture(scope="module")
def job(on_triton: Mesh) -> dict[str, Any]:
    """The row of a job that has heard the meeting, its language not told, ordered within a trace."""
    answer = on_triton.submit(MEETING, headers={"traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN_ID}-01"})
    return on_triton.finished(answer.raise_for_status().json()["job_id"])


@pytest.fixture(scope="module")
def meeting(on_triton: Mesh, job: dict[str, Any]) -> dict[str, Any]:
    """Its transcript."""
    return on_triton.result(job["job_id"])


def timing(transcript: dict[str, Any]) -> Score:
    """The words beside those that the synthesizer placed."""
    document = json.loads(REFERENCE.read_text())
    spoken = [Span(word["text"], word["start"], word["end"]) for turn in document["turns"] for word in turn["words"]]
    heard = [
        Word(word["text"], round(word["start"] * 1000), round(word["end"] * 1000))
        for segment in transcript["segments"]
        for word in segment["words"]
    ]
    return score([spoken], [heard])


def plain_words(transcript: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    """Text, start, end and probability of each word."""
    found = [word for segment in transcript["segments"] for word in segment["words"]]
    return [(word["text"], word["start"], word["end"], word["probability"]) for word in found]


def test_words_of_the_meeting_are_heard_where_they_were_said(meeting: dict[str, Any]) -> None:
    assert word_error_rate(MEETING.with_suffix(".txt").read_text(), meeting) <= 0.1
    found = timing(meeting)
    assert found.words > 100
    assert found.starts_close >= 0.9
    assert found.ends_close >= 0.9


def test_each_word_goes_to_who_said_it(meeting: dict[str, Any]) -> None:
    assert meeting["speakers"] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert diarization_error_rate(REFERENCE, meeting) <= 0.15
    turns = json.loads(REFERENCE.read_text())["turns"]
    voices = {
        speaker: Counter(_voice_at(turns, segment) for segment in meeting["segments"] if segment["speaker"] == speaker)
        for speaker in meeting["speakers"]
    }
    names = {speaker: counted.most_common(1)[0][0] for speaker, counted in voices.items()}
    assert sorted(names.values()) == ["awb", "rms", "slt"]
    assert all(_voice_at(turns, segment) == names[segment["speaker"]] for segment in meeting["segments"])


def _voice_at(turns: list[dict[str, Any]], segment: dict[str, Any]) -> str:
    """Who speaks longest within the segment."""
    voice: str = max(turns, key=lambda turn: min(turn["end"], segment["end"]) - max(turn["start"], segment["start"]))["speaker"]
    return voice


def test_transcript_says_what_heard_it_and_how_surely(meeting: dict[str, Any]) -> None:
    assert (meeting["engine"], meeting["model"]) == ("triton", TEST_MODEL)
    assert (meeting["language"], meeting["speech_detected"], meeting["gaps"]) == ("en", True, [])
    assert [one["language"] for one in meeting["languages"]] == ["en"]
    assert 0.5 < meeting["speech_ratio"] <= 1
    for segment in meeting["segments"]:
        assert -1 < segment["avg_logprob"] < 0
        assert 0 <= segment["no_speech_prob"] < 0.6
        assert 0 < segment["compression_ratio"] < 2.4
        assert (segment["language"], segment["temperature"], "low_confidence" in segment["flags"]) == ("en", 0.0, False)
        assert all(0 < word["probability"] <= 1 for word in segment["words"])


def test_job_names_engine_and_model_and_the_mesh_says_that_it_is_a_test(job: dict[str, Any], on_triton: Mesh) -> None:
    assert (job["status"], job["engine"], job["model"]) == ("done", "triton", TEST_MODEL)
    (model,) = on_triton.client.get("/readyz").raise_for_status().json()["models"]
    assert model == {"name": TEST_MODEL, "engine": "triton", "production": False, "test": True, "trouble": None}


def test_windows_of_many_jobs_are_decoded_together_and_no_word_changes(on_triton: Mesh, tmp_path: Path) -> None:
    path, fields = tmp_path / "twice.flac", {"language": "en", "diarize": "false"}
    write_audio(path, np.tile(read_audio(MEETING), 2), "flac")
    alone = plain_words(on_triton.transcribed(path, **fields))
    before = executed(on_triton)
    jobs = [on_triton.submitted(path, **fields) for _ in range(TOGETHER)]
    assert {on_triton.finished(job)["status"] for job in jobs} == {"done"}
    batches = executed_since(before, on_triton, LEAST_WINDOWS * TOGETHER)
    assert mean_size(batches) >= MEAN_BATCH, batches
    assert [plain_words(on_triton.result(job)) for job in jobs] == [alone] * TOGETHER


def test_one_trace_leads_from_the_request_through_triton_to_the_settlement(
    on_triton: Mesh, collector: Collector, job: dict[str, Any], meeting: dict[str, Any]
) -> None:
    collector.wait(lambda: collector.of(TRACE_ID).named("settle") and collector.of(TRACE_ID).named("InferRequest"))
    collector.wait(lambda: HEARD in ways(collector, "InferRequest"))
    collector.wait(lambda: SETTLED in ways(collector, "settle"))
    trace = collector.of(TRACE_ID)
    [request] = trace.named("POST native/transcribe")
    assert (request.parent_id, request.attributes["http.response.status_code"]) == (CLIENT_SPAN_ID, 202)
    [settled] = trace.named("settle")
    assert settled.attributes["steno.job.id"] == job["job_id"]
    assert {"download", "decode", "find speech", "tell speakers apart"} <= {span.name for span in trace.spans.values()}
    assert [span for span in trace.spans.values() if span.failed] == []
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}, "of other requests, none is recorded"
    told = b"".join(collector.bodies)
    assert on_triton.ready["api_key"].encode() not in told
    assert [word for word in meeting["segments"][0]["text"].split() if len(word) > 5 and word.encode() in told] == []


def ways(collector: Collector, name: str) -> list[list[tuple[str, str]]]:
    """From each span of a name up to the first of its trace."""
    trace = collector.of(TRACE_ID)
    return [trace.way_up(span) for span in trace.named(name)]
