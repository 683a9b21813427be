"""The official client against the gateway, and a transcript to answer with."""

import asyncio
from typing import Any

import httpx2
from openai import AsyncOpenAI

from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Segment, Transcript, Word
from tests.gateway.conftest import Running

SOUND = b"RIFF" + bytes(range(256)) * 40
TALK = Transcript(
    text="Good morning. Hello there.",
    language="en",
    speech_detected=True,
    speech_ratio=0.9,
    audio_duration_ms=2_400,
    speakers=["SPEAKER_00", "Ann"],
    segments=[
        Segment(
            id=0,
            start_offset_ms=100,
            end_offset_ms=1_200,
            speaker="SPEAKER_00",
            text="Good morning.",
            words=[
                Word(start_offset_ms=100, end_offset_ms=500, text="Good", probability=0.5),
                Word(start_offset_ms=500, end_offset_ms=1_200, text="morning.", probability=1.0),
            ],
        ),
        Segment(id=1, start_offset_ms=1_500, end_offset_ms=2_000, speaker="Ann", text="Hello there."),
    ],
)


def client_of(gateway: Running, key: str = "", *, prefix: str = "/v1", max_retries: int = 0) -> AsyncOpenAI:
    """The official client with a key of its own; answers that its types do not describe are errors."""
    return AsyncOpenAI(
        api_key=key or gateway.world.new_key(),
        base_url=gateway.url + prefix,
        max_retries=max_retries,
        timeout=20,
        http_client=httpx2.AsyncClient(trust_env=False, timeout=20),
        _strict_response_validation=True,
    )


async def transcribed(gateway: Running, client: AsyncOpenAI, transcript: Transcript = TALK, **asked: Any) -> tuple[Any, Job]:
    """What the client makes of a transcript, and the job behind it."""
    asked = {"file": SOUND, "model": "whisper-1", **asked}
    call = asyncio.create_task(client.audio.transcriptions.create(**asked), name="transcription")
    return await ended(gateway, client, transcript, call)


async def translated(gateway: Running, client: AsyncOpenAI, transcript: Transcript = TALK, **asked: Any) -> tuple[Any, Job]:
    """The same for a translation."""
    asked = {"file": SOUND, "model": "whisper-1", **asked}
    call = asyncio.create_task(client.audio.translations.create(**asked), name="translation")
    return await ended(gateway, client, transcript, call)


async def ended(gateway: Running, client: AsyncOpenAI, transcript: Transcript, call: "asyncio.Future[Any]") -> tuple[Any, Job]:
    """The answer to a call once its job, the client's only one, is done."""
    job = await gateway.world.submitted(client.api_key)
    await gateway.world.finish(job.id, transcript)
    return await call, job
