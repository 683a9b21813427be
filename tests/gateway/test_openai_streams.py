"""stream=true: the text in pieces, as server-sent events."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIError
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from services.gateway.contracts.openai.streams import unsaid
from steno.jobs.v1.job_pb2 import Job, JobError
from tests.gateway.conftest import Running, build_form, open_gateway
from tests.gateway.openai_client import SOUND, TALK, client_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
FORM = build_form(('name="model"', b"whisper-1"), ('name="stream"', b"true"), ('name="file"; filename="a.wav"', SOUND))
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


async def opened(client: Any, **asked: Any) -> Any:
    return await client.audio.transcriptions.create(file=SOUND, model="gpt-4o-transcribe", stream=True, **asked)


async def test_text_comes_as_windows_are_finished(gateway: Running) -> None:
    async with client_of(gateway) as client:
        stream = await opened(client)
        job = gateway.world.jobs_of(client.api_key)[0]
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["x-steno-job-id"] == job.id
        await gateway.world.say(job.id, "Good morning.")
        first = await anext(aiter(stream))
        assert isinstance(first, TranscriptionTextDeltaEvent)
        assert first.delta == "Good morning."
        await gateway.world.say(job.id, "Hello there.")
        await gateway.world.finish(job.id, TALK)
        second, done = [event async for event in stream]
    assert (second.type, second.delta) == ("transcript.text.delta", " Hello there.")
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert done.text == first.delta + second.delta == TALK.text


async def test_deltas_join_to_the_text_whatever_the_windows_left_out(gateway: Running) -> None:
    for said in ([], ["good"], ["good", "morning"], ["good morning hello there"], ["something", "else"]):
        async with client_of(gateway) as client:
            stream = await opened(client)
            job = gateway.world.jobs_of(client.api_key)[0]
            for text in said:
                await gateway.world.say(job.id, text)
            await gateway.world.finish(job.id, TALK)
            *deltas, done = [event async for event in stream]
        assert "".join(event.delta for event in deltas) == done.text
        if said[:1] != ["something"]:
            assert done.text.lower().replace(".", "") == "good morning hello there", said


async def test_rest_of_a_text_is_compared_by_letters() -> None:
    assert unsaid("Good morning. Hello.", "") == "Good morning. Hello."
    assert unsaid("Good morning. Hello.", "good morning") == ". Hello."
    assert unsaid("Good morning.", "good morning") == ""
    assert unsaid("Good morning.", "good morning and more") == ""
    assert unsaid("Good morning. Hello.", "Good morning.") == " Hello."
    assert unsaid("Good morning.", "Good morning.") == ""
    assert unsaid("早。再见。", "早,") == "再见。"
    assert unsaid("Good morning.", "bad") == ""
    assert unsaid("Straße 5 İstanbul", "STRASSE") == ""
    assert unsaid("İstanbul calls", "istanbul") == " calls"


async def test_diarized_stream_ends_with_its_segments(gateway: Running) -> None:
    async with client_of(gateway) as client:
        stream = await opened(client, response_format="diarized_json", include=["logprobs"])
        job = gateway.world.jobs_of(client.api_key)[0]
        await gateway.world.finish(job.id, TALK)
        events = [event async for event in stream]
    assert [event.type for event in events] == [
        "transcript.text.delta",
        "transcript.text.segment",
        "transcript.text.segment",
        "transcript.text.done",
    ]
    assert [(event.id, event.speaker, event.text) for event in events[1:3]] == [
        ("seg_001", "A", "Good morning."),
        ("seg_002", "B", "Hello there."),
    ]
    assert [entry.token for entry in events[3].logprobs] == ["Good", " morning."]


async def test_silences_are_filled_with_comments(gateway: Running) -> None:
    headers = {**MULTIPART, "authorization": f"Bearer {gateway.world.new_key()}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=20, verify=False) as client:
        async with client.stream("POST", "/v1/audio/transcriptions", content=FORM) as answer:
            lines = answer.aiter_lines()
            assert [await anext(lines), await anext(lines)] == [": keepalive", ""]
            await gateway.world.finish(answer.headers["x-steno-job-id"], TALK)
            events = [json.loads(line.removeprefix("data: ")) async for line in lines if line.startswith("data: ")]
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]


@pytest.mark.parametrize(("reason", "kind"), [("TRANSCRIPTION_FAILED", "server_error"), ("MEDIA_UNPROCESSABLE", "invalid_request_error")])
async def test_failure_in_midstream_is_an_error_event(gateway: Running, reason: str, kind: str) -> None:
    async with client_of(gateway) as client:
        stream = await opened(client)
        job = gateway.world.jobs_of(client.api_key)[0]
        await gateway.world.say(job.id, "Good")
        job.error.CopyFrom(JobError(reason=reason, message="It failed."))
        await gateway.world.update(job.id, state=Job.STATE_FAILED)
        with pytest.raises(APIError) as failed:
            [event async for event in stream]
    assert (failed.value.message, failed.value.type) == ("It failed.", kind)
    assert isinstance(failed.value.body, dict)
    assert set(failed.value.body) == {"message", "type", "param", "code"}


async def test_dropped_stream_leaves_the_job_alone(gateway: Running) -> None:
    async with client_of(gateway) as client:
        stream = await opened(client)
        await stream.close()
        again = await opened(client)
        assert again.response.headers["x-steno-job-id"] == stream.response.headers["x-steno-job-id"]
        job = gateway.world.jobs_of(client.api_key)[0]
        await gateway.world.finish(job.id, TALK)
        assert [event async for event in again][-1].text == TALK.text
    assert len(gateway.world.jobs_of(client.api_key)) == 1


async def test_stop_and_time_end_a_stream_with_an_error(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, openai_wait_seconds=0.2, keepalive_seconds=0.1) as gateway, client_of(gateway) as client:
        stream = await opened(client)
        with pytest.raises(APIError) as late:
            [event async for event in stream]
        assert late.value.code == "not_ready"
    async with open_gateway(tmp_path) as gateway, client_of(gateway) as client:
        stream = await opened(client)
        reading = asyncio.create_task(anext(aiter(stream)), name="reading")
        await asyncio.wait({reading}, timeout=0.1)
        gateway.lifecycle.stop()
        with pytest.raises(APIError) as stopped:
            await reading
        assert stopped.value.code == "not_ready"
