"""JobsService: messages in, use cases, messages out."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.jobs.usecases import cancel, create, read
from services.jobs.usecases.resources import Resources
from services.mesh.identity import current_caller
from steno.jobs.v1 import jobs_service_pb2 as pb
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class JobsRpc(JobsServiceServicer):
    """Jobs as their owners see them."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        job, replayed = await create.create_job(self._resources, current_caller(), request)
        return pb.CreateJobResponse(job=job, replayed=replayed)

    async def FindJob(self, request: pb.FindJobRequest, context: Context) -> pb.FindJobResponse:
        job, media_sha256 = await read.find_job(self._resources, current_caller(), request.idempotency_key)
        return pb.FindJobResponse(job=job, media_sha256=media_sha256)

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
