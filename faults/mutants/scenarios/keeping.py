"""Bytes that must go, and services that must end."""

from faults.mutants.player import blob_of, playing, quiet
from faults.mutants.promises import Promise, expect
from faults.mutants.scenarios.claims import goes
from faults.mutants.stage import SERVICES, Stage

_STOP_SECONDS = 15.0


async def reaper_dies(stage: Stage) -> None:
    """Storage dies while it removes what was deleted."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        claim = await worker.claimed(job_id)
        recording = blob_of(stage, claim.job.media_id)
        await worker.finish(claim)
        await client.ended(job_id, "done")
        stage.arm("storage", "storage.reap.before_row")
        await client.delete(job_id)
        await stage.crash("storage")
        await stage.start("storage")
        await goes(recording)


async def told_to_stop(stage: Stage) -> None:
    """Every service gets SIGTERM."""
    async with playing(stage) as (client, _):
        await client.submitted()
    for service in reversed(SERVICES):
        status, seconds = await stage.stop(service)
        orderly = status == 0 and seconds < _STOP_SECONDS
        expect(orderly, Promise.STOPS, f"{service} ended with {status} after {seconds:.1f} s")


async def power_cut(stage: Stage) -> None:
    """The power goes as soon as an order is accepted."""
    async with playing(stage) as (client, _):
        job_id = await client.submitted()
        await stage.cut_power()
    await _goes_on(stage, job_id)


async def _goes_on(stage: Stage, job_id: str) -> None:
    async with playing(stage) as (client, worker):
        if (claim := await worker.claim(job_id)) is not None:
            await worker.finish(claim)
            await client.ended(job_id, "done")


async def power_cut_before_charge(stage: Stage) -> None:
    """The power goes while the ending of a job is on the bus and nowhere else."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        claim = await worker.claimed(job_id)
        stage.kill("billing")
        await worker.finish(claim)
        await worker.taken(claim)
        await quiet(stage)
        await stage.cut_power()
