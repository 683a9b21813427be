"""Every contract says how far a transcript is to be trusted, and lets a caller be strict about it."""

import time
from typing import Any

import httpx2
import pytest
from openai.types.audio import TranscriptionDiarized, TranscriptionVerbose

from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Gap, Segment, SpokenLanguage, Transcript
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, submit
from tests.gateway.openai_client import client_of, transcribed

pytestmark = pytest.mark.asyncio(loop_scope="session")

TROUBLED = Transcript(
    text="Well.",
    language="en",
    languages=[SpokenLanguage(language="en", duration_ms=9_000), SpokenLanguage(language="de", duration_ms=1_500)],
    speech_detected=True,
    speech_ratio=0.75,
    engine="triton",
    model="whisper-small",
    audio_duration_ms=20_000,
    segments=[
        Segment(
            start_offset_ms=0,
            end_offset_ms=900,
            text="Well.",
            language="de",
            flags=["low_confidence", "repetition"],
            avg_logprob=-1.25,
            no_speech_prob=0.5,
            compression_ratio=1.5,
            temperature=0.4,
        )
    ],
    gaps=[Gap(start_offset_ms=1_000, end_offset_ms=4_500, reason="REPETITIVE_TEXT")],
)
QUALITY = {
    "speech_detected": True,
    "speech_ratio": 0.75,
    "languages": [{"language": "en", "duration": 9.0}, {"language": "de", "duration": 1.5}],
    "truncated": False,
    "gaps": [{"start": 1.0, "end": 4.5, "reason": "REPETITIVE_TEXT"}],
    "engine": "triton",
    "model": "whisper-small",
}
SUBMITS = {
    "native": ("/api/v1/transcribe", "job_id"),
    "icana": ("/icana/api/v1/transcribe", "job_id"),
    "actionvibe": ("/api/transcriptions", "transcription_id"),
}


async def submit_to(contract: str, client: httpx2.AsyncClient, **fields: str) -> Any:
    return await client.post(SUBMITS[contract][0], files={"file": ("talk.wav", AUDIO)}, data=fields)


@pytest.mark.parametrize("contract", SUBMITS)
@pytest.mark.parametrize(("text", "strict"), [("true", True), ("1", True), ("false", False), (None, False)])
async def test_form_of_every_contract_can_be_strict(
    gateway: Running, client: httpx2.AsyncClient, contract: str, text: str | None, strict: bool
) -> None:
    answer = await submit_to(contract, client, **({"strict": text} if text else {}))
    assert gateway.world.jobs[answer.json()[SUBMITS[contract][1]]].config.strict is strict


@pytest.mark.parametrize("contract", SUBMITS)
async def test_neither_true_nor_false_is_refused(client: httpx2.AsyncClient, contract: str) -> None:
    answer = await submit_to(contract, client, strict="maybe")
    assert 400 <= answer.status_code < 500
    assert "strict" in answer.text


@pytest.mark.parametrize(
    ("path", "order"), [("transcribe/url", {"url": "https://media.example/a.mp3"}), ("uploads/init", {"filename": "a.mp3"})]
)
async def test_order_in_json_can_be_strict_and_its_row_says_so(
    gateway: Running, client: httpx2.AsyncClient, path: str, order: dict[str, str]
) -> None:
    job_id = (await client.post(f"/api/v1/{path}", json={**order, "strict": True})).json()["job_id"]
    assert gateway.world.jobs[job_id].config.strict
    assert (await client.get(f"/api/v1/jobs/{job_id}")).json()["strict"] is True
    assert (await client.post(f"/api/v1/{path}", json={**order, "strict": "yes"})).status_code == 422


@pytest.mark.parametrize(("extra", "strict"), [({"strict": "true"}, True), ({}, False)])
async def test_openai_request_can_be_strict(gateway: Running, extra: dict[str, str], strict: bool) -> None:
    async with client_of(gateway) as client:
        _, job = await transcribed(gateway, client, extra_body=extra)
    assert job.config.strict is strict


async def test_native_document_tells_gaps_languages_and_what_made_it(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, TROUBLED)
    document = (await client.get(f"/api/v1/jobs/{job_id}/result")).json()
    assert {name: document[name] for name in QUALITY} == QUALITY
    segment = document["segments"][0]
    assert (segment["language"], segment["flags"]) == ("de", ["low_confidence", "repetition"])
    measures = ("avg_logprob", "no_speech_prob", "compression_ratio", "temperature")
    assert [segment[name] for name in measures] == [-1.25, 0.5, 1.5, 0.4]


@pytest.mark.parametrize(("form", "kind"), [("verbose_json", TranscriptionVerbose), ("diarized_json", TranscriptionDiarized)])
async def test_openai_documents_tell_the_same_to_the_official_client(gateway: Running, form: Any, kind: type[Any]) -> None:
    async with client_of(gateway) as client:
        answer, _ = await transcribed(gateway, client, TROUBLED, response_format=form)
    assert isinstance(answer, kind)
    told = answer.model_dump()
    assert {name: told[name] for name in QUALITY} == QUALITY
    assert (told["segments"][0]["language"], told["segments"][0]["flags"]) == ("de", ["low_confidence", "repetition"])


@pytest.mark.parametrize(("contract", "row"), [("icana", "/icana/api/v1/jobs/"), ("actionvibe", "/api/transcription/")])
async def test_rows_of_other_contracts_carry_the_quality_once_there_is_one(
    gateway: Running, client: httpx2.AsyncClient, contract: str, row: str
) -> None:
    job_id = (await submit_to(contract, client)).json()[SUBMITS[contract][1]]
    assert (await client.get(row + job_id)).json()["quality"] is None
    await gateway.world.finish(job_id, TROUBLED)
    assert (await client.get(row + job_id)).json()["quality"] == QUALITY


async def test_estimate_follows_the_pace_and_is_null_before_there_is_one(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]

    async def estimate() -> float | None:
        told: float | None = (await client.get(f"/api/v1/jobs/{job_id}")).json()["estimated_seconds"]
        return told

    assert await estimate() is None
    gateway.world.jobs[job_id].start_time.FromSeconds(int(time.time()) - 60)
    await gateway.world.update(job_id, state=Job.STATE_PROCESSING, progress=0.05)
    assert await estimate() is None
    await gateway.world.update(job_id, progress=0.25)
    assert await estimate() == pytest.approx(180, abs=10)
    await gateway.world.update(job_id, state=Job.STATE_DONE, progress=1.0)
    assert await estimate() is None
