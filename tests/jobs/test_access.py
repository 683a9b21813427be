"""Whose a job is, and what everybody else learns of it."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from services.mesh.ids import new_id
from services.mesh.status import RemoteError, from_rpc_error
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CompleteUploadRequest, FindJobRequest, SummarizeJobsRequest
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceStub
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner

if TYPE_CHECKING:
    from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceAsyncStub


async def refusal(call: Awaitable[Any]) -> RemoteError:
    """Why a call was refused."""
    with pytest.raises(RemoteError) as refused:
        await call
    return refused.value


def attempts(asking: Owner, job_id: str) -> list[Awaitable[Any]]:
    """Every way to a job by its id."""
    return [
        asking.get(job_id),
        asking.cancel(job_id),
        asking.delete(job_id),
        asking.call("CompleteUpload", CompleteUploadRequest(job_id=job_id)),
        anext(asking.watch(job_id)),
        anext(asking.watch_text(job_id)),
    ]


async def answers(asking: Owner, job_id: str) -> set[tuple[str, str, str]]:
    """How the ways to a job are refused, without its id."""
    refusals = [await refusal(attempt) for attempt in attempts(asking, job_id)]
    return {(error.code.name, str(error).replace(job_id, "ID"), str(error.metadata).replace(job_id, "ID")) for error in refusals}


async def test_a_guest_without_proof_is_asked_for_it_and_learns_nothing_of_other_tenants(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        guest, workspace, user = await mesh.guest(), await mesh.owner(), await mesh.user("u1")
        made = [await caller.create(mesh.storage.add_media("ws")) for caller in (guest, workspace, user)]
        for answer in made:
            assert {reason.split(":")[0] for _, reason, _ in await answers(guest, answer.job.id)} == {
                "UNAUTHENTICATED AUTHENTICATION_REQUIRED"
            }
        stranger = await mesh.guest(workspace_id="other")
        foreign, random = await answers(stranger, made[0].job.id), await answers(stranger, new_id())
        assert foreign == random
        assert len(foreign) == 1
        assert next(iter(foreign))[0] == "NOT_FOUND"
        assert await answers(guest, new_id()) == random


async def test_with_a_proof_that_does_not_fit_a_foreign_job_looks_like_none(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        guests = await mesh.guest()
        mine = await guests.create(mesh.storage.add_media("ws"))
        theirs = await guests.create(mesh.storage.add_media("ws"))
        wrong = [
            await mesh.guest(theirs.claim_token),
            await mesh.guest("0" * 64),
            await mesh.guest(wallet_id=new_id()),
            await mesh.user("u1"),
            await mesh.owner(),
            await mesh.owner("other"),
        ]
        for asking in wrong:
            foreign = await answers(asking, mine.job.id)
            assert foreign == await answers(asking, new_id())
            assert {code for code, _, _ in foreign} == {"NOT_FOUND"}
        assert (await (await mesh.guest(mine.claim_token)).get(mine.job.id)) == mine.job


async def test_a_claim_token_proves_its_job_whoever_shows_it(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        made = await (await mesh.guest()).create(mesh.storage.add_media("ws"))
        for holder in (await mesh.guest(made.claim_token), await mesh.user("u1", made.claim_token)):
            assert await holder.get(made.job.id) == made.job
            assert (await anext(holder.watch(made.job.id))).id == made.job.id
        await (await mesh.guest(made.claim_token)).delete(made.job.id)
        assert (await holder.get(made.job.id)).state == Job.STATE_CANCELLED


async def test_guests_of_one_key_list_only_what_they_prove(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        guests, buyer = await mesh.guest(), await mesh.guest(wallet_id=new_id())
        made = [await guests.create(mesh.storage.add_media("ws")) for _ in range(3)]
        bought = await buyer.create(mesh.storage.add_media("ws"))
        assert [answer.claim_token != "" for answer in (*made, bought)] == [True, True, True, False]
        assert (await guests.list()).total_size == 0
        assert (await guests.call("SummarizeJobs", SummarizeJobsRequest())).total_count == 0
        proven = await mesh.guest(made[1].claim_token)
        page = await proven.list()
        assert ([job.id for job in page.jobs], page.total_size, page.next_page_token) == ([made[1].job.id], 1, "")
        assert (await proven.call("SummarizeJobs", SummarizeJobsRequest())).total_count == 1
        assert (await proven.list(states=[Job.STATE_DONE])).total_size == 0
        assert list((await proven.list(skip=1)).jobs) == []
        assert [job.id for job in (await buyer.list()).jobs] == [bought.job.id]
        assert (await refusal(proven.list(page_token="abc"))).reason_name == "INVALID_PAGE_TOKEN"


async def test_users_see_their_own_jobs_only(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        one, two = await mesh.user("u1"), await mesh.user("u2")
        first = await one.create(mesh.storage.add_media("ws"))
        assert mesh.billing.holds[first.job.id].workspace_id == "u1", "the user's own wallet pays"
        assert [job.id for job in (await one.list()).jobs] == [first.job.id]
        assert (await two.list()).total_size == 0
        assert (await refusal(two.get(first.job.id))).reason_name == "JOB_NOT_FOUND"


async def test_a_key_of_another_owner_is_refused_under_the_same_api_key(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        one, two = await mesh.user("u1"), await mesh.user("u2")
        await one.create(mesh.storage.add_media("ws"), key="k")
        assert (await refusal(two.create(mesh.storage.add_media("ws"), key="k"))).reason_name == "IDEMPOTENCY_KEY_REUSED"
        assert (await one.create(mesh.storage.add_media("ws"), key="k")).replayed


async def test_an_app_key_by_itself_finds_no_guests_job_by_guessing_its_key(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        made = await (await mesh.guest()).create(mesh.storage.add_media("ws"), key="1")
        assert (await (await mesh.guest()).call("FindJob", FindJobRequest(idempotency_key="1"))).claim_token == made.claim_token
        async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.settings.port}") as channel:
            stub: JobsServiceAsyncStub = JobsServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.FindJob(FindJobRequest(idempotency_key="1"), metadata=(("x-api-key", "sk_live_app"),), timeout=60)
        assert from_rpc_error(refused.value).reason_name == "JOB_NOT_FOUND"
