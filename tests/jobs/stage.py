"""The stage of the jobs tests: a real nats-server, the peers, one or more jobs services, and clients of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from services.jobs.app import app
from services.jobs.settings import JobsSettings
from services.mesh.bus import Bus, open_bus
from services.mesh.channel import open_channel
from services.mesh.deliveries import Delivery
from services.mesh.identity import Caller, CallerKind, TokenSigner, TokenVerifier, calling_as, load_key, write_new_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings
from services.mesh.streams import event_subject
from steno.billing.v1 import accounts_service_pb2, billing_service_pb2
from steno.billing.v1.accounts_service_pb2_grpc import add_AccountsServiceServicer_to_server
from steno.billing.v1.billing_service_pb2_grpc import add_BillingServiceServicer_to_server
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted, WorkFailed
from steno.jobs.v1 import detection_jobs_service_pb2, jobs_events_pb2, jobs_service_pb2, work_service_pb2
from steno.jobs.v1 import jobs_service_pb2 as pb
from steno.jobs.v1 import work_service_pb2 as work_pb
from steno.jobs.v1.detection_jobs_service_pb2_grpc import DetectionJobsServiceStub
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceStub
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceStub
from steno.storage.v1 import datasets_service_pb2, storage_service_pb2
from steno.storage.v1.datasets_service_pb2_grpc import add_DatasetsServiceServicer_to_server
from steno.storage.v1.storage_service_pb2_grpc import add_StorageServiceServicer_to_server
from tests.jobs.peers import AccountsPeer, BillingPeer, DatasetsPeer, StoragePeer
from tests.servers import NatsServer, free_port, nats_server

# A guard against hanging, not a promise: a machine with other work may need a good part of it.
DEADLINE_SECONDS = 60.0
CLAIM_KEY = "0123456789abcdef" * 4
QUICK: dict[str, Any] = {
    "dispatch_interval_seconds": 0.1,
    "sweep_interval_seconds": 0.1,
    "cleanup_interval_seconds": 0.1,
    "fetch_interval_seconds": 0.1,
    "upload_interval_seconds": 0.1,
    "retention_interval_seconds": 0.1,
    "watch_interval_seconds": 0.2,
    "tidy_interval_seconds": 0.2,
    "reconcile_interval_seconds": 0.2,
    "retry_delay_seconds": 0.05,
    "max_retry_delay_seconds": 0.1,
    "shutdown_grace_seconds": 3.0,
    "rpc_timeout_seconds": DEADLINE_SECONDS,
}


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Waits until the condition holds. Raises TimeoutError after the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        held = condition()
        if await held if asyncio.iscoroutine(held) else held:
            return
        if time.monotonic() > end:
            raise TimeoutError(what or "the condition never held")
        await asyncio.sleep(0.01)


@dataclass
class Owner:
    """A client that acts for one workspace and owner, as the gateway does."""

    stub: Any
    caller: Caller

    async def create(self, media_id: str, key: str = "", **config: Any) -> pb.CreateJobResponse:
        """Creates a job from media."""
        request = pb.CreateJobRequest(media_id=media_id, source=Job.SOURCE_API, config=TranscriptionConfig(**config), idempotency_key=key)
        return await self.call("CreateJob", request)  # type: ignore[no-any-return]

    async def submit_url(self, url: str, key: str = "", **config: Any) -> pb.CreateJobResponse:
        """Creates a job from a URL."""
        request = pb.CreateJobRequest(url=url, source=Job.SOURCE_URL, config=TranscriptionConfig(**config), idempotency_key=key)
        return await self.call("CreateJob", request)  # type: ignore[no-any-return]

    async def announce(self, filename: str = "talk.mp3", key: str = "", max_size_bytes: int = 0) -> pb.CreateJobResponse:
        """Creates a job for an upload."""
        upload = pb.CreateJobRequest.Upload(filename=filename, max_size_bytes=max_size_bytes)
        return await self.call("CreateJob", pb.CreateJobRequest(upload=upload, source=Job.SOURCE_UPLOAD, idempotency_key=key))  # type: ignore[no-any-return]

    async def complete(self, job_id: str) -> Job:
        """Says that the upload has arrived."""
        return (await self.call("CompleteUpload", pb.CompleteUploadRequest(job_id=job_id))).job  # type: ignore[no-any-return]

    async def claim(self, *tokens: str) -> int:
        """Claims guests' jobs."""
        return (await self.call("ClaimJobs", pb.ClaimJobsRequest(claim_tokens=tokens))).claimed_count  # type: ignore[no-any-return]

    async def get(self, job_id: str) -> Job:
        """Reads a job."""
        return (await self.call("GetJob", pb.GetJobRequest(job_id=job_id))).job  # type: ignore[no-any-return]

    async def list(self, **request: Any) -> pb.ListJobsResponse:
        """Reads a page of jobs."""
        return await self.call("ListJobs", pb.ListJobsRequest(**request))  # type: ignore[no-any-return]

    async def cancel(self, job_id: str) -> Job:
        """Cancels a job."""
        return (await self.call("CancelJob", pb.CancelJobRequest(job_id=job_id))).job  # type: ignore[no-any-return]

    async def delete(self, job_id: str) -> None:
        """Deletes a job."""
        await self.call("DeleteJob", pb.DeleteJobRequest(job_id=job_id))

    async def watch(self, job_id: str, after_revision: int = 0) -> AsyncIterator[Job]:
        """Follows a job."""
        with calling_as(self.caller):
            changes = self.stub.WatchJob(pb.WatchJobRequest(job_id=job_id, after_revision=after_revision))
            first = await anext(changes, None)
        if first is not None:
            yield first.job
        async for response in changes:
            yield response.job

    async def watch_text(self, job_id: str) -> AsyncIterator[str]:
        """Follows the text of a job."""
        with calling_as(self.caller):
            pieces = self.stub.WatchText(pb.WatchTextRequest(job_id=job_id))
            first = await anext(pieces, None)
        if first is not None:
            yield first.text
        async for response in pieces:
            yield response.text

    async def call(self, method: str, request: Message) -> Any:
        """Any unary method."""
        with calling_as(self.caller):
            return await getattr(self.stub, method)(request, timeout=DEADLINE_SECONDS)

    async def state(self, job_id: str) -> Job.State.ValueType:
        """Where a job stands."""
        return (await self.get(job_id)).state


