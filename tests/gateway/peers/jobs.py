"""Jobs."""

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from services.mesh.egress.urls import check_url
from services.mesh.errors import FailedPrecondition, InvalidArgument, MeshError, NotFound, ResourceExhausted, Unauthenticated
from services.mesh.identity import Caller, CallerKind, current_caller
from services.mesh.ids import new_id
from steno.jobs.v1 import jobs_service_pb2 as jobs
from steno.jobs.v1 import jobs_service_pb2_grpc as jobs_grpc
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.media_pb2 import Media
from tests.gateway.peers.storage import UnsupportedMedia, UploadIncomplete
from tests.gateway.peers.world import World


class JobNotFound(NotFound):
    """No such job."""


class NoCredits(ResourceExhausted):
    """No credit."""


class UploadLimitExceeded(ResourceExhausted):
    """No more submits this month."""


class InvalidLanguage(InvalidArgument):
    """No language."""


class MediaTaken(FailedPrecondition):
    """Another job was made from this media."""


class AuthenticationRequired(Unauthenticated):
    """The job is somebody's."""


class UploadExpired(FailedPrecondition):
    """Too late."""


class JobAlreadyEnded(FailedPrecondition):
    """Over."""


class IdempotencyKeyReused(FailedPrecondition):
    """Another request."""


def claim_token(job_id: str) -> str:
    """What proves that a guest submitted a job."""
    return hashlib.sha256(f"claim {job_id}".encode()).hexdigest()


def _anonymous(caller: Caller) -> bool:
    return caller.kind is CallerKind.GUEST and not caller.wallet_id


