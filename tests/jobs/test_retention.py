"""Audio goes when its time is over, not before; transcripts stay."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from services.jobs.app import MIGRATIONS, SCHEMA
from services.jobs.domain import Policy
from services.jobs.store.jobs import JOB
from services.jobs.store.keys import KEY, ClientKey, KeyUse, take_keys
from services.jobs.usecases.retention import expire_audio
from services.jobs.workers import AudioExpirer
from services.mesh.database import open_database
from services.mesh.ids import new_id
from services.mesh.migrations import migrate
from services.mesh.semconv import RETENTION_REFUSALS
from services.mesh.status import RemoteError
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest, FindJobRequest
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, claim, until
from tests.jobs.test_access import refusal
from tests.jobs.test_store import changed, job_in, run


async def in_state(owner: Owner, job_id: str, state: int) -> bool:
    return await owner.state(job_id) == state


async def test_audio_goes_with_its_window_and_the_transcript_stays(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        worker = await mesh.worker()
        short, long = await mesh.user("short"), await mesh.user("long")
        mesh.billing.plans["short"], mesh.billing.plans["long"] = Plan(name="s", retention_days=0), Plan(name="l", retention_days=1)
        jobs = {}
        for user in (short, long):
            job = (await user.create(mesh.storage.add_media("ws"), key=user.caller.wallet_id)).job
            jobs[user.caller.wallet_id] = job
            await mesh.complete(job.id, (await claim(worker, job.id)).fence, mesh.storage.add_artefact("ws"))
            await until(partial(in_state, user, job.id, Job.STATE_DONE))
        assert not job.HasField("audio_expire_time")
        await until(lambda: ("ws", jobs["short"].media_id) not in mesh.storage.media)
        assert list(mesh.storage.media) == [("ws", jobs["long"].media_id)]
        assert len(mesh.storage.artefacts) == 2
        gone, kept = await short.get(jobs["short"].id), await long.get(jobs["long"].id)
        assert (gone.state, gone.transcript_artefact_id != "", gone.retention_days) == (Job.STATE_DONE, True, 0)
        assert kept.audio_expire_time.ToDatetime() - kept.complete_time.ToDatetime() == timedelta(days=1)
        assert (await refusal(short.call("FindJob", FindJobRequest(idempotency_key="short")))).reason_name == "JOB_NOT_FOUND"
        assert not (await short.create(mesh.storage.add_media("ws"), key="short")).replayed
        await short.delete(gone.id)
        assert (await refusal(short.get(gone.id))).reason_name == "JOB_NOT_FOUND"


async def test_a_key_stands_for_as_long_as_it_was_asked_to(stage: StageFactory) -> None:
    async with stage(retention_interval_seconds=600) as mesh, mesh.jobs():
        owner = await mesh.owner()

        async def order(seconds: float, key: str = "k") -> Any:
            request = CreateJobRequest(media_id=mesh.storage.add_media("ws"), source=Job.SOURCE_API, idempotency_key=key)
            request.idempotency_ttl.FromTimedelta(timedelta(seconds=seconds))
            return await owner.call("CreateJob", request)

        first = await order(1.0)
        await owner.create(mesh.storage.add_media("ws"), key="other")
        assert (await order(1.0)).job.id == first.job.id
        await until(partial(_is_free, owner, "k"))
        again = await asyncio.gather(*(order(60.0) for _ in range(20)))
        assert {answer.job.id for answer in again} - {first.job.id} == {answer.job.id for answer in again}
        assert len({answer.job.id for answer in again}) == 1
        assert sorted(answer.replayed for answer in again) == [False] + [True] * 19
        assert (await owner.create(mesh.storage.add_media("ws"), key="other")).replayed
        for seconds in (0.0, -1.0, 400 * 86_400.0):
            assert (await refusal(order(seconds))).reason_name == "INVALID_FIELD"


@dataclass
class _Told:
    """What the sweep works with, and whether it woke those who remove."""

    database: Any
    policy: Policy
    removals_waiting: Any


async def test_nothing_goes_while_database_and_machine_disagree_on_the_time(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        resources: Any = _Told(database, Policy(), asyncio.Event())
        job_id = await job_in(database, 2)
        then = datetime(2001, 1, 1, tzinfo=UTC)
        await run(database, changed(job_id, state=3, audio_expire_time=then, removal_time=then))
        before = RETENTION_REFUSALS._value.get()
        for difference in (timedelta(minutes=6), -timedelta(minutes=6), timedelta(days=1), -timedelta(days=1)):
            assert await expire_audio(resources, datetime.now(UTC) + difference) == 0
        assert RETENTION_REFUSALS._value.get() == before + 4
        assert not resources.removals_waiting.is_set()
        for difference, count in ((timedelta(minutes=4), 1), (timedelta(0), 0)):
            assert await expire_audio(resources, datetime.now(UTC) + difference) == count
        assert resources.removals_waiting.is_set()


async def test_audio_of_a_day_ago_that_is_kept_a_day_goes_and_a_second_less_stays(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        resources: Any = _Told(database, Policy(batch_size=3), asyncio.Event())
        now = datetime.now(UTC)
        due = [await job_in(database, 2) for _ in range(5)]
        later = await job_in(database, 2)
        for job_id, age in (*((job_id, timedelta(days=1)) for job_id in due), (later, timedelta(days=1) - timedelta(minutes=1))):
            expire_time = now - age + timedelta(days=1)
            await run(database, changed(job_id, state=3, complete_time=now - age, audio_expire_time=expire_time, removal_time=expire_time))
        assert [await expire_audio(resources, datetime.now(UTC)) for _ in range(3)] == [3, 2, 0]
        kept = await database.read_all(JOB.select().where(JOB.c.removal_time.is_not(None)))
        assert [row.id for row in kept] == [later]


async def test_one_turn_frees_all_keys_whose_time_is_over(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        resources: Any = _Told(database, Policy(batch_size=2), asyncio.Event())
        over = {new_id(): KeyUse(ClientKey("ws", "key", f"over-{number}"), "f", timedelta(microseconds=1)) for number in range(7)}
        kept = {new_id(): KeyUse(ClientKey("ws", "key", "kept"), "f", timedelta(hours=1))}
        async with database.transaction() as session:
            assert len(await take_keys(session, over | kept)) == 8
        await AudioExpirer(resources).turn()
        assert [row.key for row in await database.read_all(KEY.select())] == ["kept"]


@pytest.mark.parametrize("ending", ["cancel", "fail"])
async def test_other_endings_free_their_key_with_the_window_too(stage: StageFactory, ending: str) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        mesh.billing.plans["ws"] = Plan(name="s", retention_days=1)
        kept = (await owner.create(mesh.storage.add_media("ws"), key="kept")).job
        mesh.billing.plans["ws"] = Plan(name="s", retention_days=0)
        freed = (await owner.create(mesh.storage.add_media("ws"), key="freed")).job
        for job in (kept, freed):
            if ending == "cancel":
                await owner.cancel(job.id)
            else:
                await mesh.fail(job.id, (await claim(worker, job.id)).fence, retryable=False)
                await until(partial(in_state, owner, job.id, Job.STATE_FAILED))
        await until(partial(_is_free, owner, "freed"))
        assert (await owner.create(mesh.storage.add_media("ws"), key="kept")).replayed
        await until(lambda: ("ws", freed.media_id) not in mesh.storage.media)


async def _is_free(owner: Owner, key: str) -> bool:
    try:
        await owner.call("FindJob", FindJobRequest(idempotency_key=key))
    except RemoteError as error:
        return error.reason_name == "JOB_NOT_FOUND"
    return False