@dataclass
class Lab:
    """A client of DetectionJobsService that acts for one workspace and owner."""

    stub: Any
    caller: Caller

    async def ask(self, method: str, **fields: Any) -> Any:
        """The answer of a method to a request of these fields."""
        request = getattr(detection_jobs_service_pb2, f"{method}Request")(**fields)
        with calling_as(self.caller):
            return await getattr(self.stub, method)(request, timeout=DEADLINE_SECONDS)


@dataclass
class Stage:
    """Everything a test of jobs needs around it."""

    directory: Path
    settings: JobsSettings
    nats: NatsServer
    bus: Bus
    billing: BillingPeer
    storage: StoragePeer
    datasets: DatasetsPeer
    signers: Callable[[str], TokenSigner]
    stack: AsyncExitStack
    told: list[Message] = field(default_factory=list)

    async def owner(self, workspace_id: str = "ws", owner: str = "workspace", key_id: str = "key-1", port: int = 0) -> Owner:
        """A client of the service on the port."""
        return await self.client(Caller(CallerKind.KEY, "gateway", workspace_id, owner, key_id), port)

    async def guest(self, claim_token: str = "", *, wallet_id: str = "", workspace_id: str = "ws", port: int = 0) -> Owner:
        """A caller of the app key "app" without a user's proof, with what it showed instead."""
        digest = sha256(claim_token.encode()).hexdigest() if claim_token else ""
        owner = f"guest:{wallet_id or 'app'}"
        caller = Caller(CallerKind.GUEST, "gateway", workspace_id, owner, "app", wallet_id=wallet_id, claim_digest=digest)
        return await self.client(caller, port)

    async def user(self, user_id: str, claim_token: str = "", *, workspace_id: str = "ws", port: int = 0) -> Owner:
        """A user of the app key "app"."""
        digest = sha256(claim_token.encode()).hexdigest() if claim_token else ""
        caller = Caller(CallerKind.USER, "gateway", workspace_id, f"user:{user_id}", "app", wallet_id=user_id, claim_digest=digest)
        return await self.client(caller, port)

    async def client(self, caller: Caller, port: int = 0) -> Owner:
        """Whoever it is, of the service on the port."""
        return Owner(JobsServiceStub(await self._channel("gateway", port)), caller)

    async def lab(self, workspace_id: str = "ws", owner: str = "workspace") -> Lab:
        """A client of detectors."""
        caller = Caller(CallerKind.KEY, "gateway", workspace_id, owner, "key-1")
        return Lab(DetectionJobsServiceStub(await self._channel("gateway", 0)), caller)

    async def worker(self, port: int = 0) -> Any:
        """A stub of WorkService, as inference has it."""
        return WorkServiceStub(await self._channel("inference", port))

    async def _channel(self, service: str, port: int) -> Any:
        address = f"127.0.0.1:{port or self.settings.port}"
        services = [
            jobs_service_pb2.DESCRIPTOR.services_by_name["JobsService"],
            work_service_pb2.DESCRIPTOR.services_by_name["WorkService"],
            detection_jobs_service_pb2.DESCRIPTOR.services_by_name["DetectionJobsService"],
        ]
        return await self.stack.enter_async_context(
            open_channel(address, audience="jobs", signer=self.signers(service), services=services, timeout_seconds=DEADLINE_SECONDS)
        )

    @asynccontextmanager
    async def jobs(self, **overrides: Any) -> AsyncIterator[Lifecycle]:
        """A running jobs service, ended in order with the block."""
        settings = self.settings.model_copy(update=overrides)
        lifecycle = Lifecycle(settings.shutdown_grace_seconds)
        async with app(settings, lifecycle):
            yield lifecycle
            failure = lifecycle.failure
            lifecycle.stop()
        assert failure is None, failure

    async def complete(self, job_id: str, fence: int, artefact_id: str, *, event_id: str = "", **fields: Any) -> None:
        """Tells jobs of a transcript, as inference does; the workspace is that of the artefact."""
        workspace_id = next(workspace_id for workspace_id, stored_id in self.storage.artefacts if stored_id == artefact_id)
        result = TranscriptCompleted(job_id=job_id, fence=fence, transcript_artefact_id=artefact_id, workspace_id=workspace_id, **fields)
        await self.bus.publish(event_subject("inference", TranscriptCompleted), result, event_id=event_id or f"transcript:{job_id}:{fence}")

    async def fail(self, job_id: str, fence: int, *, retryable: bool, reason: str = "MEDIA_UNPROCESSABLE", event_id: str = "") -> None:
        """Tells jobs of a failure, as inference does."""
        failure = WorkFailed(job_id=job_id, fence=fence, reason=reason, message="It broke.", retryable=retryable)
        await self.bus.publish(event_subject("inference", WorkFailed), failure, event_id=event_id or f"failure:{job_id}:{fence}")

    def told_of(self, message: type[Message], job_id: str) -> list[Any]:
        """The events of that kind that jobs published about the job."""
        return [event for event in self.told if isinstance(event, message) and getattr(event, "job_id", "") == job_id]

    async def hear(self, delivery: Delivery) -> None:
        """Keeps an event of jobs."""
        kind: type[Message] = getattr(jobs_events_pb2, delivery.message_type.rpartition(".")[2])
        self.told.append(delivery.parse(kind))


