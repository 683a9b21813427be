"""The service as a whole: it takes work from the queue, gives it back, and says whether it can work."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.inference.app import app
from services.inference.events import DETECTION, TRAINING, TRANSCRIPTION, consume_work
from services.inference.readiness import EngineReadiness
from services.inference.settings import InferenceSettings
from services.inference.workers import watch_engine, watch_queues
from services.mesh import semconv
from services.mesh.channel import check_health, open_channel
from services.mesh.identity import TokenSigner, TokenVerifier, acting_for, load_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.server import open_server
from services.mesh.settings import ServiceSettings
from services.mesh.streams import ConsumerSpec, work_subject
from steno.inference.v1.checkpoints_pb2 import TrainedDetector
from steno.inference.v1.inference_events_pb2 import DetectionCompleted, TrainingCompleted
from steno.inference.v1.inference_service_pb2 import ListModelsRequest
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceStub
from steno.jobs.v1.detector_pb2 import InferenceConfig, TrainingConfig
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import WorkDispatched
from tests.inference.detection_data import detector, noise, wav
from tests.inference.peers import WORKSPACE
from tests.inference.stage import HELLO, SILENCE, Stage, until
from tests.servers import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def dispatch(stage: Stage, job: Job, work_class: str = "transcription") -> None:
    """Puts the job in the queue, as jobs does."""
    await stage.bench.bus.publish(work_subject(work_class), WorkDispatched(job_id=job.id), event_id=f"dispatch:{job.id}")


def detection(stage: Stage) -> Job:
    """A detector over a file."""
    media_id, artefact_id = stage.storage.add_media(wav(noise(3, [(1_000, 2_000)]))), stage.storage.add_artefact(detector())
    return stage.work.add_detection(media_id, artefact_id, InferenceConfig(threshold=0.5))


@asynccontextmanager
async def consuming(
    stage: Stage, min_free_bytes: int = 0, paused: Callable[[], bool] = lambda: False, work: ConsumerSpec = TRANSCRIPTION
) -> AsyncIterator[None]:
    """Takes work from the queue while the block runs."""
    async with asyncio.TaskGroup() as group:
        taking = consume_work(
            stage.bench.bus, stage.bench, stage.stopping, slots=2, min_free_bytes=min_free_bytes, paused=paused, work=work
        )
        group.create_task(taking, name="work")
        yield
        stage.stopping.set()


async def test_service_works_on_every_class_that_is_dispatched_and_ends_in_order(stage: Stage) -> None:
    settings = InferenceSettings(
        port=free_port(),
        identity_key_file=stage.key_file,
        nats_url=stage.house.nats.url,
        jobs_address=stage.addresses["jobs"],
        storage_address=stage.addresses["storage"],
        engine_processes=1,
        scratch_directory=stage.bench.scratch / "made" / "on" / "start",
        min_free_bytes=0,
    )
    lifecycle = Lifecycle(120.0)
    job = stage.job(HELLO)
    signer = TokenSigner(load_key(stage.key_file), "gateway")
    async with app(settings, lifecycle), open_channel(f"127.0.0.1:{settings.port}", audience="inference", signer=signer) as channel:
        assert await check_health(channel)
        with acting_for(WORKSPACE):
            models = (await InferenceServiceStub(channel).ListModels(ListModelsRequest())).models
        assert [(model.engine, model.production) for model in models] == [("local", False)]
        await dispatch(stage, job)
        event = await stage.completed(job)
        assert "calling" in stage.storage.transcript(event.transcript_artefact_id).text.lower()
        found = detection(stage)
        await dispatch(stage, found, "detection")
        assert (await stage.told_of(found, DetectionCompleted)).part_count == 1
        trained = stage.work.add_training(TrainingConfig())
        stage.work.windows[trained.id, 0] = TrainedDetector(detector_artefact_id="made-before").SerializeToString()
        await dispatch(stage, trained, "training")
        assert (await stage.told_of(trained, TrainingCompleted)).detector_artefact_id == "made-before"
        lifecycle.stop()
        started = time.monotonic()
    assert time.monotonic() - started < 60, "the grace period was waited out"
    assert lifecycle.failure is None


async def test_each_class_of_work_is_taken_apart_and_measured_while_it_waits(stage: Stage) -> None:
    waiting, taken = detection(stage), stage.job(SILENCE)
    watched_classes = [DETECTION, TRAINING, TRANSCRIPTION]
    async with consuming(stage, paused=lambda: True, work=DETECTION), consuming(stage), asyncio.TaskGroup() as group:
        group.create_task(watch_queues(stage.bench.bus, watched_classes, stage.stopping, 0.05), name="queues")
        await dispatch(stage, waiting, "detection")
        await dispatch(stage, taken)
        await stage.completed(taken)
        await until(lambda: semconv.WORK_WAITING.labels("detection")._value.get() == 1, "the queue to be measured")
        assert stage.work.workers == ["test-worker"]
        stage.stopping.set()
    stage.stopping.clear()
    async with consuming(stage, work=DETECTION):
        await stage.told_of(waiting, DetectionCompleted)


async def test_work_comes_back_when_jobs_could_not_be_asked(stage: Stage) -> None:
    job = stage.job(SILENCE)
    stage.work.away["ClaimWork"] = 1
    async with consuming(stage):
        await dispatch(stage, job)
        await stage.completed(job)
    assert stage.work.refused == 1


async def test_no_work_is_claimed_while_the_engine_is_in_trouble(stage: Stage) -> None:
    readiness, asked = EngineReadiness("the engine is away"), asyncio.Event()

    def paused() -> bool:
        asked.set()
        return readiness.in_trouble

    job = stage.job(SILENCE)
    async with consuming(stage, paused=paused):
        await dispatch(stage, job)
        for _ in range(2):
            asked.clear()
            await asked.wait()
        assert stage.work.workers == []
        assert (await stage.bench.bus.pending(TRANSCRIPTION)).waiting == 1, "the work stays for others"
        readiness.trouble = ""
        await stage.completed(job)


async def test_no_work_is_taken_while_the_scratch_disk_is_full(stage: Stage) -> None:
    job = stage.job(SILENCE)
    async with consuming(stage, min_free_bytes=1 << 62):
        await dispatch(stage, job)
        async with asyncio.timeout(60):
            while (await stage.bench.bus.pending(TRANSCRIPTION)).outstanding == 0:
                pass
    assert stage.work.workers == []
    stage.stopping.clear()
    async with consuming(stage):
        await stage.completed(job)


async def test_service_that_stops_hands_its_job_to_the_next(stage: Stage) -> None:
    stage.engine.hanging = {0, 1}
    job = stage.job(HELLO)
    async with consuming(stage):
        await dispatch(stage, job)
        await stage.engine.at_work.wait()
    assert [release.job_id for release in stage.work.released] == [job.id]
    pending = await stage.bench.bus.pending(TRANSCRIPTION)
    assert (pending.waiting, pending.outstanding) == (0, 0)


@asynccontextmanager
async def watched(stage: Stage) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    """A server whose health follows the stage's engine."""
    settings = ServiceSettings(port=0, shutdown_grace_seconds=0.5)
    verifier = TokenVerifier(load_key(stage.key_file), "inference")
    async with (
        open_server(settings, verifier, authenticate=None, servicers=[]) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(watch_engine(stage.engine, server, EngineReadiness(), stage.stopping, check_seconds=0.02), name="watch")
        yield health_pb2_grpc.HealthStub(channel)
        stage.stopping.set()


async def states(stub: health_pb2_grpc.HealthStub, wanted: int) -> None:
    """Waits for the state of the inference service."""
    request = health_pb2.HealthCheckRequest(service="steno.inference.v1.InferenceService")
    # Not Watch: one watcher that leaves takes away what wakes the next, in grpcio's own service. Unknown until it is first set.
    async with asyncio.timeout(60):
        while True:
            with suppress(grpc.aio.AioRpcError):
                if (await stub.Check(request)).status == wanted:
                    return
            await asyncio.sleep(0.01)


async def test_dead_engine_is_told_and_so_is_its_return(stage: Stage) -> None:
    async with watched(stage) as stub:
        await states(stub, health_pb2.HealthCheckResponse.SERVING)
        stage.engine.dead = True
        await states(stub, health_pb2.HealthCheckResponse.NOT_SERVING)
        stage.engine.dead = False
        await states(stub, health_pb2.HealthCheckResponse.SERVING)


async def test_stopping_does_not_wait_for_a_stuck_engine(stage: Stage) -> None:
    stage.engine.stuck_check = True
    started = time.monotonic()
    async with watched(stage):
        await stage.engine.checking.wait()
    assert time.monotonic() - started < 3
