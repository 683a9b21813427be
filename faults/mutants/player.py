"""Those who use the stage: a client over REST, who notes what it saw, and a worker that does by hand what inference does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from google.protobuf.message import Message

from faults.history import Call, Kind
from faults.mutants.promises import Promise, within
from faults.mutants.stage import Stage, reached
from services.mesh.bus import open_bus
from services.mesh.channel import open_channel
from services.mesh.identity import acting_for
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from services.mesh.streams import event_subject
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted, WorkFailed
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.jobs.v1.work_service_pb2 import ClaimWorkRequest, ListWindowsRequest, PutWindowRequest
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceStub
from steno.storage.v1.storage_service_pb2 import BeginArtefactRequest, CommitArtefactRequest
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from tests.e2e.mesh import SAMPLES

HELLO = SAMPLES / "clips" / "hello.flac"
BILLABLE_MS = 1000
LIMIT_SECONDS = 30.0
_TRANSCRIPT_TYPE = "application/x-protobuf; message=steno.jobs.v1.Transcript"
_ACCEPT_SECONDS = 60.0
_ACCEPTED = (200, 202)


@dataclass(frozen=True)
class Client:
    """The first workspace's client. Every submit has a key, so that what became of it can be asked for."""

    stage: Stage
    http: httpx2.AsyncClient

    async def submit(self, key: str = "", content: bytes = b"", filename: str = HELLO.name) -> Call:
        """One submit; its status is None where no reply came."""
        key = key or new_id()
        files = {"file": (filename, content or HELLO.read_bytes())}
        return await self._call("submit", "POST", "transcribe", key=key, files=files, headers={"Idempotency-Key": key})

    async def submitted(self, key: str = "") -> str:
        """The job of a submit that is repeated, with its key, until it is accepted."""
        key = key or new_id()

        async def accepted() -> str | None:
            call = await self.submit(key)
            return call.job_id if call.status in _ACCEPTED else None

        return await within(_ACCEPT_SECONDS, accepted, Promise.ACCEPTED, "a submit to be accepted")

    async def status(self, job_id: str) -> str:
        """Where a job stands; empty while nobody answers."""
        return str((await self._call("read", "GET", f"jobs/{job_id}", job_id=job_id)).body.get("status", ""))

    async def ended(self, job_id: str, status: str, promise: Promise = Promise.ENDS) -> None:
        """Wait until the job stands there. Raises Broken."""

        async def has_ended() -> bool:
            return await self.status(job_id) == status

        await within(LIMIT_SECONDS, has_ended, promise, f"job {job_id} to be {status}")

    async def delete(self, job_id: str) -> Call:
        """A DELETE."""
        return await self._call("delete", "DELETE", f"jobs/{job_id}", job_id=job_id)

    async def _call(self, kind: Kind, method: str, path: str, *, key: str = "", job_id: str = "", **request: Any) -> Call:
        began, status = time.time(), None
        body: dict[str, Any] = {}
        try:
            response = await self.http.request(method, f"/api/v1/{path}", **request)
            status, body = response.status_code, response.json() if response.content else {}
        except httpx2.TransportError:
            pass  # unknown is what the call then says
        call = Call(new_id(), "player", kind, key, job_id or str(body.get("job_id", "")), began, time.time(), status, body)
        self.stage.calls.append(call)
        return call


@dataclass(frozen=True)
class Claim:
    """A claim of a job by the played worker."""

    job: Job
    fence: int


