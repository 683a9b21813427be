"""Orders: one job for each key, whatever happens, and none seen by others."""

import asyncio

import httpx2

from faults.mutants.gateway import calling_for
from faults.mutants.player import playing
from faults.mutants.promises import Promise, expect
from faults.mutants.stage import Stage
from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from steno.billing.v1.accounts_service_pb2 import CreateApiKeyRequest, CreateWorkspaceRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceStub
from tests.e2e.mesh import SAMPLES

_OTHER = SAMPLES / "clips" / "two_voices.ogg"
_AT_ONCE = 12


async def key_raced(stage: Stage) -> None:
    """The same order with the same key, many times at once; each has stored its recording before."""
    async with playing(stage) as (client, _), calling_for(stage) as gateway:
        media_ids = [await gateway.upload() for _ in range(_AT_ONCE)]
        await asyncio.gather(*(gateway.order(media_id, "raced") for media_id in media_ids))
        for job_id in {call.job_id for call in stage.calls if call.key == "raced" and call.job_id}:
            await client.delete(job_id)


async def key_crashed(stage: Stage) -> None:
    """The service of jobs dies after it stored an order and before it says so; the client asks again."""
    async with playing(stage) as (client, _):
        stage.arm("jobs", "jobs.create.after_commit")
        submitting = asyncio.create_task(client.submit("crashed"))
        await stage.crash("jobs")
        await stage.start("jobs")
        first = await submitting
        job_id = await client.submitted("crashed")
        rows = stage.rows("jobs", "SELECT id FROM job WHERE state NOT IN (3, 4, 5)")
        expect([row["id"] for row in rows] == [job_id], Promise.ONE_JOB, f"{len(rows)} jobs, the first answer was {first.status}")
        await client.delete(job_id)


async def key_reused(stage: Stage) -> None:
    """A key comes again with another file."""
    async with playing(stage) as (client, _):
        job_id = await client.submitted("reused")
        other = await client.submit("reused", _OTHER.read_bytes(), _OTHER.name)
        told = (other.status, other.body.get("code"))
        expect(told == (422, "IDEMPOTENCY_KEY_REUSED"), Promise.KEY_COMPARED, f"the other order was answered with {told}")
        await client.delete(job_id)


async def many_at_once(stage: Stage) -> None:
    """Many jobs are cancelled at the same moment."""
    async with playing(stage) as (client, _), calling_for(stage) as gateway:
        job_ids = [await client.submitted() for _ in range(_AT_ONCE)]
        refusals = [refusal for refusal in await asyncio.gather(*map(gateway.cancel, job_ids)) if refusal]
        for job_id in job_ids:
            await client.delete(job_id)
        expect(not refusals, Promise.SIMULTANEOUS, f"{len(refusals)} of {_AT_ONCE} refused: {refusals[:1]}")


async def read_by_others(stage: Stage) -> None:
    """Another workspace asks for a job, and for one that never was; then it deletes the job."""
    async with playing(stage) as (client, _):
        job_id = await client.submitted()
        async with stage.client(await _other_key(stage)) as other:
            foreign, random = await _get(other, job_id), await _get(other, new_id())
            expect(foreign == random, Promise.HIDDEN, f"{foreign} for a foreign job, {random} for none")
            await other.delete(f"/api/v1/jobs/{job_id}")
        status = await client.status(job_id)
        expect(status == "queued", Promise.HIDDEN, f"another workspace made the job {status}")
        await client.delete(job_id)


async def _get(client: httpx2.AsyncClient, job_id: str) -> tuple[int, str]:
    response = await client.get(f"/api/v1/jobs/{job_id}")
    return response.status_code, response.text.replace(job_id, "ID")


async def _other_key(stage: Stage) -> str:
    address = stage.ready["grpc"]["billing"]
    async with open_channel(address, audience="billing", signer=stage.signer("operator")) as channel:
        accounts = AccountsServiceStub(channel)
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            made = await accounts.CreateWorkspace(CreateWorkspaceRequest(name="other"))
        with calling_as(Caller(CallerKind.OPERATOR, "operator", made.workspace.id, "workspace")):
            return str((await accounts.CreateApiKey(CreateApiKeyRequest(name="other"))).secret)