async def claim(worker: Any, job_id: str, worker_id: str = "worker-1") -> work_pb.ClaimWorkResponse:
    """Takes a job."""
    return await worker.ClaimWork(work_pb.ClaimWorkRequest(job_id=job_id, worker_id=worker_id))  # type: ignore[no-any-return]


@asynccontextmanager
async def open_stage(directory: Path, database_url: str, **overrides: Any) -> AsyncIterator[Stage]:
    """A stage without a jobs service; tests start one with `stage.jobs()`."""
    key_file = directory / "identity.pem"
    write_new_key(key_file)
    key = load_key(key_file)
    claim_key_file = directory / "claim"
    claim_key_file.touch(0o600)
    claim_key_file.write_text(CLAIM_KEY)
    billing, storage = BillingPeer(), StoragePeer()  # type: ignore[abstract]
    accounts, datasets = AccountsPeer(billing), DatasetsPeer()  # type: ignore[abstract]
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server(directory / "nats"))
        registrations = {"billing": [_billing(billing), _accounts(accounts)], "storage": [_storage(storage), _datasets(datasets)]}
        ports = [await stack.enter_async_context(_serve(key, name, served)) for name, served in registrations.items()]
        bus = await stack.enter_async_context(open_bus(nats.url, name="test"))
        addresses = {"billing_address": f"127.0.0.1:{ports[0]}", "storage_address": f"127.0.0.1:{ports[1]}"}
        place = {
            "port": free_port(),
            "database_url": database_url,
            "nats_url": nats.url,
            "identity_key_file": key_file,
            "claim_key_file": claim_key_file,
        }
        settings = JobsSettings(**(QUICK | addresses | place | overrides))
        stage = Stage(directory, settings, nats, bus, billing, storage, datasets, partial(TokenSigner, key), stack)
        await stack.enter_async_context(bus.watch("steno.events.jobs.>", stage.hear))
        await stack.enter_async_context(bus.watch("steno.work.>", stage.hear))
        yield stage


def _billing(peer: Any) -> Registration:
    service = billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"]
    return Registration(add_BillingServiceServicer_to_server, peer, service)


def _accounts(peer: Any) -> Registration:
    service = accounts_service_pb2.DESCRIPTOR.services_by_name["AccountsService"]
    return Registration(add_AccountsServiceServicer_to_server, peer, service)


def _storage(peer: Any) -> Registration:
    service = storage_service_pb2.DESCRIPTOR.services_by_name["StorageService"]
    return Registration(add_StorageServiceServicer_to_server, peer, service)


def _datasets(peer: Any) -> Registration:
    service = datasets_service_pb2.DESCRIPTOR.services_by_name["DatasetsService"]
    return Registration(add_DatasetsServiceServicer_to_server, peer, service)


@asynccontextmanager
async def _serve(key: Any, name: str, served: Sequence[Registration]) -> AsyncIterator[int]:
    settings = ServiceSettings(port=0, shutdown_grace_seconds=1.0)
    async with open_server(settings, TokenVerifier(key, name), authenticate=None, servicers=served) as server:
        yield server.port
