"""Claims of jobs: overtaken, cancelled, and given up again and again."""

from pathlib import Path

from faults.mutants.player import blob_of, playing
from faults.mutants.promises import Promise, expect, within
from faults.mutants.stage import Stage

_GONE_SECONDS = 20.0
_GIVEN_UP_SECONDS = 40.0


async def overtaken(stage: Stage) -> None:
    """A worker loses its lease to another, and comes back with a window and a result."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        zombie = await worker.claimed(job_id)
        expect(await worker.claim(job_id) is None, Promise.ONE_WINNER, "a second claim while the lease lasts")
        await client.ended(job_id, "queued")
        second = await worker.claimed(job_id)
        expect(not await worker.put_window(zombie), Promise.ONE_WINNER, "a window of the overtaken claim was stored")
        expect(not await worker.windows(second), Promise.ONE_WINNER, "the second claim finds the window of the first")
        late = await worker.finish(zombie, 500)
        await worker.taken(zombie)
        expect(await client.status(job_id) != "done", Promise.ONE_WINNER, "the result of the overtaken claim counts")
        await worker.finish(second)
        await client.ended(job_id, "done")
        await _artefact_goes(stage, late)


async def _artefact_goes(stage: Stage, artefact_id: str) -> None:
    async def gone() -> bool:
        return not stage.rows("storage", "SELECT 1 FROM artefact WHERE id = ?", artefact_id)

    await within(_GONE_SECONDS, gone, Promise.GONE, "the losing transcript to go")


async def cancelled(stage: Stage) -> None:
    """A job is cancelled while a worker has it; then the worker's result comes."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        claim = await worker.claimed(job_id)
        recording = blob_of(stage, claim.job.media_id)
        deleted = await client.delete(job_id)
        expect(deleted.status == 204, Promise.CANCELLED_STAYS, f"DELETE was answered with {deleted.status}")
        await worker.finish(claim)
        await worker.taken(claim)
        await client.status(job_id)
        await goes(recording)


async def goes(file: Path) -> None:
    """Wait until bytes are gone from the store. Raises Broken."""

    async def gone() -> bool:
        return not file.exists()

    await within(_GONE_SECONDS, gone, Promise.GONE, "the bytes of the deleted job to go")


async def given_up(stage: Stage) -> None:
    """Every worker that takes the job dies of it."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()

        async def failed() -> bool:
            await worker.claim(job_id)
            return await client.status(job_id) == "failed"

        await within(_GIVEN_UP_SECONDS, failed, Promise.POISON_CONTAINED, "the job to be given up")
