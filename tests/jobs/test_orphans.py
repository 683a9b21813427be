"""Media that no job was made from goes; all other media stays."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from services.jobs.settings import JobsSettings
from services.mesh.status import RemoteError
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.storage_service_pb2 import ListMediaRequest
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, claim, until

QUICK = {"orphan_media_interval_seconds": 0.1}
OLD, YOUNG = timedelta(hours=3), timedelta(hours=1, minutes=59)


def begin_of(request: ListMediaRequest) -> datetime:
    return request.create_time_from.ToDatetime(tzinfo=UTC)


def before_of(request: ListMediaRequest) -> datetime:
    return request.create_time_before.ToDatetime(tzinfo=UTC)


async def has_ended(owner: Owner, job_id: str) -> bool:
    return await owner.state(job_id) in (Job.STATE_DONE, Job.STATE_FAILED)


async def test_media_without_a_job_is_removed_once_it_is_old_enough(stage: StageFactory) -> None:
    async with stage(**QUICK) as mesh, mesh.jobs():
        young = mesh.storage.add_media("ws", age=YOUNG)
        for workspace_id in ("ws", "other"):
            for hours in (3, 24):
                mesh.storage.add_media(workspace_id, age=timedelta(hours=hours))
        await until(lambda: list(mesh.storage.media) == [("ws", young)])
        walks = len(mesh.storage.listings)
        await until(lambda: len(mesh.storage.listings) > walks + 5)
        assert list(mesh.storage.media) == [("ws", young)], "media that a job may yet be made from was removed"


async def test_media_of_a_job_is_never_removed_however_old(stage: StageFactory) -> None:
    async with stage(**QUICK) as mesh:
        async with mesh.jobs(orphan_media_interval_seconds=3600):
            owner, worker = await mesh.owner(), await mesh.worker()
            queued, taken, done, failed, deleted = [
                (await owner.create(mesh.storage.add_media("ws"), key=f"k{number}")).job for number in range(5)
            ]
            await claim(worker, taken.id)
            artefact_id = mesh.storage.add_artefact("ws")
            await mesh.complete(done.id, (await claim(worker, done.id)).fence, artefact_id)
            await mesh.complete(deleted.id, (await claim(worker, deleted.id)).fence, mesh.storage.add_artefact("ws"))
            await mesh.fail(failed.id, (await claim(worker, failed.id)).fence, retryable=False)
            for job in (done, deleted, failed):
                await until(partial(has_ended, owner, job.id))
            await owner.delete(deleted.id)
        mesh.storage.age_media(OLD)
        orphan = mesh.storage.add_media("ws", age=OLD)
        async with mesh.jobs():
            await until(lambda: ("ws", orphan) not in mesh.storage.media)
            walks = len(mesh.storage.listings)
            await until(lambda: len(mesh.storage.listings) > walks + 5)
            kept = {("ws", job.media_id) for job in (queued, taken, done, failed)}
            await until(lambda: set(mesh.storage.media) == kept)
            assert ("ws", artefact_id) in mesh.storage.artefacts
            assert (await owner.create(queued.media_id, key="k0")).replayed


async def test_no_job_is_made_of_media_that_is_about_to_be_removed(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs(orphan_media_seconds=7200):
        owner = await mesh.owner()
        with pytest.raises(RemoteError) as refusal:
            await owner.create(mesh.storage.add_media("ws", age=timedelta(minutes=111)))
        assert refusal.value.reason_name == "MEDIA_NOT_FOUND"
        assert mesh.billing.reserve_count == 0
        await owner.create(mesh.storage.add_media("ws", age=timedelta(minutes=109)))


async def test_many_orphans_are_removed_in_bounded_turns(stage: StageFactory) -> None:
    async with stage(**QUICK, cleanup_interval_seconds=0.05) as mesh:
        for number in range(100):
            mesh.storage.add_media("ws", age=OLD + timedelta(seconds=number))
        async with mesh.jobs():
            await until(lambda: not mesh.storage.media)


async def test_a_walk_goes_on_where_the_last_one_ended_and_a_restart_looks_a_day_back(stage: StageFactory) -> None:
    async with stage(**QUICK) as mesh:
        for _ in range(2):
            mesh.storage.listings.clear()
            async with mesh.jobs():
                await until(lambda: len(mesh.storage.listings) >= 4)
            first, *later = mesh.storage.listings
            assert before_of(first) - begin_of(first) == timedelta(hours=25)
            assert abs(datetime.now(UTC) - timedelta(hours=2) - before_of(first)) < timedelta(minutes=1)
            assert [begin_of(request) for request in later] == [before_of(request) for request in mesh.storage.listings[:-1]]


async def test_orphans_go_when_storage_is_back(stage: StageFactory) -> None:
    async with stage(**QUICK) as mesh:
        mesh.storage.add_media("ws", age=OLD)
        mesh.storage.broken = True
        async with mesh.jobs():
            await until(lambda: mesh.storage.refusal_count >= 2)
            assert len(mesh.storage.media) == 1
            mesh.storage.broken = False
            await until(lambda: not mesh.storage.media)


def test_the_age_cannot_be_set_below_the_longest_upload() -> None:
    with pytest.raises(ValueError, match="orphan_media_seconds"):
        JobsSettings(orphan_media_seconds=5399)
