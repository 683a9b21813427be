"""The lease on a claimed job: prolonged while the work goes on, the end of the work when it is lost."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message

from services.inference.domain import LeaseLost, Stopped
from services.inference.failures import ungrouped
from services.inference.patience import patiently
from services.mesh import fault
from services.mesh.errors import MeshError
from services.mesh.status import is_remote
from services.mesh.telemetry import get_logger
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
_ANXIOUS_EXTENSIONS_PER_LEASE = 30
_CALL_SECONDS = 5.0
_LIST_SECONDS = 60.0
_PUT_PATIENCE_SECONDS = 60.0
_RELEASE_PATIENCE_SECONDS = 3.0
M = TypeVar("M", bound=Message)


@dataclass
class Lease:
    """One claim of one job. Every write carries its fence; a stale one raises LeaseLost.

    heed_seconds: how long the end of the job may stay unnoticed, where that is less than its extensions take.
    """

    stub: WorkServiceAsyncStub
    job: Job
    fence: int
    seconds: float
    _good_until: float = field(repr=False)
    progress: float = 0.0
    speech_detected: bool | None = None
    speech_ratio: float | None = None
    engine: str = ""
    model: str = ""
    artefact_id: str = ""
    heed_seconds: float = math.inf

    def advance(self, progress: float) -> None:
        """Report progress, 0 to 1, with the next extension."""
        self.progress = max(self.progress, min(1.0, progress))

    async def report_speech(self, detected: bool, ratio: float) -> None:
        """Report what the pre-flight found, at once. Raises LeaseLost."""
        self.speech_detected, self.speech_ratio = detected, ratio
        await self.report()

    async def announce(self, artefact_id: str) -> None:
        """Say where the result will be stored, so that it goes unless it counts. Raises LeaseLost.

        While jobs is away the work goes on: it is told with the next extension.
        """
        self.artefact_id = artefact_id
        await self.report()

    async def report(self) -> bool:
        """Extend; False when that did not come through and the lease still holds. Raises LeaseLost."""
        try:
            await self._extend()
        except MeshError as error:
            get_logger("inference.lease").warning("lease not extended", error=str(error))
            if time.monotonic() >= self._good_until:
                raise LeaseLost from error
            return False
        return True

    async def _extend(self) -> None:
        request = ExtendLeaseRequest(
            job_id=self.job.id,
            fence=self.fence,
            progress=self.progress,
            speech_detected=self.speech_detected,
            speech_ratio=self.speech_ratio,
            engine=self.engine,
            model=self.model,
            transcript_artefact_id=self.artefact_id,
        )
        await self._write(self.stub.ExtendLease(request, timeout=min(_CALL_SECONDS, self.seconds / _EXTENSIONS_PER_LEASE)))

    async def put_window(self, index: int, window: Message, progress: float) -> None:
        """Store a finished window, waiting for jobs to come back while the lease lasts. Raises LeaseLost, RemoteError."""
        self.advance(progress)
        request = PutWindowRequest(
            job_id=self.job.id, fence=self.fence, index=index, window=window.SerializeToString(), progress=self.progress
        )

        async def put() -> None:
            await self._write(self.stub.PutWindow(request, timeout=_CALL_SECONDS))

        fault.point("inference.window.before_put")
        await patiently(put, "PutWindow", _PUT_PATIENCE_SECONDS)
        fault.point("inference.window.after_put")

    async def list_windows(self, kind: type[M]) -> dict[int, M]:
        """What earlier claims finished, by index. Raises LeaseLost, RemoteError."""
        found: dict[int, M] = {}
        for index, window in (await self.read_windows()).items():
            with suppress(DecodeError):
                # One that cannot be read is worked on again.
                found[index] = kind.FromString(window)
        return found

    async def read_windows(self) -> dict[int, bytes]:
        """The same as it was put. Raises LeaseLost, RemoteError."""
        request = ListWindowsRequest(job_id=self.job.id, fence=self.fence)
        found: dict[int, bytes] = {}
        try:
            async for item in self.stub.ListWindows(request, timeout=_LIST_SECONDS):
                found[item.index] = item.window
        except MeshError as error:
            raise _lost_or(error) from error
        return found

    async def release(self, delay: timedelta = timedelta()) -> None:
        """Give the job back unfinished, to be handed out again after the delay.

        Best effort: what does not come through, the end of the lease does.
        """
        request = ReleaseWorkRequest(job_id=self.job.id, fence=self.fence, delay=_duration(delay))

        async def give_back() -> None:
            await self.stub.ReleaseWork(request, timeout=_RELEASE_PATIENCE_SECONDS)

        fault.point("inference.work.before_release")
        try:
            await patiently(give_back, "ReleaseWork", _RELEASE_PATIENCE_SECONDS)
        except MeshError as error:
            get_logger("inference.lease").warning("work not released", error=str(error))

    async def _write(self, call: Awaitable[object]) -> None:
        started = time.monotonic()
        try:
            await call
        except MeshError as error:
            raise _lost_or(error) from error
        self._good_until = started + self.seconds

    async def keep(self) -> None:
        """Extend until cancelled. Raises LeaseLost when told so, or when no extension came through in time."""
        extensions_per_lease = _EXTENSIONS_PER_LEASE
        while True:
            await asyncio.sleep(min(self.heed_seconds, self.seconds / extensions_per_lease))
            extensions_per_lease = _EXTENSIONS_PER_LEASE if await self.report() else _ANXIOUS_EXTENSIONS_PER_LEASE


def _duration(delay: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(delay)
    return message


def _lost_or(error: MeshError) -> Exception:
    return LeaseLost() if is_remote(error, "STALE_FENCE") or is_remote(error, "JOB_NOT_FOUND") else error


async def claim(stub: WorkServiceAsyncStub, job_id: str, worker_id: str) -> Lease | None:
    """Take a job; None when there is nothing to take. Raises RemoteError."""
    started = time.monotonic()
    try:
        claimed = await stub.ClaimWork(ClaimWorkRequest(job_id=job_id, worker_id=worker_id))
    except MeshError as error:
        if any(is_remote(error, reason) for reason in ("JOB_NOT_FOUND", "JOB_ALREADY_ENDED", "JOB_LEASED")):
            return None
        raise
    seconds = claimed.lease_duration.ToTimedelta().total_seconds()
    return Lease(stub, claimed.job, claimed.fence, seconds, started + seconds)


@asynccontextmanager
async def kept(lease: Lease, stopping: asyncio.Event) -> AsyncIterator[None]:
    """Within, the lease is prolonged. Its loss cancels the work inside and raises LeaseLost; `stopping` does so with Stopped."""
    with ungrouped():
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(lease.keep(), name=f"lease {lease.job.id}")
            watcher = group.create_task(stop_when(stopping), name=f"stop {lease.job.id}")
            try:
                yield
            finally:
                keeper.cancel()
                watcher.cancel()


async def stop_when(stopping: asyncio.Event) -> None:
    """Raises Stopped once it is set."""
    await stopping.wait()
    raise Stopped
