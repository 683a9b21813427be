"""WorkService: messages in, use cases, messages out."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.jobs.usecases import work
from services.jobs.usecases.resources import Resources
from steno.jobs.v1 import work_service_pb2 as pb
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class WorkRpc(WorkServiceServicer):
    """Jobs as workers see them."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def ClaimWork(self, request: pb.ClaimWorkRequest, context: Context) -> pb.ClaimWorkResponse:
        claim = await work.claim_work(self._resources, request.job_id, request.worker_id)
        response = pb.ClaimWorkResponse(job=claim.job, fence=claim.fence)
        response.lease_duration.FromTimedelta(claim.lease)
        return response

    async def ExtendLease(self, request: pb.ExtendLeaseRequest, context: Context) -> pb.ExtendLeaseResponse:
        await work.extend_lease(self._resources, request)
        return pb.ExtendLeaseResponse()

    async def PutWindow(self, request: pb.PutWindowRequest, context: Context) -> pb.PutWindowResponse:
        await work.store_window(self._resources, request)
        return pb.PutWindowResponse()

    async def ListWindows(self, request: pb.ListWindowsRequest, context: Context) -> AsyncIterator[pb.ListWindowsResponse]:
        async for window in work.read_windows(self._resources, request.job_id, request.fence):
            yield window

    async def ReleaseWork(self, request: pb.ReleaseWorkRequest, context: Context) -> pb.ReleaseWorkResponse:
        await work.release_work(self._resources, request.job_id, request.fence, request.delay.ToTimedelta())
        return pb.ReleaseWorkResponse()
