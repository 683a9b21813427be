"""The services behind the gateway as small real servers: gRPC on loopback, and HTTP for the bytes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import OKPKey

from services.mesh.errors import (
    FailedPrecondition,
    Internal,
    InvalidApiKey,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceUnavailable,
)
from services.mesh.identity import CallerKind, TokenVerifier, current_caller
from services.mesh.ids import new_id
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import accounts_service_pb2_grpc as accounts_grpc
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1 import billing_service_pb2_grpc as billing_grpc
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.ledger_pb2 import Balance
from steno.billing.v1.workspace_pb2 import Plan, Workspace
from steno.inference.v1 import inference_service_pb2 as inference
from steno.inference.v1 import inference_service_pb2_grpc as inference_grpc
from steno.jobs.v1 import jobs_service_pb2 as jobs
from steno.jobs.v1 import jobs_service_pb2_grpc as jobs_grpc
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.storage.v1 import storage_service_pb2 as storage
from steno.storage.v1 import storage_service_pb2_grpc as storage_grpc
from steno.storage.v1.media_pb2 import Media, SignedUrl

PLAN = Plan(name="studio", tier="paid", tier_level=2, retention_days=365, max_upload_bytes=32 * 1024**2, max_duration_ms=36_000_000)


class ApiKeyNotFound(NotFound):
    """No such key."""


class JobNotFound(NotFound):
    """No such job."""


class MediaNotFound(NotFound):
    """No such media."""


class ArtefactNotFound(NotFound):
    """No such artefact."""


class EmptyMedia(InvalidArgument):
    """No bytes."""


class UnsupportedMedia(InvalidArgument):
    """No audio."""


class BrokenMedia(InvalidArgument):
    """Nothing decodes."""


class MediaTooLong(InvalidArgument):
    """The file holds more audio than allowed."""


class UploadIncomplete(FailedPrecondition):
    """Not all there."""


class NoCredits(ResourceExhausted):
    """No credit."""


class InvalidLanguage(InvalidArgument):
    """No language."""


class MediaTaken(FailedPrecondition):
    """Another job was made from this media."""


class IdempotencyKeyReused(FailedPrecondition):
    """Another request."""


REFUSED_MEDIA: dict[bytes, type[InvalidArgument]] = {b"TEXT": UnsupportedMedia, b"BROKEN": BrokenMedia, b"LONG": MediaTooLong}


@dataclass
class World:
    """What the peers know, shared by all of them and read by the tests."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    media: dict[str, Media] = field(default_factory=dict)
    blobs: dict[str, bytearray] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    aborted: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    orders: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    poor: set[str] = field(default_factory=set)
    authentications: int = 0
    signed_by: list[str] = field(default_factory=list)
    put_status: int = 200
    put_gate: asyncio.Event = field(default_factory=asyncio.Event)
    create_failures: list[Exception] = field(default_factory=list)
    data_url: str = ""

    def new_key(self, kind: ApiKey.Kind.ValueType = ApiKey.KIND_WORKSPACE, workspace_id: str = "") -> str:
        """The secret of a key in a workspace of its own."""
        secret = f"sk_test_{new_id()}"
        workspace_id = workspace_id or new_id()
        self.keys[secret] = ApiKey(id=new_id(), workspace_id=workspace_id, name="test", kind=kind, key_prefix=secret[:12], test=True)
        self.keys[secret].create_time.GetCurrentTime()
        return secret

    def workspace_of(self, secret: str) -> str:
        """Where a key belongs."""
        return self.keys[secret].workspace_id

    async def update(self, job_id: str, **changes: Any) -> None:
        """Change a job and wake its watchers."""
        job = self.jobs[job_id]
        for name, value in changes.items():
            setattr(job, name, value)
        job.revision += 1
        async with self.changed:
            self.changed.notify_all()

    async def finish(self, job_id: str, transcript: Transcript) -> None:
        """End a job with a stored transcript."""
        artefact_id = new_id()
        self.blobs[artefact_id] = bytearray(transcript.SerializeToString())
        self.complete.add(artefact_id)
        self.jobs[job_id].complete_time.GetCurrentTime()
        await self.update(
            job_id,
            state=Job.STATE_DONE,
            progress=1.0,
            transcript_artefact_id=artefact_id,
            speech_detected=transcript.speech_detected,
            speech_ratio=transcript.speech_ratio,
            language=transcript.language,
        )

    def jobs_of(self, secret: str) -> list[Job]:
        """A workspace's jobs, newest first."""
        found = [job for job in self.jobs.values() if job.workspace_id == self.workspace_of(secret)]
        return sorted(found, key=lambda job: job.id, reverse=True)

    def media_of(self, secret: str) -> list[Media]:
        """A workspace's media, announced or ready."""
        return [media for media in self.media.values() if media.workspace_id == self.workspace_of(secret)]


