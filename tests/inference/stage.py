"""The stage of the tests of work: the peers, a real bus, and a workbench over the real engine and sandbox."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from google.protobuf.message import Message

from services.inference.engines.local import LocalEngine, open_local_engine
from services.inference.pipeline import Pipeline, SpeechFloor
from services.inference.scheduling import WindowScheduler
from services.inference.stored_detectors import StoredDetectors
from services.inference.trainer.child import TrainerProgram
from services.inference.usecases.work import work_on
from services.inference.usecases.workbench import Workbench
from services.media.sandbox import Sandbox, open_sandbox
from services.mesh.bus import Bus, open_bus
from services.mesh.channel import open_channel
from services.mesh.deliveries import Delivery
from services.mesh.identity import TokenSigner, TokenVerifier, load_key, write_new_key
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings
from services.mesh.telemetry import get_logger
from steno.inference.v1.inference_events_pb2 import DetectionCompleted, TrainingCompleted, TranscriptCompleted, WorkFailed
from steno.jobs.v1 import work_service_pb2
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceStub, add_WorkServiceServicer_to_server
from steno.storage.v1 import datasets_service_pb2, storage_service_pb2
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceStub, add_DatasetsServiceServicer_to_server
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceStub, add_StorageServiceServicer_to_server
from tests.inference.conftest import SAMPLES
from tests.inference.peers import DatasetsPeer, StoragePeer, WorkPeer, open_data_plane
from tests.inference.troubled import TroubledEngine
from tests.servers import NatsServer, nats_server

DEADLINE_SECONDS = 60.0
HELLO = SAMPLES / "clips" / "hello.flac"
TWO_VOICES = SAMPLES / "clips" / "two_voices.ogg"
SILENCE = SAMPLES / "clips" / "silence.flac"
LONGEST_MS = 36_000_000
EVENTS = (TranscriptCompleted, TrainingCompleted, DetectionCompleted, WorkFailed)
E = TypeVar("E", bound=Message)


async def until(condition: Callable[[], Any], what: str = "the condition", seconds: float = DEADLINE_SECONDS) -> None:
    """Waits until the condition holds. Raises TimeoutError after the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        await asyncio.sleep(0.01)


@dataclass
class House:
    """What is dear to start: shared by the tests of a session."""

    engine: LocalEngine
    sandbox: Sandbox
    nats: NatsServer


@asynccontextmanager
async def open_house(directory: Path) -> AsyncIterator[House]:
    """The engine with two processes, the sandbox, and nats-server."""
    async with open_local_engine(2) as engine, open_sandbox(concurrency=2) as sandbox, nats_server(directory) as nats:
        yield House(engine, sandbox, nats)


@dataclass
class Stage:
    """One test's peers and workbench; `told` holds what inference published, with its event ids."""

    house: House
    work: WorkPeer
    storage: StoragePeer
    datasets: DatasetsPeer
    engine: TroubledEngine
    bench: Workbench
    key_file: Path
    addresses: dict[str, str]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[tuple[str, Any]] = field(default_factory=list)

    def job(self, media: Path | bytes, **config: Any) -> Job:
        """A queued job on new media."""
        body = media if isinstance(media, bytes) else media.read_bytes()
        return self.work.add(self.storage.add_media(body), **config)

    async def run(self, job: Job, seconds: float = DEADLINE_SECONDS) -> None:
        """Work on the job until that ends."""
        async with asyncio.timeout(seconds):
            await work_on(self.bench, job.id, self.stopping)

    def start(self, job: Job, seconds: float = DEADLINE_SECONDS) -> "asyncio.Task[None]":
        """Begin to work on the job."""
        return asyncio.create_task(self.run(job, seconds), name=f"work on {job.id}")

    async def completed(self, job: Job) -> TranscriptCompleted:
        """The one result that was published of a transcription."""
        return await self.told_of(job, TranscriptCompleted)

    async def failed(self, job: Job) -> WorkFailed:
        """The one failure that was published of the job."""
        return await self.told_of(job, WorkFailed)

    def published(self, job: Job) -> list[str]:
        """Event ids of all that was published of the job."""
        return [event_id for event_id, event in self.told if event.job_id == job.id]

    async def told_of(self, job: Job, kind: type[E]) -> E:
        """The one event that was published of the job."""
        await until(lambda: self.published(job), f"an event of {job.id}")
        events: list[Any] = [event for _, event in self.told if event.job_id == job.id]
        assert [type(event) for event in events] == [kind], events
        found: E = events[0]
        return found

    async def hear(self, delivery: Delivery) -> None:
        """Keeps an event of inference."""
        kind: type[Any] = {kind.DESCRIPTOR.full_name: kind for kind in EVENTS}[delivery.message_type]
        self.told.append((delivery.event_id, delivery.parse(kind)))


