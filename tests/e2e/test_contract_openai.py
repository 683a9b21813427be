"""The OpenAI audio contract on the whole mesh, through its official client."""

import asyncio
import base64
import io
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pysubs2
import pytest
import webvtt
from openai import AsyncOpenAI, OpenAI
from openai.types.audio import TranscriptionDiarized, TranscriptionVerbose

from tests.e2e.mesh import ROOT, SAMPLES, Mesh
from tests.e2e.scores import diarization_error_rate, word_error_rate, words

MEETING = SAMPLES / "meeting.flac"
REFERENCE = (SAMPLES / "meeting.txt").read_text()
HELLO = SAMPLES / "clips" / "hello.flac"
VOICES = ROOT / "tests" / "inference" / "data"
FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
STREAM = "stream"
MAX_ERRORS = 0.10
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def client(embedded: Mesh) -> Iterator[OpenAI]:
    """The client as its users make it: a base URL and a key."""
    with OpenAI(base_url=f"{embedded.ready['url']}/v1", api_key=embedded.ready["api_key"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def meeting(client: OpenAI) -> Mapping[str, Any]:
    """The sample meeting in every format and as a stream, asked for at once."""

    def ask(form: Any) -> Any:
        asked: dict[str, Any] = {"stream": True} if form == STREAM else {"response_format": form}
        answer: Any = client.audio.transcriptions.create(file=MEETING, model="gpt-4o-transcribe-diarize", language="en", **asked)
        return [(time.monotonic(), event) for event in answer] if form == STREAM else answer

    with ThreadPoolExecutor(len(FORMATS) + 1) as pool:
        return dict(zip((*FORMATS, STREAM), pool.map(ask, (*FORMATS, STREAM)), strict=True))


def test_meeting_is_read_in_all_six_formats(meeting: Mapping[str, Any]) -> None:
    text = meeting["json"].text
    assert word_error_rate(REFERENCE, {"text": text}) <= MAX_ERRORS
    assert meeting["json"].usage.seconds == 82
    assert meeting["text"] == f"{text}\n"
    subtitles = pysubs2.SSAFile.from_string(meeting["srt"], format_="srt")
    assert words(" ".join(event.plaintext for event in subtitles)) == words(text)
    captions = webvtt.from_buffer(io.StringIO(meeting["vtt"]))
    assert words(" ".join(caption.text for caption in captions.captions)) == words(text)


def test_meeting_in_verbose_json(meeting: Mapping[str, Any]) -> None:
    verbose = meeting["verbose_json"]
    assert isinstance(verbose, TranscriptionVerbose)
    assert (verbose.language, verbose.text, verbose.words) == ("english", meeting["json"].text, None)
    assert 80 < verbose.duration < 83
    assert verbose.segments is not None
    assert "".join(segment.text for segment in verbose.segments).strip() == verbose.text
    assert all(0 <= segment.start < segment.end <= verbose.duration for segment in verbose.segments)


def test_meeting_in_diarized_json(meeting: Mapping[str, Any]) -> None:
    diarized = meeting["diarized_json"]
    assert isinstance(diarized, TranscriptionDiarized)
    assert list(dict.fromkeys(segment.speaker for segment in diarized.segments)) == ["A", "B", "C"]
    assert diarization_error_rate(SAMPLES / "meeting.json", diarized.model_dump()) <= 0.15
    assert word_error_rate(REFERENCE, {"text": diarized.text}) <= MAX_ERRORS


def test_text_is_streamed_while_the_meeting_is_read(meeting: Mapping[str, Any]) -> None:
    (first_time, first), *_, (last_time, done) = meeting[STREAM]
    deltas = [event.delta for _, event in meeting[STREAM] if event.type == "transcript.text.delta"]
    assert (first.type, done.type) == ("transcript.text.delta", "transcript.text.done")
    assert len(deltas) > 1
    assert last_time - first_time > 0.2
    assert "".join(deltas) == done.text
    assert words(done.text) == words(meeting["json"].text)


def test_known_speakers_are_named_in_the_stream_and_in_the_document(client: OpenAI) -> None:
    asked: dict[str, Any] = {
        "file": SAMPLES / "clips" / "two_voices.ogg",
        "model": "gpt-4o-transcribe-diarize",
        "response_format": "diarized_json",
        "chunking_strategy": "auto",
        "known_speaker_names": ["Selma", "Arun", "Rosa"],
        "known_speaker_references": [_data_url(voice) for voice in ("slt", "awb", "rms")],
    }
    with client.audio.transcriptions.create(stream=True, **asked) as stream:
        job_id = stream.response.headers["x-steno-job-id"]
        events = list(stream)
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text
    assert list(dict.fromkeys(segment.speaker for segment in segments)) == ["Rosa", "Selma"]
    again = client.audio.transcriptions.with_raw_response.create(**asked)
    assert again.headers["x-steno-job-id"] == job_id
    assert [segment.model_dump() for segment in again.parse().segments] == [segment.model_dump() for segment in segments]


def _data_url(voice: str) -> str:
    return "data:audio/ogg;base64," + base64.b64encode((VOICES / f"voice_{voice}.ogg").read_bytes()).decode()


def test_dropped_connection_and_its_retry_are_one_job_that_the_native_contract_reads(embedded: Mesh, client: OpenAI) -> None:
    before = {row["job_id"] for row in embedded.client.get("/api/v1/jobs").json()}
    fields = {"model": "whisper-1", "temperature": "0.5", "stream": "true"}
    headers = {"authorization": f"Bearer {embedded.ready['api_key']}"}
    with (
        HELLO.open("rb") as file,
        httpx2.stream(
            "POST",
            f"{embedded.ready['url']}/v1/audio/transcriptions",
            files={"file": (HELLO.name, file)},
            data=fields,
            headers=headers,
            trust_env=False,
        ) as answer,
    ):
        job_id = answer.headers["x-steno-job-id"]
    row = embedded.finished(job_id)
    assert (row["status"], row["source"]) == ("done", "api")
    again = client.audio.transcriptions.with_raw_response.create(file=HELLO, model="whisper-1", temperature=0.5)
    assert again.headers["x-steno-job-id"] == job_id
    assert again.parse().text == embedded.result(job_id)["text"]
    assert {row["job_id"] for row in embedded.client.get("/api/v1/jobs").json()} - before == {job_id}


def test_client_that_times_out_finds_its_first_job(embedded: Mesh) -> None:
    before = len(embedded.client.get("/api/v1/jobs", params={"limit": 100}).json())

    async def ask() -> str:
        timeout = httpx2.Timeout(60, read=0.7)
        async with AsyncOpenAI(base_url=f"{embedded.ready['url']}/openai/v1", api_key=embedded.ready["api_key"], max_retries=60) as client:
            clip = SAMPLES / "clips" / "long_pause.flac"
            return (await client.audio.transcriptions.create(file=clip, model="whisper-1", timeout=timeout)).text

    assert asyncio.run(ask())
    assert len(embedded.client.get("/api/v1/jobs", params={"limit": 100}).json()) == before + 1


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_english_is_translated_into_itself(client: OpenAI) -> None:
    verbose = client.audio.translations.create(file=HELLO, model="whisper-1", response_format="verbose_json")
    assert (verbose.language, verbose.model_dump()["task"]) == ("english", "translate")
    assert words(verbose.text) == words(client.audio.translations.create(file=HELLO, model="whisper-1").text) != []


def test_language_that_no_model_knows_is_the_requests_fault(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(file=HELLO, model="whisper-1", language="fr")
    assert (refused.value.type, refused.value.param) == ("invalid_request_error", "language")
    assert refused.value.response.headers["x-steno-job-id"]


def test_models_are_listed_and_every_name_is_one(client: OpenAI, embedded: Mesh) -> None:
    deployed = embedded.client.get("/readyz").json()["models"][0]["name"]
    assert {deployed, "whisper-1"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("openai/whisper-large-v3").id == "openai/whisper-large-v3"


def test_file_that_is_no_audio_and_a_key_that_is_none(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as no_audio:
        client.audio.transcriptions.create(file=("talk.mp3", REFERENCE.encode()), model="whisper-1")
    assert no_audio.value.param == "file"
    with pytest.raises(openai.AuthenticationError) as no_key:
        client.with_options(api_key="sk_live_nobody").models.list()
    assert no_key.value.code == "invalid_api_key"