class JobsPeer(jobs_grpc.JobsServiceServicer):
    """Jobs in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _mine(self, job_id: str) -> Job:
        """The job, as far as ownership goes that the jobs service has it."""
        caller, job = current_caller(), self.world.jobs.get(job_id)
        if job is None or job.workspace_id != caller.workspace_id:
            raise JobNotFound
        if self._owns(caller, job):
            return job
        if caller.kind is CallerKind.GUEST and not caller.claim_digest and not caller.wallet_id:
            raise AuthenticationRequired
        raise JobNotFound

    def _owns(self, caller: Caller, job: Job) -> bool:
        proven = bool(caller.claim_digest) and caller.claim_digest == self.world.claim_digests.get(job.id)
        return proven or (job.owner == caller.owner and not _anonymous(caller))

    async def CreateJob(self, request: Any, context: Any) -> jobs.CreateJobResponse:
        caller = current_caller()
        if self.world.create_failures:
            raise self.world.create_failures.pop(0)
        if request.url:
            check_url(request.url)
        if request.config.language == "xx":
            raise InvalidLanguage
        key, print_of_order = (caller.key_id, request.idempotency_key), self._print(request)
        if request.idempotency_key and key in self.world.orders:
            job_id, stored = self.world.orders[key]
            if stored != print_of_order:
                raise IdempotencyKeyReused
            await self._count(job_id)
            return self._answer(self.world.jobs[job_id], replayed=True)
        if caller.workspace_id in self.world.poor:
            raise NoCredits(available_ms="0", required_ms="3600000")
        job = self._new_job(request, caller)
        self.world.orders[key] = (job.id, print_of_order)
        await self._count(job.id)
        return self._answer(job, replayed=False)

    async def _count(self, job_id: str) -> None:
        """Remember that a job was asked for, once more."""
        self.world.creations[job_id] += 1
        async with self.world.changed:
            self.world.changed.notify_all()

    def _print(self, request: Any) -> bytes:
        origin = request.url or request.upload.filename or self.world.media[request.media_id].sha256
        return bytes(request.config.SerializeToString(deterministic=True)) + f"{request.source}{origin}".encode()

    def _new_job(self, request: Any, caller: Caller) -> Job:
        job = Job(id=new_id(), workspace_id=caller.workspace_id, owner=caller.owner, state=Job.STATE_QUEUED, source=request.source)
        job.revision, job.title, job.retention_days = 1, request.title, 365
        if request.media_id:
            media = self.world.media[request.media_id]
            job.media_id, job.filename, job.audio_duration_ms = media.id, media.filename, media.probe.duration_ms
        elif request.url:
            job.media_id, job.filename, job.waiting = new_id(), request.url.rpartition("/")[2], Job.WAITING_FETCH
        else:
            job.media_id, job.filename, job.waiting = new_id(), request.upload.filename, Job.WAITING_UPLOAD
            media = Media(id=job.media_id, workspace_id=caller.workspace_id, filename=job.filename, state=Media.STATE_UPLOADING)
            self.world.media[job.media_id] = media
            self.world.upload_limits[job.id] = request.upload.max_size_bytes
        job.config.CopyFrom(request.config)
        job.title = request.title
        job.create_time.GetCurrentTime()
        self.world.jobs[job.id] = job
        if _anonymous(caller):
            self.world.claim_digests[job.id] = hashlib.sha256(claim_token(job.id).encode()).hexdigest()
        return job

    def _answer(self, job: Job, *, replayed: bool) -> jobs.CreateJobResponse:
        token = claim_token(job.id) if job.id in self.world.claim_digests else ""
        answer = jobs.CreateJobResponse(job=job, replayed=replayed, claim_token=token)
        if job.waiting == Job.WAITING_UPLOAD:
            answer.upload_url.url = f"{self.world.data_url}/media/{job.media_id}?expires=1&signature={new_id()}"
            answer.upload_url.store = "disk"
            answer.upload_url.expire_time.GetCurrentTime()
            answer.upload_url.expire_time.seconds += 900
        return answer

    async def CompleteUpload(self, request: Any, context: Any) -> jobs.CompleteUploadResponse:
        job = self._mine(request.job_id)
        if job.state == Job.STATE_FAILED:
            raise UploadExpired if job.error.reason == "UPLOAD_EXPIRED" else JobAlreadyEnded
        if job.waiting == Job.WAITING_UPLOAD:
            if job.media_id not in self.world.complete:
                raise UploadIncomplete
            if (refusal := self._refusal(job)) is not None:
                job.state = Job.STATE_FAILED
                raise refusal
            job.waiting = Job.WAITING_UNSPECIFIED
        return jobs.CompleteUploadResponse(job=job)

    def _refusal(self, job: Job) -> MeshError | None:
        if job.workspace_id in self.world.poor:
            return NoCredits(available_ms="0", required_ms="3600000")
        return UnsupportedMedia() if bytes(self.world.blobs[job.media_id]).startswith(b"TEXT") else None

    async def ClaimJobs(self, request: Any, context: Any) -> jobs.ClaimJobsResponse:
        caller, claimed = current_caller(), 0
        digests = {hashlib.sha256(token.encode()).hexdigest() for token in request.claim_tokens}
        for job_id in [job_id for job_id, digest in self.world.claim_digests.items() if digest in digests]:
            job = self.world.jobs[job_id]
            if job.workspace_id == caller.workspace_id:
                del self.world.claim_digests[job_id]
                job.owner = caller.owner
                claimed += 1
        return jobs.ClaimJobsResponse(claimed_count=claimed)

    async def FindJob(self, request: Any, context: Any) -> jobs.FindJobResponse:
        found = self.world.orders.get((current_caller().key_id, request.idempotency_key))
        if found is None:
            raise JobNotFound
        job = self.world.jobs[found[0]]
        media = self.world.media.get(job.media_id, Media())
        return jobs.FindJobResponse(job=job, media_sha256=media.sha256, claim_token=self._answer(job, replayed=True).claim_token)

    async def GetJob(self, request: Any, context: Any) -> jobs.GetJobResponse:
        return jobs.GetJobResponse(job=self._mine(request.job_id))

    async def ListJobs(self, request: Any, context: Any) -> jobs.ListJobsResponse:
        caller = current_caller()
        here = [job for job in self.world.jobs.values() if job.workspace_id == caller.workspace_id]
        mine = [job for job in here if self._owns(caller, job)]
        mine = [job for job in mine if not request.states or job.state in request.states]
        newest = sorted(mine, key=lambda job: job.id, reverse=True)
        return jobs.ListJobsResponse(jobs=newest[request.skip :][: request.page_size], total_size=len(mine))

    async def SummarizeJobs(self, request: Any, context: Any) -> jobs.SummarizeJobsResponse:
        begin, end = request.start_time.ToDatetime(), request.end_time.ToDatetime()
        mine = [job for job in self.world.jobs.values() if job.workspace_id == current_caller().workspace_id]
        mine = [job for job in mine if begin <= job.create_time.ToDatetime() < end]
        done = [job for job in mine if job.state == Job.STATE_DONE]
        return jobs.SummarizeJobsResponse(
            total_count=len(mine),
            done_count=len(done),
            failed_count=sum(job.state == Job.STATE_FAILED for job in mine),
            audio_duration_ms=sum(job.audio_duration_ms for job in done),
        )

    async def DeleteJob(self, request: Any, context: Any) -> jobs.DeleteJobResponse:
        del self.world.jobs[self._mine(request.job_id).id]
        return jobs.DeleteJobResponse()

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[jobs.WatchJobResponse]:
        await self._watch(1)
        try:
            async for response in self._changes(request):
                yield response
        finally:
            await self._watch(-1)

    async def _watch(self, change: int) -> None:
        async with self.world.changed:
            self.world.watching += change
            self.world.changed.notify_all()

    async def _changes(self, request: Any) -> AsyncIterator[jobs.WatchJobResponse]:
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

    async def WatchText(self, request: Any, context: Any) -> AsyncIterator[jobs.WatchTextResponse]:
        told = 0
        while True:
            job = self._mine(request.job_id)
            revision, texts = job.revision, self.world.texts.get(job.id, [])
            for number in range(told, len(texts)):
                yield jobs.WatchTextResponse(text=texts[number], start_offset_ms=number * 30_000)
            told = len(texts)
            if job.state in (Job.STATE_DONE, Job.STATE_FAILED, Job.STATE_CANCELLED):
                return
            async with self.world.changed:
                await self.world.changed.wait_for(self._newer(request.job_id, revision))

    def _newer(self, job_id: str, revision: int) -> Callable[[], bool]:
        return lambda: self.world.jobs[job_id].revision > revision