@asynccontextmanager
async def open_stage(house: House, directory: Path) -> AsyncIterator[Stage]:
    """Fresh peers around the shared house."""
    key_file, scratch = directory / "identity.pem", directory / "scratch"
    write_new_key(key_file)
    scratch.mkdir()
    key, signer = load_key(key_file), TokenSigner(load_key(key_file), "inference")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        work = WorkPeer()
        storage = StoragePeer(await enter(open_data_plane()))  # type: ignore[abstract]
        datasets = DatasetsPeer(storage)  # type: ignore[abstract]
        work_service = work_service_pb2.DESCRIPTOR.services_by_name["WorkService"]
        storage_service = storage_service_pb2.DESCRIPTOR.services_by_name["StorageService"]
        datasets_service = datasets_service_pb2.DESCRIPTOR.services_by_name["DatasetsService"]
        addresses = {
            "jobs": await enter(_serve(key, "jobs", Registration(add_WorkServiceServicer_to_server, work, work_service))),
            "storage": await enter(
                _serve(
                    key,
                    "storage",
                    Registration(add_StorageServiceServicer_to_server, storage, storage_service),
                    Registration(add_DatasetsServiceServicer_to_server, datasets, datasets_service),
                )
            ),
        }
        bus = await enter(open_bus(house.nats.url, name="inference-test"))
        engine = TroubledEngine(house.engine)
        services = [storage_service, datasets_service]
        channel = await enter(open_channel(addresses["storage"], audience="storage", signer=signer, services=services))
        jobs = await enter(open_channel(addresses["jobs"], audience="jobs", signer=signer, services=[work_service]))
        # The servers' answers to who watches their health are tasks of this process: they are here before the tests count theirs.
        for opened in (channel, jobs):
            opened.get_state(try_to_connect=True)
            await opened.channel_ready()
        client = await enter(httpx2.AsyncClient(timeout=30.0, trust_env=False))
        bench = Workbench(
            work=WorkServiceStub(jobs),
            storage=StorageServiceStub(channel),
            datasets=DatasetsServiceStub(channel),
            client=client,
            bus=bus,
            engine=engine,
            pipeline=Pipeline(
                engine, SpeechFloor(0.05, 0.5), WindowScheduler(lambda: engine.windows_in_flight), get_logger("inference.pipeline")
            ),
            sandbox=house.sandbox,
            scratch=scratch,
            max_duration_ms=LONGEST_MS,
            worker_id="test-worker",
            detectors=StoredDetectors(StorageServiceStub(channel), client, scratch / "detectors", 2),
            trainer=TrainerProgram(),
        )
        stage = Stage(house, work, storage, datasets, engine, bench, key_file, addresses)
        await enter(_listening(bus, stage))
        yield stage


@asynccontextmanager
async def _listening(bus: Bus, stage: Stage) -> AsyncIterator[None]:
    async with bus.watch("steno.events.inference.>", stage.hear):
        yield


@asynccontextmanager
async def _serve(key: Any, name: str, *registrations: Registration) -> AsyncIterator[str]:
    settings = ServiceSettings(port=0, shutdown_grace_seconds=0.5)
    async with open_server(settings, TokenVerifier(key, name), authenticate=None, servicers=registrations) as server:
        yield f"127.0.0.1:{server.port}"
