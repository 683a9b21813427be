"""Dropped connections, timeouts and the retries of the official client: one job, whatever happens."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.openai_client import SOUND, TALK, client_of, transcribed

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_client_that_times_out_and_retries_finds_its_first_job(gateway: Running) -> None:
    async with client_of(gateway, max_retries=2) as client:
        call = asyncio.create_task(
            client.audio.transcriptions.create(file=SOUND, model="whisper-1", temperature=0.5, timeout=httpx2.Timeout(20, read=0.5)),
            name="call",
        )
        job = await gateway.world.submitted(client.api_key)
        async with asyncio.timeout(60), gateway.world.changed:
            await gateway.world.changed.wait_for(lambda: gateway.world.creations[job.id] > 1)
        await gateway.world.finish(job.id, TALK)
        assert (await call).text == TALK.text
    assert len(gateway.world.jobs_of(client.api_key)) == 1
    assert len(gateway.world.media_of(client.api_key)) == 1


async def test_other_parameters_or_bytes_or_keys_make_another_job(gateway: Running) -> None:
    async with client_of(gateway) as client, client_of(gateway) as stranger:
        _, first = await transcribed(gateway, client)
        await transcribed(gateway, stranger)
        again = await client.audio.transcriptions.with_raw_response.create(file=SOUND, model="whisper-1")
        assert again.headers["x-steno-job-id"] == first.id
        others: list[dict[str, Any]] = [{"temperature": 0.1}, {"file": SOUND + b"x"}, {"language": "de"}]
        for number, asked in enumerate(others, start=2):
            asked = {"file": SOUND, "model": "whisper-1", **asked}
            call = asyncio.create_task(client.audio.transcriptions.create(**asked), name="call")
            job = await gateway.world.submitted(client.api_key, number)
            await gateway.world.finish(job.id, TALK)
            await call
    assert len(gateway.world.jobs_of(client.api_key)) == 4


async def test_users_of_one_key_have_jobs_of_their_own(gateway: Running) -> None:
    key = gateway.world.new_key(scopes=["read", "write", "act_as_user"])
    async with client_of(gateway, key) as client:
        for number, email in enumerate(("ann@example.com", "bob@example.com"), start=1):
            calling = client.audio.transcriptions.create(file=SOUND, model="whisper-1", extra_headers={"x-user-email": email})
            call: asyncio.Future[Any] = asyncio.ensure_future(calling)
            job = await gateway.world.submitted(key, number)
            await gateway.world.finish(job.id, TALK)
            assert (await call).text == TALK.text
    assert len({job.owner for job in gateway.world.jobs_of(key)}) == 2


async def test_job_outlives_its_connection_and_is_read_by_the_native_contract(gateway: Running) -> None:
    async with client_of(gateway) as client:
        call = asyncio.create_task(client.audio.transcriptions.create(file=SOUND, model="whisper-1"), name="call")
        job = await gateway.world.submitted(client.api_key)
        call.cancel()
        await asyncio.wait({call})
        await gateway.world.finish(job.id, TALK)
        async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": client.api_key}, verify=False) as native:
            row = (await native.get(f"/api/v1/jobs/{job.id}")).json()
            assert (row["status"], row["source"]) == ("done", "api")
            assert (await native.get(f"/api/v1/jobs/{job.id}/result")).json()["text"] == TALK.text


async def test_waits_end_when_their_clients_go(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as gateway, client_of(gateway) as client:
        call = asyncio.create_task(client.audio.transcriptions.create(file=SOUND, model="whisper-1"), name="call")
        async with asyncio.timeout(60), gateway.world.changed:
            await gateway.world.changed.wait_for(lambda: gateway.world.watching == 1)
            call.cancel()
            await gateway.world.changed.wait_for(lambda: gateway.world.watching == 0)


async def test_waits_are_bounded_and_the_one_too_many_finds_its_job_later(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, max_event_streams=1) as gateway, client_of(gateway) as client, client_of(gateway) as other:
        call = asyncio.create_task(client.audio.transcriptions.create(file=SOUND, model="whisper-1"), name="call")
        async with asyncio.timeout(60), gateway.world.changed:
            await gateway.world.changed.wait_for(lambda: gateway.world.watching == 1)
        with pytest.raises(openai.InternalServerError) as busy:
            await other.audio.transcriptions.create(file=SOUND, model="whisper-1")
        assert (busy.value.status_code, busy.value.code) == (503, "overloaded")
        job = gateway.world.jobs_of(other.api_key)[0]
        assert busy.value.response.headers["x-steno-job-id"] == job.id
        await gateway.world.finish(gateway.world.jobs_of(client.api_key)[0].id, TALK)
        await gateway.world.finish(job.id, TALK)
        assert (await call).text == (await other.audio.transcriptions.create(file=SOUND, model="whisper-1")).text


async def test_wait_that_takes_too_long_says_to_ask_again(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, openai_wait_seconds=0.2) as gateway, client_of(gateway) as client:
        with pytest.raises(openai.InternalServerError) as late:
            await client.audio.transcriptions.create(file=SOUND, model="whisper-1")
        assert (late.value.status_code, late.value.code) == (503, "not_ready")
        assert late.value.response.headers["retry-after"]
        job = gateway.world.jobs_of(client.api_key)[0]
        assert late.value.response.headers["x-steno-job-id"] == job.id
        await gateway.world.finish(job.id, TALK)
        assert (await client.audio.transcriptions.create(file=SOUND, model="whisper-1")).text == TALK.text


async def test_guest_gets_the_transcript_and_the_proof_of_the_job(gateway: Running) -> None:
    key = gateway.world.new_key(ApiKey.KIND_APP)
    async with client_of(gateway, key) as client:
        raw = client.audio.transcriptions.with_raw_response
        call: asyncio.Future[Any] = asyncio.ensure_future(raw.create(file=SOUND, model="whisper-1"))
        job = await gateway.world.submitted(key)
        await gateway.world.finish(job.id, TALK)
        answer = await call
    assert answer.parse().text == TALK.text
    headers = {"x-api-key": key, "x-claim-token": answer.headers["x-claim-token"]}
    async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as native:
        assert (await native.get(f"/api/v1/jobs/{job.id}", headers={"x-api-key": key})).status_code == 401
        assert (await native.get(f"/api/v1/jobs/{job.id}", headers=headers)).json()["status"] == "done"


async def test_guests_of_one_key_with_the_same_file_get_neither_each_others_job_nor_its_proof(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, trusted_proxies=["127.0.0.0/8"]) as gateway:
        key = gateway.world.new_key(ApiKey.KIND_APP)
        proofs = []
        async with client_of(gateway, key) as client:
            for number, address in ((1, "198.51.100.1"), (2, "198.51.100.2"), (2, "198.51.100.1")):
                raw = client.audio.transcriptions.with_raw_response
                asking = raw.create(file=SOUND, model="whisper-1", extra_headers={"x-forwarded-for": address})
                call: asyncio.Future[Any] = asyncio.ensure_future(asking)
                job = await gateway.world.submitted(key, number)
                await gateway.world.finish(job.id, TALK)
                proofs.append((await call).headers["x-claim-token"])
    assert proofs[0] == proofs[2] != proofs[1]
