"""Jobs and storage as inference meets them: real gRPC servers and a real HTTP data plane that keep everything in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from services.mesh.errors import Aborted, FailedPrecondition, NotFound, ServiceUnavailable
from services.mesh.identity import current_caller
from services.mesh.ids import new_id
from steno.jobs.v1 import work_service_pb2 as work_pb
from steno.jobs.v1.detector_pb2 import DetectionTask, InferenceConfig, TrainingConfig, TrainingTask
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceServicer
from steno.storage.v1 import datasets_service_pb2 as datasets_pb
from steno.storage.v1 import storage_service_pb2 as storage_pb
from steno.storage.v1.annotation_set_pb2 import Annotation
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceServicer
from steno.storage.v1.media_pb2 import Artefact, Media, Probe, SignedUrl
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
WORKSPACE = "ws-1"
OWNER = "guest:key-1"


class JobNotFound(NotFound):
    """No job has this id."""


class JobAlreadyEnded(FailedPrecondition):
    """The job ended before."""


class JobLeased(Aborted):
    """Another worker holds the job's lease."""


class StaleFence(Aborted):
    """The claim was overtaken, or the job ended or was deleted."""


class MediaNotFound(NotFound):
    """No such media in the caller's workspace."""


class ArtefactNotFound(NotFound):
    """No such artefact in the caller's workspace."""


class DatasetNotFound(NotFound):
    """No such dataset of the caller."""


class WorkPeer(WorkServiceServicer):
    """Jobs to claim. `away` counts the calls that find nobody, by method; `lease_seconds` is what a claim gets."""

    def __init__(self) -> None:
        self.lease_seconds = 30.0
        self.jobs: dict[str, Job] = {}
        self.fences: dict[str, int] = {}
        self.held: set[str] = set()
        self.ended: set[str] = set()
        self.windows: dict[tuple[str, int], bytes] = {}
        self.reports: list[work_pb.ExtendLeaseRequest] = []
        self.put: list[work_pb.PutWindowRequest] = []
        self.released: list[work_pb.ReleaseWorkRequest] = []
        self.workers: list[str] = []
        self.away: dict[str, int] = {}
        self.refused = 0

    def add(self, media_id: str, *, audio_duration_ms: int = 0, **config: Any) -> Job:
        """A queued job."""
        job = Job(id=new_id(), workspace_id=WORKSPACE, owner=OWNER, media_id=media_id, audio_duration_ms=audio_duration_ms)
        job.config.CopyFrom(TranscriptionConfig(**config))
        return self._keep(job)

    def add_training(self, config: TrainingConfig) -> Job:
        """A queued training."""
        task = TrainingTask(dataset_id=new_id(), annotation_set_id=new_id(), config=config)
        return self._keep(Job(id=new_id(), workspace_id=WORKSPACE, owner=OWNER, kind=Job.KIND_TRAINING, training=task))

    def add_detection(self, media_id: str, artefact_id: str, config: InferenceConfig, audio_duration_ms: int = 0) -> Job:
        """A queued file of an inference order."""
        task = DetectionTask(inference_job_id=new_id(), model_id=new_id(), detector_artefact_id=artefact_id, config=config)
        job = Job(id=new_id(), workspace_id=WORKSPACE, owner=OWNER, media_id=media_id, kind=Job.KIND_DETECTION, detection=task)
        job.audio_duration_ms = audio_duration_ms
        return self._keep(job)

    def _keep(self, job: Job) -> Job:
        self.jobs[job.id], self.fences[job.id] = job, 0
        return job

    def windows_of(self, job: Job) -> dict[int, bytes]:
        """What is stored of a job, by index."""
        return {index: window for (job_id, index), window in self.windows.items() if job_id == job.id}

    def take_over(self, job_id: str) -> None:
        """Another worker claims the job."""
        self.fences[job_id] += 1

    def progress(self) -> list[float]:
        """Every progress told, in order of its arrival."""
        return [report.progress for report in self.reports]

    async def ClaimWork(self, request: work_pb.ClaimWorkRequest, context: Context) -> work_pb.ClaimWorkResponse:
        self._answer("ClaimWork")
        if request.job_id not in self.jobs:
            raise JobNotFound
        if request.job_id in self.ended:
            raise JobAlreadyEnded
        if request.job_id in self.held:
            raise JobLeased
        self.workers.append(request.worker_id)
        self.held.add(request.job_id)
        self.fences[request.job_id] += 1
        response = work_pb.ClaimWorkResponse(job=self.jobs[request.job_id], fence=self.fences[request.job_id])
        response.lease_duration.FromNanoseconds(int(self.lease_seconds * 1e9))
        return response

    async def ExtendLease(self, request: work_pb.ExtendLeaseRequest, context: Context) -> work_pb.ExtendLeaseResponse:
        self._check("ExtendLease", request.job_id, request.fence)
        self.reports.append(request)
        return work_pb.ExtendLeaseResponse()

    async def PutWindow(self, request: work_pb.PutWindowRequest, context: Context) -> work_pb.PutWindowResponse:
        self._check("PutWindow", request.job_id, request.fence)
        self.put.append(request)
        self.windows[request.job_id, request.index] = request.window
        return work_pb.PutWindowResponse()

    async def ListWindows(self, request: work_pb.ListWindowsRequest, context: Context) -> AsyncIterator[work_pb.ListWindowsResponse]:
        self._check("ListWindows", request.job_id, request.fence)
        for (job_id, index), window in self.windows.items():
            if job_id == request.job_id:
                yield work_pb.ListWindowsResponse(index=index, window=window)

    async def ReleaseWork(self, request: work_pb.ReleaseWorkRequest, context: Context) -> work_pb.ReleaseWorkResponse:
        self._check("ReleaseWork", request.job_id, request.fence)
        self.released.append(request)
        self.held.discard(request.job_id)
        return work_pb.ReleaseWorkResponse()

    def _check(self, method: str, job_id: str, fence: int) -> None:
        self._answer(method)
        if job_id not in self.held or self.fences[job_id] != fence:
            raise StaleFence

    def _answer(self, method: str) -> None:
        if self.away.get(method, 0) > 0:
            self.away[method] -= 1
            self.refused += 1
            raise ServiceUnavailable


