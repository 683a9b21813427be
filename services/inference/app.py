"""The inference service, put together."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import httpx2

from services.inference.charging import open_cashier
from services.inference.engines.engine import Engine
from services.inference.engines.local import open_local_engine
from services.inference.engines.opening import open_engine
from services.inference.events import DETECTION, TRAINING, TRANSCRIPTION, consume_work
from services.inference.pipeline import Pipeline, SpeechFloor
from services.inference.readiness import EngineReadiness
from services.inference.rpc import InferenceRpc
from services.inference.scheduling import WindowScheduler
from services.inference.settings import InferenceSettings, missing_for_training
from services.inference.slots import Slots
from services.inference.stored_detectors import StoredDetectors
from services.inference.streaming.sources import Sources
from services.inference.streaming.transcriptions import Transcriptions
from services.inference.trainer.child import TrainerProgram
from services.inference.trainer.folders import sweep_folders
from services.inference.usecases.workbench import Workbench
from services.inference.voices import Voices
from services.inference.workers import watch_engine, watch_queues
from services.media.sandbox import Sandbox, open_sandbox
from services.mesh import semconv
from services.mesh.api_keys import open_authentication
from services.mesh.bus import Bus, open_bus
from services.mesh.channel import Channel, open_channel
from services.mesh.identity import TokenSigner, TokenVerifier, load_key
from services.mesh.ids import new_id
from services.mesh.lifecycle import Lifecycle
from services.mesh.server import Registration, open_server
from services.mesh.telemetry import get_logger
from services.mesh.tls.certificates import Certificates, open_certificates
from steno.billing.v1 import billing_service_pb2
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from steno.inference.v1 import inference_service_pb2
from steno.inference.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from steno.jobs.v1 import work_service_pb2
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceStub
from steno.storage.v1 import datasets_service_pb2, storage_service_pb2
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceStub
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceStub

Connect = Callable[..., AbstractAsyncContextManager[Channel]]

_WORK = [work_service_pb2.DESCRIPTOR.services_by_name["WorkService"]]
_BILLING = [billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"]]
_STORAGE = [
    storage_service_pb2.DESCRIPTOR.services_by_name["StorageService"],
    datasets_service_pb2.DESCRIPTOR.services_by_name["DatasetsService"],
]
_FETCH_TIMEOUT = httpx2.Timeout(30.0)


@asynccontextmanager
async def app(settings: InferenceSettings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    """Everything open, in order; closed in reverse."""
    key = load_key(settings.identity_key_file)
    signer = TokenSigner(key, "inference")
    settings.scratch_directory.mkdir(parents=True, exist_ok=True)
    sweep_folders(settings.scratch_directory)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        slots = settings.jobs_in_hand + settings.detection_slots + settings.voice_slots + settings.transcribe_slots
        sandbox = await enter(open_sandbox(concurrency=slots, on_death=_count_death))
        tls = await enter(open_certificates(settings))
        engine = await enter(open_engine(settings, tls))
        bus = await enter(open_bus(settings.nats_url, name="inference", tls=tls))
        connect = partial(open_channel, signer=signer, timeout_seconds=settings.rpc_timeout_seconds, tls=tls)
        bench = await enter(_open_bench(settings, connect, bus, engine, sandbox, tls))
        await enter(lifecycle.working())
        readiness = EngineReadiness()
        _take_work(settings, lifecycle, bench, readiness)
        billing = await enter(connect(settings.billing_address, audience="billing", services=_BILLING))
        voices = await enter(_open_voices(settings, sandbox, engine))
        transcriptions = await enter(_open_transcriptions(settings, bench, billing, lifecycle.stopping))
        registration = Registration(
            add_InferenceServiceServicer_to_server,
            InferenceRpc(engine, readiness, voices, transcriptions),
            inference_service_pb2.DESCRIPTOR.services_by_name["InferenceService"],
        )
        authenticate = await enter(open_authentication(settings.billing_address, signer, bus, settings.rpc_timeout_seconds, tls))
        verifier = TokenVerifier(key, "inference")
        server = await enter(open_server(settings, verifier, authenticate=authenticate, servicers=[registration], tls=tls))
        lifecycle.spawn(watch_engine(engine, server, readiness, lifecycle.leaving), "engine watch")
        yield


def _take_work(settings: InferenceSettings, lifecycle: Lifecycle, bench: Workbench, readiness: EngineReadiness) -> None:
    """From the queue of each class that this process has slots for. Training needs no engine."""
    classes = (
        (TRANSCRIPTION, settings.jobs_in_hand, lambda: readiness.in_trouble),
        (DETECTION, settings.detection_slots, lambda: readiness.in_trouble),
        (TRAINING, settings.trainings_in_hand, lambda: False),
    )
    taken = [(work, slots, paused) for work, slots, paused in classes if slots]
    for work, slots, paused in taken:
        consuming = consume_work(
            bench.bus, bench, lifecycle.stopping, slots=slots, min_free_bytes=settings.min_free_bytes, paused=paused, work=work
        )
        lifecycle.spawn(consuming, work.name)
    lifecycle.spawn(watch_queues(bench.bus, [work for work, *_ in taken], lifecycle.stopping), "queue watch")
    if not settings.trainings_in_hand:
        get_logger("inference").info("detectors are not trained here", missing=missing_for_training())


@asynccontextmanager
async def _open_bench(
    settings: InferenceSettings, connect: Connect, bus: Bus, engine: Engine, sandbox: Sandbox, tls: Certificates | None
) -> AsyncIterator[Workbench]:
    """What jobs are worked on with: the engine, and the services around it."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        jobs = await enter(connect(settings.jobs_address, audience="jobs", services=_WORK))
        storage = await enter(connect(settings.storage_address, audience="storage", services=_STORAGE))
        client = await enter(httpx2.AsyncClient(timeout=_FETCH_TIMEOUT, trust_env=False, verify=tls.downloads_context() if tls else True))
        yield Workbench(
            work=WorkServiceStub(jobs),
            storage=StorageServiceStub(storage),
            datasets=DatasetsServiceStub(storage),
            client=client,
            bus=bus,
            engine=engine,
            pipeline=Pipeline(
                engine,
                SpeechFloor(settings.min_speech_ratio, settings.min_speech_seconds),
                _schedule(engine),
                get_logger("inference.pipeline"),
            ),
            sandbox=sandbox,
            scratch=settings.scratch_directory,
            max_duration_ms=settings.max_duration_seconds * 1000,
            worker_id=f"{socket.gethostname()}:{new_id()}",
            detectors=StoredDetectors(
                StorageServiceStub(storage), client, settings.scratch_directory / "detectors", settings.detectors_kept
            ),
            trainer=TrainerProgram(silence_seconds=settings.training_silence_seconds),
        )


