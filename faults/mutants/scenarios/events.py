"""Events between the services: crashes around every one of them, lost stores, messages that nobody can take."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from nats.errors import Error as NatsError

from faults.mutants.player import LIMIT_SECONDS, playing, quiet
from faults.mutants.promises import Promise, within
from faults.mutants.scenarios.bus import jetstream
from faults.mutants.stage import Stage, reached
from services.mesh.deliveries import EVENT_ID, MESSAGE_TYPE
from services.mesh.streams import DEAD, WORK, event_subject
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted


def crash_at(service: str, point: str) -> Callable[[Stage], Awaitable[None]]:
    """The service dies at that point while a result becomes an ending and a charge."""

    async def play(stage: Stage) -> None:
        async with playing(stage) as (client, worker):
            job_id = await client.submitted()
            claim = await worker.claimed(job_id)
            await quiet(stage)
            stage.arm(service, point)
            await worker.finish(claim)
            await stage.crash(service)
            await stage.start(service)
            await client.ended(job_id, "done")

    return play


def error_at(service: str, point: str) -> Callable[[Stage], Awaitable[None]]:
    """The service meets an error at that point, once, while a result becomes an ending and a charge."""

    async def play(stage: Stage) -> None:
        async with playing(stage) as (client, worker):
            job_id = await client.submitted()
            claim = await worker.claimed(job_id)
            await quiet(stage)
            stage.arm(service, point, "raise")
            await worker.finish(claim)
            await stage.passed(service, point)
            await client.ended(job_id, "done")

    return play


async def cancel_breaks_off(stage: Stage) -> None:
    """The service of jobs dies before it commits a cancellation; the worker goes on."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        claim = await worker.claimed(job_id)
        await quiet(stage)
        stage.arm("jobs", "jobs.delete.before_commit")
        await client.delete(job_id)
        await stage.crash("jobs")
        await stage.start("jobs")
        await worker.finish(claim)
        await worker.taken(claim)


async def work_lost(stage: Stage) -> None:
    """The store of the bus is lost with work in it that nobody has taken yet."""
    async with playing(stage) as (client, _):
        job_id = await client.submitted()
        handed_out = "SELECT 1 FROM job WHERE id = ? AND dispatch_time IS NOT NULL"
        await reached(LIMIT_SECONDS, lambda: stage.rows("jobs", handed_out, job_id), "the job to be handed out")
        await quiet(stage)
        await _lose_store(stage)
        await within(LIMIT_SECONDS, lambda: _waiting_work(stage), Promise.RECOVERS_WORK, "the lost work to be in the queue again")
        await client.delete(job_id)


async def ending_lost(stage: Stage) -> None:
    """The store of the bus is lost with the ending of a job in it while billing is away."""
    async with playing(stage) as (client, worker):
        job_id = await client.submitted()
        claim = await worker.claimed(job_id)
        stage.kill("billing")
        await worker.finish(claim)
        await worker.taken(claim)
        await quiet(stage)
        await _lose_store(stage)
        await stage.start("billing")


async def _lose_store(stage: Stage) -> None:
    stage.nats.kill()
    stage.nats.wipe()
    await stage.nats.start()


async def unreadable(stage: Stage) -> None:
    """A message arrives that no version of the consumer can read."""
    async with jetstream(stage) as stream:
        before = (await stream.stream_info(DEAD.name)).state.messages
        headers = {EVENT_ID: "unreadable", MESSAGE_TYPE: TranscriptCompleted.DESCRIPTOR.full_name}
        await stream.publish(event_subject("inference", TranscriptCompleted), b"\xff\xff\xff", headers=headers)

        async def buried() -> bool:
            return bool((await stream.stream_info(DEAD.name)).state.messages > before)

        await within(LIMIT_SECONDS, buried, Promise.BURIED, "the message to be among the dead letters")


async def _waiting_work(stage: Stage) -> bool:
    with suppress(NatsError, TimeoutError, OSError):
        async with jetstream(stage) as stream:
            return bool((await stream.stream_info(WORK.name)).state.messages)
    return False
