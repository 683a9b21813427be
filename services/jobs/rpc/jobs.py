"""JobsService: messages in, use cases, messages out."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services.jobs.usecases import cancel, claims, completion, create, read, summary, text, waiting
from services.jobs.usecases.resources import Resources
from services.mesh.identity import Caller, current_caller
from steno.jobs.v1 import jobs_service_pb2 as pb
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class JobsRpc(JobsServiceServicer):
    """Jobs as their owners see them."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        made = await _creation(request)(self._resources, current_caller(), request)
        return pb.CreateJobResponse(job=made.job, replayed=made.replayed, claim_token=made.claim_token, upload_url=made.upload_url)

    async def CompleteUpload(self, request: pb.CompleteUploadRequest, context: Context) -> pb.CompleteUploadResponse:
        return pb.CompleteUploadResponse(job=await completion.complete_upload(self._resources, current_caller(), request.job_id))

    async def ClaimJobs(self, request: pb.ClaimJobsRequest, context: Context) -> pb.ClaimJobsResponse:
        return pb.ClaimJobsResponse(claimed_count=await claims.claim_jobs(self._resources, current_caller(), request.claim_tokens))

    async def SummarizeJobs(self, request: pb.SummarizeJobsRequest, context: Context) -> pb.SummarizeJobsResponse:
        return await summary.summarize_jobs(self._resources, current_caller(), request)

    async def FindJob(self, request: pb.FindJobRequest, context: Context) -> pb.FindJobResponse:
        found = await read.find_job(self._resources, current_caller(), request.idempotency_key)
        return pb.FindJobResponse(job=found.job, media_sha256=found.media_sha256, claim_token=found.claim_token)

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=await read.get_job(self._resources, current_caller(), request.job_id))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        page = await read.list_page(self._resources, current_caller(), request)
        return pb.ListJobsResponse(jobs=page.jobs, next_page_token=page.next_page_token, total_size=page.total_size)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        return pb.CancelJobResponse(job=await cancel.cancel(self._resources, current_caller(), request.job_id))

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Context) -> pb.DeleteJobResponse:
        await cancel.delete(self._resources, current_caller(), request.job_id)
        return pb.DeleteJobResponse()

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        changes = read.watch_job(self._resources, current_caller(), request.job_id, request.after_revision)
        async for job in changes:
            yield pb.WatchJobResponse(job=job)

    async def WatchText(self, request: pb.WatchTextRequest, context: Context) -> AsyncIterator[pb.WatchTextResponse]:
        async for piece in text.watch_text(self._resources, current_caller(), request.job_id):
            yield piece


def _creation(request: pb.CreateJobRequest) -> Callable[[Resources, Caller, pb.CreateJobRequest], Awaitable[create.Made]]:
    if request.url:
        return waiting.create_from_url
    return waiting.create_for_upload if request.HasField("upload") else create.create_from_media
