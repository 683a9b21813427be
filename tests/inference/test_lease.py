"""A lease lasts as long as its work, and not a moment longer than jobs agrees."""

import asyncio
import time
from datetime import timedelta

import pytest

from services.inference.domain import LeaseLost, Stopped
from services.inference.lease import Lease, claim, kept
from services.mesh.identity import acting_for
from services.mesh.status import RemoteError
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from tests.inference.peers import OWNER, WORKSPACE
from tests.inference.stage import SILENCE, Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUICK_SECONDS = 0.6


async def claimed(stage: Stage, lease_seconds: float = QUICK_SECONDS) -> Lease:
    stage.work.lease_seconds = lease_seconds
    lease = await claim(stage.bench.work, stage.job(SILENCE).id, "worker")
    assert lease is not None
    return lease


async def keep_until_lost(lease: Lease) -> None:
    async with asyncio.timeout(60), kept(lease, asyncio.Event()):
        await asyncio.Event().wait()


async def test_lease_is_kept_while_work_goes_on(stage: Stage) -> None:
    lease = await claimed(stage)
    started = time.monotonic()
    async with kept(lease, asyncio.Event()):
        lease.advance(0.25)
        await until(lambda: len(stage.work.reports) >= 6, "six extensions")
    assert time.monotonic() - started > 2 * QUICK_SECONDS * 0.9
    assert stage.work.reports[-1].progress == 0.25
    told = len(stage.work.reports)
    assert await claim(stage.bench.work, lease.job.id, "another") is None
    assert len(stage.work.reports) == told


async def test_stale_fence_ends_the_work(stage: Stage) -> None:
    lease = await claimed(stage)
    stage.work.take_over(lease.job.id)
    with pytest.raises(LeaseLost):
        await keep_until_lost(lease)


async def test_lease_survives_jobs_being_away_for_less_than_its_length(stage: Stage) -> None:
    lease = await claimed(stage, 1.5)
    stage.work.away["ExtendLease"] = 3
    async with kept(lease, asyncio.Event()):
        await until(lambda: len(stage.work.reports) >= 2, "extensions after the silence")
    assert stage.work.refused == 3


async def test_work_ends_when_jobs_is_away_for_longer_than_the_lease(stage: Stage) -> None:
    lease = await claimed(stage)
    stage.work.away["ExtendLease"] = 1_000_000
    started = time.monotonic()
    with pytest.raises(LeaseLost):
        await keep_until_lost(lease)
    assert QUICK_SECONDS * 0.9 < time.monotonic() - started < QUICK_SECONDS * 10


async def test_stopping_ends_the_work(stage: Stage) -> None:
    lease, stopping = await claimed(stage, 30), asyncio.Event()
    stopping.set()
    with pytest.raises(Stopped):
        async with asyncio.timeout(60), kept(lease, stopping):
            await asyncio.Event().wait()


async def test_loss_outweighs_what_else_goes_wrong(stage: Stage) -> None:
    lease = await claimed(stage)
    stage.work.take_over(lease.job.id)

    async def break_when_cancelled() -> None:
        async with kept(lease, asyncio.Event()):
            try:
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

    with pytest.raises(LeaseLost):
        await break_when_cancelled()


async def test_progress_never_falls(stage: Stage) -> None:
    lease = await claimed(stage, 30)
    for progress in (0.5, 0.2, 7.0):
        lease.advance(progress)
        assert await lease.report()
    assert stage.work.progress() == [0.5, 0.5, 1.0]


async def test_window_waits_for_jobs_and_is_refused_when_stale(stage: Stage) -> None:
    lease = await claimed(stage, 30)
    stage.work.away["PutWindow"] = 6
    await lease.put_window(0, WindowTranscript(language="en"), 0.5)
    assert [put.index for put in stage.work.put] == [0]
    assert await lease.list_windows(WindowTranscript) == {0: WindowTranscript(language="en")}
    stage.work.take_over(lease.job.id)
    with pytest.raises(LeaseLost):
        await lease.put_window(1, WindowTranscript(), 0.6)
    with pytest.raises(LeaseLost):
        await lease.list_windows(WindowTranscript)


async def test_release_is_repeated_until_jobs_hears_it(stage: Stage) -> None:
    lease = await claimed(stage, 30)
    stage.work.away["ReleaseWork"] = 3
    with acting_for(WORKSPACE, OWNER):
        await lease.release(timedelta(seconds=7))
        await lease.release()
    assert [release.delay.seconds for release in stage.work.released] == [7]


async def test_claim_passes_on_what_it_cannot_judge(stage: Stage) -> None:
    stage.work.away["ClaimWork"] = 1
    with pytest.raises(RemoteError):
        await claim(stage.bench.work, stage.job(SILENCE).id, "worker")