@asynccontextmanager
async def _open_transcriptions(
    settings: InferenceSettings, bench: Workbench, billing: Channel, stopping: asyncio.Event
) -> AsyncIterator[Transcriptions]:
    """With the engine, the turns and the scratch disk of the jobs."""
    async with open_cashier(BillingServiceStub(billing)) as cashier:
        yield Transcriptions(
            engine=bench.engine,
            pipeline=bench.pipeline,
            sources=Sources(
                bench.storage, bench.client, bench.sandbox, bench.scratch, settings.min_free_bytes, settings.max_duration_seconds * 1000
            ),
            cashier=cashier,
            slots=Slots(
                settings.transcribe_slots, settings.transcribes_waiting, "Too many transcriptions are under way; try again soon.", 5
            ),
            most_seconds=settings.transcribe_seconds,
            stopping=stopping,
        )


def _schedule(engine: Engine) -> WindowScheduler:
    """As many turns as the engine bears at each moment."""
    scheduler = WindowScheduler(lambda: engine.windows_in_flight)
    engine.on_capacity(scheduler.refresh)
    return scheduler


@asynccontextmanager
async def _open_voices(settings: InferenceSettings, sandbox: Sandbox, engine: Engine) -> AsyncIterator[Voices]:
    """With processes of their own, which start with the first voice: those of the jobs are busy with windows for many seconds.

    Triton has a queue for each model, and serves both.
    """
    async with AsyncExitStack() as stack:
        if settings.engine == "local":
            engine = await stack.enter_async_context(open_local_engine(settings.voice_slots))
        yield Voices(
            engine,
            sandbox,
            settings.scratch_directory,
            Slots(settings.voice_slots, settings.voices_waiting, "Too many voices are being described; try again soon."),
        )


def _count_death(cause: str) -> None:
    semconv.SANDBOX_DEATHS.labels(cause).inc()
