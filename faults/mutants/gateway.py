"""The gateway's part, played: calls at the very moment that a scenario wants them."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from faults.history import Call
from faults.mutants.player import HELLO
from faults.mutants.stage import Stage
from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CancelJobRequest, CreateJobRequest
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceStub
from steno.storage.v1.storage_service_pb2 import BeginUploadRequest, CommitUploadRequest
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceStub

_CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Gateway:
    """The gateway, played. It repeats nothing, so that what the services do themselves is seen."""

    stage: Stage
    jobs: Any
    storage: Any
    http: httpx2.AsyncClient

    async def upload(self) -> str:
        """The id of a recording, stored."""
        begun = await self.storage.BeginUpload(BeginUploadRequest(filename=HELLO.name))
        (await self.http.put(begun.upload_url.url, content=HELLO.read_bytes())).raise_for_status()
        return str((await self.storage.CommitUpload(CommitUploadRequest(media_id=begun.media.id))).media.id)

    async def order(self, media_id: str, key: str) -> Call:
        """An order of the recording, noted as a submit."""
        began = time.time()
        request = CreateJobRequest(media_id=media_id, source=Job.SOURCE_API, idempotency_key=key)
        try:
            job_id, status = (await self.jobs.CreateJob(request)).job.id, 202
        except RemoteError:
            job_id, status = "", None
        call = Call(new_id(), "gateway", "submit", key, job_id, began, time.time(), status)
        self.stage.calls.append(call)
        return call

    async def cancel(self, job_id: str) -> str:
        """Why a cancellation is refused; empty when it is not."""
        try:
            await self.jobs.CancelJob(CancelJobRequest(job_id=job_id))
        except RemoteError as error:
            return str(error)
        return ""


@asynccontextmanager
async def calling_for(stage: Stage) -> AsyncIterator[Gateway]:
    """A gateway that acts for the first workspace."""
    async with AsyncExitStack() as stack:
        enter, signer, grpc = stack.enter_async_context, stage.signer("gateway"), stage.ready["grpc"]
        jobs = await enter(open_channel(grpc["jobs"], audience="jobs", signer=signer, timeout_seconds=_CALL_SECONDS))
        storage = await enter(open_channel(grpc["storage"], audience="storage", signer=signer, timeout_seconds=_CALL_SECONDS))
        http = await enter(httpx2.AsyncClient(timeout=_CALL_SECONDS, trust_env=False))
        stack.enter_context(calling_as(Caller(CallerKind.KEY, "gateway", stage.ready["workspace_id"], "workspace")))
        yield Gateway(stage, JobsServiceStub(jobs), StorageServiceStub(storage), http)