class StoragePeer(StorageServiceServicer):
    """Media and artefacts of one workspace; their bytes lie in the data plane. owner: who asks for them."""

    def __init__(self, plane: "DataPlane") -> None:
        self.plane = plane
        self.owner = OWNER
        self.state = Media.STATE_READY
        self.probed_ms = 60_000
        self.artefacts: dict[str, bool] = {}
        self.away = 0

    def add_media(self, body: bytes) -> str:
        """Ready media."""
        media_id = new_id()
        self.plane.bodies[f"/media/{media_id}"] = body
        return media_id

    def transcript(self, artefact_id: str) -> Transcript:
        """A committed transcript."""
        assert self.artefacts[artefact_id]
        return Transcript.FromString(self.plane.bodies[f"/artefacts/{artefact_id}"])

    async def GetMedia(self, request: storage_pb.GetMediaRequest, context: Context) -> storage_pb.GetMediaResponse:
        self.identify()
        body = self.plane.bodies.get(f"/media/{request.media_id}")
        if body is None:
            raise MediaNotFound
        probe = Probe(duration_ms=self.probed_ms)
        return storage_pb.GetMediaResponse(media=Media(id=request.media_id, state=self.state, size_bytes=len(body), probe=probe))

    async def SignMediaUrl(self, request: storage_pb.SignMediaUrlRequest, context: Context) -> storage_pb.SignMediaUrlResponse:
        self.identify()
        path = f"/media/{request.media_id}"
        if path not in self.plane.bodies:
            raise MediaNotFound
        return storage_pb.SignMediaUrlResponse(download_url=SignedUrl(url=self.plane.url(path)))

    async def BeginArtefact(self, request: storage_pb.BeginArtefactRequest, context: Context) -> storage_pb.BeginArtefactResponse:
        self.identify()
        artefact_id = new_id()
        self.artefacts[artefact_id] = False
        url = SignedUrl(url=self.plane.url(f"/artefacts/{artefact_id}"))
        return storage_pb.BeginArtefactResponse(artefact=Artefact(id=artefact_id), upload_url=url)

    async def CommitArtefact(self, request: storage_pb.CommitArtefactRequest, context: Context) -> storage_pb.CommitArtefactResponse:
        self.identify()
        if self.away:
            self.away -= 1
            raise ServiceUnavailable
        assert f"/artefacts/{request.artefact_id}" in self.plane.bodies
        self.artefacts[request.artefact_id] = True
        return storage_pb.CommitArtefactResponse(artefact=Artefact(id=request.artefact_id))

    async def SignArtefactUrl(self, request: storage_pb.SignArtefactUrlRequest, context: Context) -> storage_pb.SignArtefactUrlResponse:
        self.identify()
        if not self.artefacts.get(request.artefact_id):
            raise ArtefactNotFound
        return storage_pb.SignArtefactUrlResponse(download_url=SignedUrl(url=self.plane.url(f"/artefacts/{request.artefact_id}")))

    def add_artefact(self, body: bytes) -> str:
        """A committed artefact."""
        artefact_id = new_id()
        self.artefacts[artefact_id] = True
        self.plane.bodies[f"/artefacts/{artefact_id}"] = body
        return artefact_id

    def body(self, artefact_id: str) -> bytes:
        """Of a committed artefact."""
        assert self.artefacts[artefact_id]
        return self.plane.bodies[f"/artefacts/{artefact_id}"]

    async def DeleteArtefact(self, request: storage_pb.DeleteArtefactRequest, context: Context) -> storage_pb.DeleteArtefactResponse:
        self.identify()
        self.artefacts.pop(request.artefact_id, None)
        return storage_pb.DeleteArtefactResponse()

    def identify(self) -> None:
        """Fails for any caller but inference in the name of the owner."""
        caller = current_caller()
        assert (caller.service, caller.workspace_id, caller.owner) == ("inference", WORKSPACE, self.owner)