@dataclass(frozen=True)
class Worker:
    """Inference, played."""

    stage: Stage
    work: Any
    storage: Any
    http: httpx2.AsyncClient

    async def claim(self, job_id: str) -> Claim | None:
        """Take a job; None when that is refused."""
        try:
            claimed = await self.work.ClaimWork(ClaimWorkRequest(job_id=job_id, worker_id="player"))
        except RemoteError:
            return None
        return Claim(claimed.job, claimed.fence)

    async def claimed(self, job_id: str) -> Claim:
        """Take a job as soon as that is possible. Raises Broken."""
        return await within(LIMIT_SECONDS, lambda: self.claim(job_id), Promise.ENDS, f"job {job_id} to be there for a worker")

    async def put_window(self, claim: Claim) -> bool:
        """Store the first window; False when that is refused."""
        window = WindowTranscript(gap_reason="PLAYED").SerializeToString()
        try:
            await self.work.PutWindow(PutWindowRequest(job_id=claim.job.id, fence=claim.fence, index=0, window=window))
        except RemoteError:
            return False
        return True

    async def windows(self, claim: Claim) -> int:
        """How many windows the claim finds."""
        found = self.work.ListWindows(ListWindowsRequest(job_id=claim.job.id, fence=claim.fence))
        return len([item async for item in found])

    async def finish(self, claim: Claim, billable_ms: int = BILLABLE_MS) -> str:
        """Store a transcript and tell of it; the artefact's id."""
        artefact_id = await self._store(claim)
        result = TranscriptCompleted(
            job_id=claim.job.id,
            workspace_id=claim.job.workspace_id,
            fence=claim.fence,
            transcript_artefact_id=artefact_id,
            language="en",
            speech_detected=True,
            speech_ratio=1.0,
            audio_duration_ms=billable_ms,
            billable_ms=billable_ms,
        )
        await self.publish("inference", result, self.event_id(claim))
        return artefact_id

    async def _store(self, claim: Claim) -> str:
        body = Transcript(job_id=claim.job.id).SerializeToString()
        with acting_for(claim.job.workspace_id, claim.job.owner):
            begun = await self.storage.BeginArtefact(BeginArtefactRequest(media_type=_TRANSCRIPT_TYPE, max_size_bytes=len(body)))
            (await self.http.put(begun.upload_url.url, content=body)).raise_for_status()
            await self.storage.CommitArtefact(CommitArtefactRequest(artefact_id=begun.artefact.id))
        return str(begun.artefact.id)

    async def fail(self, claim: Claim) -> None:
        """Tell that the job cannot be done."""
        failed = WorkFailed(job_id=claim.job.id, workspace_id=claim.job.workspace_id, fence=claim.fence, reason="MEDIA_UNPROCESSABLE")
        await self.publish("inference", failed, f"failure:{claim.job.id}:{claim.fence}")

    async def publish(self, service: str, message: Message, event_id: str) -> None:
        """Publish an event of a service."""
        async with open_bus(self.stage.nats.url, name="player") as bus:
            await bus.publish(event_subject(service, type(message)), message, event_id=event_id)

    async def taken(self, claim: Claim) -> None:
        """Wait until jobs has taken the claim's result, whatever it made of it."""
        statement = "SELECT 1 FROM inbox WHERE event_id = ?"
        await reached(LIMIT_SECONDS, lambda: self.stage.rows("jobs", statement, self.event_id(claim)), "the result to be taken")

    def event_id(self, claim: Claim) -> str:
        """The id that inference gives the claim's result."""
        return f"transcript:{claim.job.id}:{claim.fence}"


@asynccontextmanager
async def playing(stage: Stage) -> AsyncIterator[tuple[Client, Worker]]:
    """A client of the first workspace, and a worker."""
    async with AsyncExitStack() as stack:
        enter, signer, grpc = stack.enter_async_context, stage.signer("inference"), stage.ready["grpc"]
        work = await enter(open_channel(grpc["jobs"], audience="jobs", signer=signer, timeout_seconds=LIMIT_SECONDS))
        storage = await enter(open_channel(grpc["storage"], audience="storage", signer=signer, timeout_seconds=LIMIT_SECONDS))
        http = await enter(httpx2.AsyncClient(timeout=60.0, trust_env=False))
        client = Client(stage, await enter(stage.client()))
        yield client, Worker(stage, WorkServiceStub(work), StorageServiceStub(storage), http)


async def quiet(stage: Stage) -> None:
    """Wait until every event of jobs and storage is on the bus, so that the next one is the scenario's."""
    statement = "SELECT 1 FROM outbox WHERE sent_time IS NULL"

    def sent() -> bool:
        return not any(stage.rows(service, statement) for service in ("jobs", "storage"))

    # Handing the job out is an event too.
    await asyncio.sleep(0.5)
    await reached(LIMIT_SECONDS, sent, "the outboxes to be empty")


def blob_of(stage: Stage, media_id: str) -> Path:
    """The file that holds a recording, which is there."""
    [row] = stage.rows("storage", "SELECT object_key FROM media WHERE id = ?", media_id)
    key = str(row["object_key"])
    return stage.data / "blobs" / "objects" / key[:2] / key