class AccountsPeer(accounts_grpc.AccountsServiceServicer):
    """Keys."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def Authenticate(self, request: Any, context: Any) -> accounts.AuthenticateResponse:
        self.world.authentications += 1
        assert current_caller().kind is CallerKind.SERVICE
        key = self.world.keys.get(request.api_key)
        if key is None or key.HasField("revoke_time"):
            raise InvalidApiKey
        return accounts.AuthenticateResponse(api_key=key, workspace=Workspace(id=key.workspace_id), plan=PLAN)

    async def CreateApiKey(self, request: Any, context: Any) -> accounts.CreateApiKeyResponse:
        secret = self.world.new_key(request.kind, current_caller().workspace_id)
        key = self.world.keys[secret]
        key.name = request.name
        key.test = request.test
        if request.HasField("expire_time"):
            key.expire_time.CopyFrom(request.expire_time)
        return accounts.CreateApiKeyResponse(api_key=key, secret=secret)

    async def ListApiKeys(self, request: Any, context: Any) -> accounts.ListApiKeysResponse:
        mine = [key for key in self.world.keys.values() if key.workspace_id == current_caller().workspace_id]
        return accounts.ListApiKeysResponse(api_keys=[key for key in mine if not key.HasField("revoke_time")])

    async def RevokeApiKey(self, request: Any, context: Any) -> accounts.RevokeApiKeyResponse:
        for key in self.world.keys.values():
            if key.id == request.id and key.workspace_id == current_caller().workspace_id:
                key.revoke_time.GetCurrentTime()
                return accounts.RevokeApiKeyResponse()
        raise ApiKeyNotFound


class BillingPeer(billing_grpc.BillingServiceServicer):
    """A balance."""

    async def GetBalance(self, request: Any, context: Any) -> billing.GetBalanceResponse:
        return billing.GetBalanceResponse(balance=Balance(available_ms=3_600_000, held_ms=1_800_000, used_ms=0, granted_ms=5_400_000))


class StoragePeer(storage_grpc.StorageServiceServicer):
    """Media and artefacts in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _mine(self, media_id: str) -> Media:
        media = self.world.media.get(media_id)
        if media is None or media.workspace_id != current_caller().workspace_id:
            raise MediaNotFound
        return media

    async def BeginUpload(self, request: Any, context: Any) -> storage.BeginUploadResponse:
        media = Media(id=new_id(), workspace_id=current_caller().workspace_id, filename=request.filename, state=Media.STATE_UPLOADING)
        self.world.media[media.id] = media
        url = SignedUrl(url=f"{self.world.data_url}/media/{media.id}?expires=1&signature=a", store="disk")
        return storage.BeginUploadResponse(media=media, upload_url=url)

    async def CommitUpload(self, request: Any, context: Any) -> storage.CommitUploadResponse:
        media = self._mine(request.media_id)
        if media.id not in self.world.complete:
            raise UploadIncomplete
        content = bytes(self.world.blobs[media.id])
        if not content:
            raise EmptyMedia
        for start, error in REFUSED_MEDIA.items():
            if content.startswith(start):
                raise error
        media.state = Media.STATE_READY
        media.size_bytes = len(content)
        media.sha256 = hashlib.sha256(content).hexdigest()
        media.probe.duration_ms = 1000
        return storage.CommitUploadResponse(media=media)

    async def AbortUpload(self, request: Any, context: Any) -> storage.AbortUploadResponse:
        self._forget(request.media_id)
        self.world.aborted.append(request.media_id)
        return storage.AbortUploadResponse()

    async def DeleteMedia(self, request: Any, context: Any) -> storage.DeleteMediaResponse:
        self._forget(request.media_id)
        self.world.deleted.append(request.media_id)
        return storage.DeleteMediaResponse()

    def _forget(self, media_id: str) -> None:
        self._mine(media_id)
        del self.world.media[media_id]
        self.world.blobs.pop(media_id, None)

    async def SignMediaUrl(self, request: Any, context: Any) -> storage.SignMediaUrlResponse:
        url = SignedUrl(url=f"{self.world.data_url}/media/{self._mine(request.media_id).id}?expires=1&signature=a", store="disk")
        url.expire_time.GetCurrentTime()
        url.expire_time.seconds += 600
        return storage.SignMediaUrlResponse(download_url=url)

    async def SignArtefactUrl(self, request: Any, context: Any) -> storage.SignArtefactUrlResponse:
        if request.artefact_id not in self.world.blobs:
            raise ArtefactNotFound
        self.world.signed_by.append(f"{current_caller().kind}:{current_caller().service}:{current_caller().workspace_id}")
        url = f"{self.world.data_url}/artefacts/{request.artefact_id}?expires=1&signature=a"
        return storage.SignArtefactUrlResponse(download_url=SignedUrl(url=url, store="disk"))


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