class DatasetsPeer(DatasetsServiceServicer):
    """One published set, whichever is asked for. expired: how many lists come with URLs that nobody can use any more."""

    def __init__(self, storage: StoragePeer) -> None:
        self.storage = storage
        self.files: list[datasets_pb.ListTrainingFilesResponse] = []
        self.gone = False
        self.expired = 0
        self.lists = 0

    def add_file(self, features: bytes, duration_ms: int, annotations: list[Annotation]) -> None:
        """A ready file."""
        audio_id = new_id()
        path = f"/features/{audio_id}"
        self.storage.plane.bodies[path] = features
        url = SignedUrl(url=self.storage.plane.url(path))
        self.files.append(
            datasets_pb.ListTrainingFilesResponse(audio_id=audio_id, duration_ms=duration_ms, features_url=url, annotations=annotations)
        )

    async def ListTrainingFiles(
        self, request: datasets_pb.ListTrainingFilesRequest, context: Context
    ) -> AsyncIterator[datasets_pb.ListTrainingFilesResponse]:
        self.storage.identify()
        self.lists += 1
        if self.gone:
            raise DatasetNotFound
        for number, file in enumerate(self.files):
            if self.lists <= self.expired and number >= self.lists:
                file = datasets_pb.ListTrainingFilesResponse.FromString(file.SerializeToString())
                file.features_url.url = self.storage.plane.url("/expired")
            yield file


@dataclass
class DataPlane:
    """HTTP/1.1 on loopback. `status` answers GET with an error; `drip` sends all but the last byte, then nothing more."""

    port: int = 0
    bodies: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    drip: bool = False
    cut: bool = False
    gets: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        """Where a path is."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            if method == "PUT":
                length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
                self.bodies[path] = await reader.readexactly(length)
                writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                await self._send(path, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _send(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gets.append(path)
        status = 403 if path == "/expired" else self.status if path in self.bodies else 404
        body = self.bodies[path] if status == 200 else b"{}"
        writer.write(f"HTTP/1.1 {status} Told\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
        writer.write(body[:-1] if self.drip or self.cut else body)
        await writer.drain()
        if self.drip:
            await reader.read()


@asynccontextmanager
async def open_data_plane() -> AsyncIterator[DataPlane]:
    """A listening data plane."""
    plane = DataPlane()
    server = await asyncio.start_server(plane.serve, "127.0.0.1", 0)
    plane.port = server.sockets[0].getsockname()[1]
    try:
        yield plane
    finally:
        server.close()
        await server.wait_closed()
