"""Credit: held, charged, given back, and never more than there is."""

import asyncio
import io
import wave

from faults.mutants.gateway import calling_for
from faults.mutants.player import BILLABLE_MS, playing
from faults.mutants.promises import Promise, expect
from faults.mutants.scenarios.bus import consumed
from faults.mutants.stage import Stage
from faults.plans import plans_with
from services.billing.events import HOLDS
from steno.jobs.v1.jobs_events_pb2 import JobSucceeded

AFFORDABLE = 2
_CLIP_SECONDS = 25
_SUBMITS = 6


async def charged(stage: Stage) -> None:
    """A job's recording decodes to less than was measured before."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        claim = await worker.claimed(job_id)
        half_ms = claim.job.audio_duration_ms // 2
        await worker.finish(claim, half_ms)
        await client.ended(job_id, "done")
        [row] = stage.rows("jobs", "SELECT billable_ms FROM job WHERE id = ?", job_id)
        expect(row["billable_ms"] == half_ms, Promise.CHARGED_DECODED, f"{row['billable_ms']} ms instead of {half_ms} ms")


async def failed(stage: Stage) -> None:
    """A job fails."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        await worker.fail(await worker.claimed(job_id))
        await client.ended(job_id, "failed")


async def told_twice(stage: Stage) -> None:
    """Billing learns of the same ending twice, long after it can tell so by the event's id."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        claim = await worker.claimed(job_id)
        await worker.finish(claim)
        await client.ended(job_id, "done")
        ended = "SELECT 1 FROM hold WHERE job_id = ? AND state <> 'OPEN'"
        await stage.reached_row("billing", ended, job_id)
        again = JobSucceeded(job_id=job_id, workspace_id=claim.job.workspace_id, billable_ms=BILLABLE_MS)
        await worker.publish("jobs", again, f"again:{job_id}")
        await consumed(stage, HOLDS.name)


async def hold_left_behind(stage: Stage) -> None:
    """The service of jobs dies between the hold and the job."""
    await _breaks_off(stage, "jobs", "jobs.create.after_reserve")


async def half_written(stage: Stage) -> None:
    """Billing dies between the transfers of a hold and the hold."""
    await _breaks_off(stage, "billing", "billing.book.after_transfers")


async def _breaks_off(stage: Stage, service: str, point: str) -> None:
    async with playing(stage) as (client, worker):
        stage.arm(service, point)
        submitting = asyncio.create_task(client.submit(point))
        await stage.crash(service)
        await stage.start(service)
        await submitting
        job_id = await client.submitted(point)
        await worker.finish(await worker.claimed(job_id))
        await client.ended(job_id, "done")


async def billing_away(stage: Stage) -> None:
    """An order comes while billing is away."""
    async with playing(stage) as (_, worker), calling_for(stage) as gateway:
        media_id = await gateway.upload()
        stage.kill("billing")
        call = await gateway.order(media_id, "billing:away")
        await stage.start("billing")
        if call.job_id:
            await worker.finish(await worker.claimed(call.job_id))


async def overdrawn(stage: Stage) -> None:
    """More orders at once than there is credit for."""
    async with playing(stage) as (client, _):
        clip = _clip()
        calls = await asyncio.gather(*(client.submit(f"order:{number}", clip, "clip.wav") for number in range(_SUBMITS)))
        accepted = [call.job_id for call in calls if call.status == 202]
        for job_id in accepted:
            await client.delete(job_id)
        expect(len(accepted) <= AFFORDABLE, Promise.NO_OVERDRAFT, f"{len(accepted)} orders accepted against credit for {AFFORDABLE}")
        expect(len(accepted) == AFFORDABLE, Promise.ACCEPTED, f"{[call.status for call in calls]}")


def minute_plans() -> str:
    """The plans of the product, and for everybody one whose only credit is a minute: two clips."""
    return plans_with({"minute": 1}, default="minute")


def _clip() -> bytes:
    """Silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(2 * 8000 * _CLIP_SECONDS))
    return file.getvalue()
