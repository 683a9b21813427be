"""The lease on a claimed job: prolonged while the work goes on, the end of the work when it is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from services.inference.domain import LeaseLost
from services.inference.failures import ungrouped
from services.mesh.errors import MeshError
from services.mesh.status import is_remote
from services.mesh.telemetry import get_logger
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.work_service_pb2 import (
    ClaimWorkRequest,
    ExtendLeaseRequest,
    ListWindowsRequest,
    PutWindowRequest,
    ReleaseWorkRequest,
)
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceAsyncStub

_EXTENSIONS_PER_LEASE = 3
_CALL_SECONDS = 5.0


@dataclass
class Lease:
    """One claim of one job. Every write carries its fence; a stale one raises LeaseLost."""

    stub: WorkServiceAsyncStub
    job: Job
    fence: int
    seconds: float
    progress: float = 0.0
    speech_detected: bool | None = None
    speech_ratio: float | None = None
    engine: str = ""
    model: str = ""
    _good_until: float = field(default=0.0, repr=False)

    def advance(self, progress: float) -> None:
        """Report progress, 0 to 1, with the next extension."""
        self.progress = max(self.progress, min(1.0, progress))

    def report_speech(self, detected: bool, ratio: float) -> None:
        """Report what the pre-flight found with the next extension."""
        self.speech_detected, self.speech_ratio = detected, ratio

    async def extend(self) -> None:
        """Prolong the lease and report progress. Raises LeaseLost, RemoteError."""
        request = ExtendLeaseRequest(
            job_id=self.job.id,
            fence=self.fence,
            progress=self.progress,
            speech_detected=self.speech_detected,
            speech_ratio=self.speech_ratio,
            engine=self.engine,
            model=self.model,
        )
        await self._write(self.stub.ExtendLease(request, timeout=_CALL_SECONDS))

    async def put_window(self, index: int, window: WindowTranscript, progress: float) -> None:
        """Store a finished window. Raises LeaseLost, RemoteError."""
        self.advance(progress)
        request = PutWindowRequest(
            job_id=self.job.id, fence=self.fence, index=index, window=window.SerializeToString(), progress=self.progress
        )
        await self._write(self.stub.PutWindow(request, timeout=_CALL_SECONDS))

    async def list_windows(self) -> dict[int, WindowTranscript]:
        """What earlier claims finished, by index. Raises LeaseLost, RemoteError."""
        request = ListWindowsRequest(job_id=self.job.id, fence=self.fence)
        try:
            return {item.index: WindowTranscript.FromString(item.window) async for item in self.stub.ListWindows(request, timeout=60)}
        except MeshError as error:
            raise _lost_or(error) from error

    async def release(self, delay: timedelta = timedelta()) -> None:
        """Give the job back unfinished, to be handed out again after the delay; a lost lease has nothing to give."""
        request = ReleaseWorkRequest(job_id=self.job.id, fence=self.fence, delay=_duration(delay))
        try:
            await self.stub.ReleaseWork(request, timeout=_CALL_SECONDS)
        except MeshError as error:
            get_logger("inference.lease").warning("work not released", job_id=self.job.id, error=str(error))

    async def _write(self, call: Awaitable[object]) -> None:
        started = time.monotonic()
        try:
            await call
        except MeshError as error:
            raise _lost_or(error) from error
        self._good_until = started + self.seconds

    async def keep(self) -> None:
        """Extend until cancelled. Raises LeaseLost when told so, or when no extension came through in time."""
        self._good_until = time.monotonic() + self.seconds
        while True:
            await asyncio.sleep(self.seconds / _EXTENSIONS_PER_LEASE)
            try:
                await self.extend()
            except MeshError as error:
                get_logger("inference.lease").warning("lease not extended", job_id=self.job.id, error=str(error))
                if time.monotonic() > self._good_until:
                    raise LeaseLost from error


def _duration(delay: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(delay)
    return message


def _lost_or(error: MeshError) -> Exception:
    return LeaseLost() if is_remote(error, "STALE_FENCE") or is_remote(error, "JOB_NOT_FOUND") else error


async def claim(stub: WorkServiceAsyncStub, job_id: str, worker_id: str) -> Lease | None:
    """Take a job; None when there is nothing to take. Raises RemoteError."""
    try:
        claimed = await stub.ClaimWork(ClaimWorkRequest(job_id=job_id, worker_id=worker_id))
    except MeshError as error:
        if any(is_remote(error, reason) for reason in ("JOB_NOT_FOUND", "JOB_ALREADY_ENDED", "JOB_LEASED")):
            return None
        raise
    return Lease(stub, claimed.job, claimed.fence, claimed.lease_duration.ToTimedelta().total_seconds())


@asynccontextmanager
async def kept(lease: Lease) -> AsyncIterator[None]:
    """Within, the lease is prolonged; its loss cancels the work inside and raises LeaseLost."""
    with ungrouped():
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(lease.keep(), name=f"lease {lease.job.id}")
            try:
                yield
            finally:
                keeper.cancel()
