"""What is told of the queue: how long jobs wait, work and take in all."""

from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY
from sqlalchemy import update

from services.jobs.store.jobs import JOB
from services.jobs.store.queue import read_delays
from services.mesh.database import open_database
from steno.jobs.v1.job_pb2 import Job
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import claim, until


def value(name: str, **labels: str) -> float:
    """The series' value, 0 before it exists."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def age(name: str) -> float:
    """The gauge of transcriptions."""
    return value(f"steno_{name}_age_seconds", work_class="transcription")


async def test_waiting_working_and_ending_are_told(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await until(lambda: age("queue") > 0, "nobody told how long the job waits")
        fence = (await claim(worker, job.id)).fence
        await until(lambda: age("queue") == 0 and age("working") > 0, "nobody told how long the job is worked on")
        before = value("steno_job_seconds_count", work_class="transcription", state="done")
        await mesh.complete(job.id, fence, mesh.storage.add_artefact("ws"))
        await until(lambda: value("steno_job_seconds_count", work_class="transcription", state="done") > before)
        await until(lambda: age("working") == 0, "a job that ended is worked on for ever")


async def test_the_oldest_of_each_kind_counts_and_leases_that_ran_out(stage: StageFactory) -> None:
    async with stage() as mesh, open_database(mesh.settings.database_url, schema="jobs") as database:
        async with mesh.jobs(sweep_interval_seconds=60, dispatch_interval_seconds=60):
            owner, worker = await mesh.owner(), await mesh.worker()
            jobs = [(await owner.create(mesh.storage.add_media("ws"))).job for _ in range(3)]
            await claim(worker, jobs[0].id)
            hour_ago = datetime.now(UTC) - timedelta(hours=1)
            async with database.transaction() as session:
                connection = await session.connection()
                await connection.execute(update(JOB).where(JOB.c.id == jobs[0].id).values(start_time=hour_ago, lease_until=hour_ago))
                await connection.execute(update(JOB).where(JOB.c.id == jobs[1].id).values(due_time=hour_ago))
            delays = await read_delays(database)
        waiting, working = delays.by_kind[Job.KIND_UNSPECIFIED]
        assert 3590 < waiting < 3720
        assert 3590 < working < 3720
        assert 3590 < delays.overdue_seconds < 3720
        assert all(ages == (0.0, 0.0) for kind, ages in delays.by_kind.items() if kind != Job.KIND_UNSPECIFIED)