class InferencePeer(inference_grpc.InferenceServiceServicer):
    """One model."""

    async def ListModels(self, request: Any, context: Any) -> inference.ListModelsResponse:
        return inference.ListModelsResponse(models=[inference.Model(name="pocketsphinx-en-us", engine="local", languages=["en"])])


class DataPlane:
    """Takes PUTs in chunks and serves GETs with a range, over HTTP/1.1."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split(" ", 2)
            object_id = target.split("?")[0].rpartition("/")[2]
            if method == "PUT":
                await self._put(object_id, reader, writer)
            else:
                await self._get(object_id, head.lower(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _put(self, object_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.world.put_status != 200:
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % self.world.put_status)
            await writer.drain()
            return
        blob = self.world.blobs[object_id] = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            blob += await reader.readexactly(size)
            await reader.readexactly(2)
            async with self.world.changed:
                self.world.changed.notify_all()
            await self.world.put_gate.wait()
        await reader.readexactly(2)
        self.world.complete.add(object_id)
        writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async def _get(self, object_id: str, head: str, writer: asyncio.StreamWriter) -> None:
        blob = bytes(self.world.blobs.get(object_id, b""))
        status, extra = "200 OK", ""
        if "range: bytes=0-3\r\n" in head:
            status, extra, blob = "206 Partial", f"content-range: bytes 0-3/{len(blob)}\r\n", blob[:4]
        if object_id not in self.world.blobs:
            status = "404 Not Found"
        start = f"HTTP/1.1 {status}\r\ncontent-type: audio/wav\r\ncontent-length: {len(blob)}\r\n{extra}connection: close\r\n\r\n"
        writer.write(start.encode() + blob)
        await writer.drain()


@dataclass(frozen=True)
class Addresses:
    """Where the peers listen."""

    billing: str
    storage: str
    jobs: str
    inference: str


@asynccontextmanager
async def open_world(key: OKPKey) -> AsyncIterator[tuple[World, Addresses]]:
    """All peers, serving."""
    world = World()
    world.put_gate.set()
    data_plane = await asyncio.start_server(DataPlane(world).handle, "127.0.0.1", 0)
    world.data_url = f"http://127.0.0.1:{data_plane.sockets[0].getsockname()[1]}"
    # The peers leave out what the gateway never calls.
    peers: dict[str, Any] = {
        "accounts": AccountsPeer(world),  # type: ignore[abstract]
        "billing": BillingPeer(),  # type: ignore[abstract]
        "storage": StoragePeer(world),  # type: ignore[abstract]
        "jobs": JobsPeer(world),  # type: ignore[abstract]
    }
    services = {
        "billing": [
            Registration(accounts_grpc.add_AccountsServiceServicer_to_server, peers["accounts"], _service(accounts, "AccountsService")),
            Registration(billing_grpc.add_BillingServiceServicer_to_server, peers["billing"], _service(billing, "BillingService")),
        ],
        "storage": [Registration(storage_grpc.add_StorageServiceServicer_to_server, peers["storage"], _service(storage, "StorageService"))],
        "jobs": [Registration(jobs_grpc.add_JobsServiceServicer_to_server, peers["jobs"], _service(jobs, "JobsService"))],
        "inference": [
            Registration(inference_grpc.add_InferenceServiceServicer_to_server, InferencePeer(), _service(inference, "InferenceService"))
        ],
    }
    settings = ServiceSettings(shutdown_grace_seconds=0.2)
    async with AsyncExitStack() as stack:
        stack.callback(data_plane.close)
        ports: dict[str, str] = {}
        for name, servicers in services.items():
            opened = open_server(settings, TokenVerifier(key, name), authenticate=None, servicers=servicers)
            server = await stack.enter_async_context(opened)
            ports[name] = f"127.0.0.1:{server.port}"
        yield world, Addresses(**ports)


def _service(module: Any, name: str) -> Any:
    return module.DESCRIPTOR.services_by_name[name]


FAILURES = {"internal": Internal, "unavailable": ServiceUnavailable}
