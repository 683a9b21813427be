"""Known speakers: names with recordings as data URLs."""

import base64
import hashlib
from typing import Any

import pytest
from openai import BadRequestError

from services.gateway.contracts.openai.voices import MAX_REFERENCE_BYTES
from tests.gateway.conftest import Running
from tests.gateway.openai_client import SOUND, client_of, transcribed

pytestmark = pytest.mark.asyncio(loop_scope="session")


def data_url(media: bytes, head: str = "data:audio/wav;base64,") -> str:
    return head + base64.b64encode(media).decode()


ANN = data_url(b"VOICE of Ann")


async def test_known_names_label_their_segments(gateway: Running) -> None:
    bob = data_url(b"VOICE of Bob" + bytes(MAX_REFERENCE_BYTES - 20), "data:audio/mp4;codecs=mp4a;base64,")
    async with client_of(gateway) as client:
        answer, job = await transcribed(
            gateway,
            client,
            response_format="diarized_json",
            known_speaker_names=["Ann", "Bob"],
            known_speaker_references=[ANN, bob],
        )
    assert [part.speaker for part in answer.segments] == ["A", "Ann"]
    assert [speaker.name for speaker in job.config.known_speakers] == ["Ann", "Bob"]
    assert job.config.known_speakers[0].embedding == hashlib.sha256(b"VOICE of Ann").digest()


async def test_known_speakers_tell_speakers_apart_in_every_format(gateway: Running) -> None:
    async with client_of(gateway) as client:
        _, job = await transcribed(gateway, client, known_speaker_names=["Ann"], known_speaker_references=[ANN])
    assert job.config.diarize


@pytest.mark.parametrize(
    ("names", "references"),
    [
        (["Ann"], []),
        ([], [ANN]),
        (["Ann", "Bob"], [ANN]),
        (["Ann", "Ann"], [ANN, ANN]),
        (["a", "b", "c", "d", "e"], [ANN] * 5),
        (["x" * 65], [ANN]),
        (["two\nlines"], [ANN]),
        (["Ann"], ["https://example.com/ann.wav"]),
        (["Ann"], ["data:audio/wav,plain"]),
        (["Ann"], ["data:audio/wav;base64,%%%"]),
        (["Ann"], ["data:audio/wav;base64,"]),
        (["Ann"], [data_url(b"TEXT")]),
        (["Ann"], [data_url(b"MUSIC")]),
        (["Ann"], [data_url(b"LONG")]),
        (["Ann"], [data_url(bytes(MAX_REFERENCE_BYTES + 1))]),
    ],
)
async def test_speakers_that_cannot_be_known_are_refused_and_leave_nothing(gateway: Running, names: Any, references: Any) -> None:
    async with client_of(gateway) as client:
        asked = {"known_speaker_names": names, "known_speaker_references": references}
        with pytest.raises(BadRequestError) as refused:
            await client.audio.transcriptions.create(file=SOUND, model="whisper-1", **asked)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.param in asked
    assert gateway.world.media_of(client.api_key) == []


@pytest.mark.parametrize("keywords", [["x"] * 300, ["x" * 65_537], ["x" * 60_000] * 250])
async def test_form_is_bounded_in_fields_and_bytes(gateway: Running, keywords: list[str]) -> None:
    large = data_url(b"VOICE" + bytes(MAX_REFERENCE_BYTES - 5))
    speakers: Any = {"known_speaker_names": ["Ann", "Bob", "Cy"], "known_speaker_references": [large] * 3}
    async with client_of(gateway) as client:
        with pytest.raises(BadRequestError) as refused:
            await client.audio.transcriptions.create(file=SOUND, model="whisper-1", keywords=keywords, **speakers)
    assert "at most" in refused.value.message
