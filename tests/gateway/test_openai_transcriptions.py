"""POST /v1/audio/transcriptions and /v1/audio/translations with the official client."""

import asyncio
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose

from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from tests.gateway.conftest import Running, build_form
from tests.gateway.openai_client import SOUND, TALK, client_of, ended, transcribed, translated

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEN_KEYS = {
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob",
}  # fmt: skip
FILE = 'name="file"; filename="talk.wav"'
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


async def test_json_is_the_text_and_its_usage(gateway: Running) -> None:
    async with client_of(gateway) as client:
        answer, job = await transcribed(gateway, client)
    assert isinstance(answer, Transcription)
    assert answer.text == TALK.text
    assert answer.usage is not None
    assert answer.usage.model_dump() == {"type": "duration", "seconds": 3}
    assert (job.source, job.filename) == (Job.SOURCE_API, "upload")
    assert (job.config.diarize, job.config.word_timestamps, job.config.language) == (False, False, "")


@pytest.mark.parametrize(
    ("form", "media_type", "start"),
    [
        ("text", "text/plain; charset=utf-8", "Good morning. Hello there.\n"),
        ("srt", "text/plain; charset=utf-8", "1\n00:00:00,100 --> 00:00:01,200\n"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.100 --> 00:00:01.200\n"),
    ],
)
async def test_texts_are_plain_bodies(gateway: Running, form: Any, media_type: str, start: str) -> None:
    async with client_of(gateway) as client:
        raw = client.audio.transcriptions.with_raw_response
        call: asyncio.Future[Any] = asyncio.ensure_future(raw.create(file=SOUND, model="whisper-1", response_format=form))
        answer, job = await ended(gateway, client, TALK, call)
    assert answer.headers["content-type"] == media_type
    assert answer.parse() == answer.text
    assert answer.text.startswith(start)
    assert job.config.word_timestamps is (form != "text")


async def test_verbose_json_lists_segments_unless_words_are_asked_for(gateway: Running) -> None:
    async with client_of(gateway) as client:
        verbose, job = await transcribed(gateway, client, response_format="verbose_json")
    assert isinstance(verbose, TranscriptionVerbose)
    assert (verbose.language, verbose.duration, verbose.words) == ("english", 2.4, None)
    assert [set(segment.model_dump()) for segment in verbose.segments or []] == [TEN_KEYS | {"language", "flags"}] * 2
    assert verbose.model_dump()["task"] == "transcribe"
    assert not job.config.word_timestamps


@pytest.mark.parametrize("asked", [["word"], ["word", "segment"]])
async def test_words_come_when_asked_for(gateway: Running, asked: list[Any]) -> None:
    async with client_of(gateway) as client:
        verbose, job = await transcribed(gateway, client, response_format="verbose_json", timestamp_granularities=asked)
    assert [word.model_dump() for word in verbose.words] == [
        {"word": "Good", "start": 0.1, "end": 0.5},
        {"word": "morning.", "start": 0.5, "end": 1.2},
    ]
    assert (verbose.segments is not None) is ("segment" in asked)
    assert job.config.word_timestamps


async def test_diarized_json_names_speakers_by_letters(gateway: Running) -> None:
    async with client_of(gateway) as client:
        answer, job = await transcribed(gateway, client, response_format="diarized_json", chunking_strategy="auto")
    assert isinstance(answer, TranscriptionDiarized)
    assert [(part.id, part.speaker, part.text) for part in answer.segments] == [
        ("seg_001", "A", "Good morning."),
        ("seg_002", "B", "Hello there."),
    ]
    assert job.config.diarize


async def test_logprobs_come_when_included(gateway: Running) -> None:
    async with client_of(gateway) as client:
        answer, job = await transcribed(gateway, client, include=["logprobs"])
    assert [entry.token for entry in answer.logprobs] == ["Good", " morning."]
    assert job.config.word_timestamps


async def test_every_parameter_reaches_the_order(gateway: Running) -> None:
    async with client_of(gateway) as client:
        _, job = await transcribed(
            gateway,
            client,
            language="en",
            prompt="A talk about",
            keywords=["Steno", "Whisper"],
            temperature=0.25,
            chunking_strategy={"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300},
        )
    config = job.config
    assert (config.language, config.prompt, config.temperature) == ("en", "A talk about Steno, Whisper", 0.25)


@pytest.mark.parametrize(("languages", "taken"), [(["de"], "de"), (["de", "fr"], "")])
async def test_one_possible_language_is_the_language(gateway: Running, languages: list[str], taken: str) -> None:
    async with client_of(gateway) as client:
        _, job = await transcribed(gateway, client, languages=languages)
    assert job.config.language == taken


async def test_temperature_of_zero_is_sent_and_none_is_not(gateway: Running) -> None:
    async with client_of(gateway) as client, client_of(gateway) as other:
        _, zero = await transcribed(gateway, client, temperature=0)
        _, none = await transcribed(gateway, other)
    assert (zero.config.HasField("temperature"), none.config.HasField("temperature")) == (True, False)


async def test_long_prompt_keeps_its_end(gateway: Running) -> None:
    async with client_of(gateway) as client:
        _, job = await transcribed(gateway, client, prompt="é" * 5_000, keywords=["the end"])
    assert len(job.config.prompt.encode()) <= 4096
    assert job.config.prompt.endswith("é the end")


async def test_sync_client_gets_the_same(gateway: Running) -> None:
    key = gateway.world.new_key()

    def call() -> Transcription:
        with OpenAI(api_key=key, base_url=f"{gateway.url}/openai/v1", max_retries=0, timeout=20) as client:
            return client.audio.transcriptions.create(file=("talk.mp3", SOUND, "audio/mpeg"), model="gpt-4o-transcribe")

    calling = asyncio.create_task(asyncio.to_thread(call), name="call")
    job = await gateway.world.submitted(key)
    await gateway.world.finish(job.id, TALK)
    assert (await calling).text == TALK.text
    assert job.filename == "talk.mp3"


@pytest.mark.parametrize("name", ["timestamp_granularities", "timestamp_granularities[]"])
@pytest.mark.parametrize("file_first", [True, False])
async def test_fields_may_follow_the_file_and_arrays_go_by_either_name(gateway: Running, name: str, file_first: bool) -> None:
    key = gateway.world.new_key()
    fields = [('name="model"', b"whisper-1"), ('name="response_format"', b"verbose_json"), (f'name="{name}"', b"word")]
    fields += [(f'name="{name}"', b"segment"), ('name="chunking_strategy"', b'{"type": "server_vad", "threshold": 0.3}')]
    form = build_form(*([(FILE, SOUND), *fields] if file_first else [*fields, (FILE, SOUND)]))
    headers = {**MULTIPART, "x-api-key": key, "accept": "application/json"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=20, verify=False) as client:
        call = asyncio.create_task(client.post("/v1/audio/transcriptions", content=form), name="call")
        job = await gateway.world.submitted(key)
        await gateway.world.finish(job.id, TALK)
        body = (await call).json()
    assert (len(body["segments"]), len(body["words"])) == (2, 2)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_translation_asks_for_english(gateway: Running) -> None:
    async with client_of(gateway) as client, client_of(gateway) as other:
        answer, job = await translated(gateway, client, prompt="names", temperature=0.5)
        verbose, _ = await translated(gateway, other, response_format="verbose_json")
    assert answer.model_dump() == {"text": TALK.text}
    assert (job.config.task, job.config.prompt, job.config.temperature) == (TranscriptionConfig.TASK_TRANSLATE, "names", 0.5)
    assert (verbose.language, verbose.model_dump()["task"], len(verbose.segments)) == ("english", "translate", 2)


async def test_key_that_only_writes_gets_its_transcript(gateway: Running) -> None:
    async with client_of(gateway, gateway.world.new_key(scopes=["write"])) as client:
        answer, _ = await transcribed(gateway, client)
    assert answer.text == TALK.text


async def test_silence_is_an_empty_text(gateway: Running) -> None:
    silent = type(TALK)(speech_detected=False, audio_duration_ms=1_000)
    async with client_of(gateway) as client, client_of(gateway) as other:
        assert (await transcribed(gateway, client, silent))[0].text == ""
        assert (await transcribed(gateway, other, silent, response_format="diarized_json"))[0].segments == []
