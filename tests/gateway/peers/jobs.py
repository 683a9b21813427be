"""Jobs."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from services.mesh.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from services.mesh.identity import current_caller
from services.mesh.ids import new_id
from steno.jobs.v1 import jobs_service_pb2 as jobs
from steno.jobs.v1 import jobs_service_pb2_grpc as jobs_grpc
from steno.jobs.v1.job_pb2 import Job
from tests.gateway.peers.world import World


class JobNotFound(NotFound):
    """No such job."""


class NoCredits(ResourceExhausted):
    """No credit."""


class InvalidLanguage(InvalidArgument):
    """No language."""


class MediaTaken(FailedPrecondition):
    """Another job was made from this media."""


class IdempotencyKeyReused(FailedPrecondition):
    """Another request."""


class JobsPeer(jobs_grpc.JobsServiceServicer):
    """Jobs in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _mine(self, job_id: str) -> Job:
        job = self.world.jobs.get(job_id)
        if job is None or (job.workspace_id, job.owner) != (current_caller().workspace_id, current_caller().owner):
            raise JobNotFound
        return job

    async def CreateJob(self, request: Any, context: Any) -> jobs.CreateJobResponse:
        caller = current_caller()
        if self.world.create_failures:
            raise self.world.create_failures.pop(0)
        media = self.world.media[request.media_id]
        if caller.workspace_id in self.world.poor:
            raise NoCredits(available_ms="0", required_ms="3600000")
        if request.config.language == "xx":
            raise InvalidLanguage
        print_of_order = request.config.SerializeToString(deterministic=True) + media.sha256.encode()
        key = (caller.key_id, request.idempotency_key)
        if request.idempotency_key and key in self.world.orders:
            job_id, stored = self.world.orders[key]
            if stored != print_of_order:
                raise IdempotencyKeyReused
            return jobs.CreateJobResponse(job=self.world.jobs[job_id], replayed=True)
        job = Job(id=new_id(), workspace_id=caller.workspace_id, owner=caller.owner, state=Job.STATE_QUEUED, source=request.source)
        job.media_id, job.filename, job.revision = media.id, media.filename, 1
        job.audio_duration_ms = media.probe.duration_ms
        job.config.CopyFrom(request.config)
        job.create_time.GetCurrentTime()
        self.world.jobs[job.id] = job
        self.world.orders[key] = (job.id, print_of_order)
        return jobs.CreateJobResponse(job=job)

    async def FindJob(self, request: Any, context: Any) -> jobs.FindJobResponse:
        found = self.world.orders.get((current_caller().key_id, request.idempotency_key))
        if found is None:
            raise JobNotFound
        job = self.world.jobs[found[0]]
        return jobs.FindJobResponse(job=job, media_sha256=self.world.media[job.media_id].sha256)

    async def GetJob(self, request: Any, context: Any) -> jobs.GetJobResponse:
        return jobs.GetJobResponse(job=self._mine(request.job_id))

    async def ListJobs(self, request: Any, context: Any) -> jobs.ListJobsResponse:
        mine = [job for job in self.world.jobs.values() if job.workspace_id == current_caller().workspace_id]
        newest = sorted(mine, key=lambda job: job.id, reverse=True)
        return jobs.ListJobsResponse(jobs=newest[: request.page_size], total_size=len(mine))

    async def DeleteJob(self, request: Any, context: Any) -> jobs.DeleteJobResponse:
        del self.world.jobs[self._mine(request.job_id).id]
        return jobs.DeleteJobResponse()

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[jobs.WatchJobResponse]:
        seen = request.after_revision
        while True:
            job = self._mine(request.job_id)
            if job.revision > seen:
                seen = job.revision
                yield jobs.WatchJobResponse(job=job)
            if job.state in (Job.STATE_DONE, Job.STATE_FAILED, Job.STATE_CANCELLED):
                return
            async with self.world.changed:
                await self.world.changed.wait_for(self._newer(request.job_id, seen))

    def _newer(self, job_id: str, revision: int) -> Callable[[], bool]:
        return lambda: self.world.jobs[job_id].revision > revision
