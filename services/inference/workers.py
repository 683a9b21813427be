"""Loops of the inference service."""

import asyncio
from collections.abc import Sequence

from grpc_health.v1 import health_pb2

from services.inference.engines.engine import Engine, EngineFailed
from services.inference.readiness import EngineReadiness
from services.mesh import semconv
from services.mesh.bus import Bus
from services.mesh.errors import MeshError
from services.mesh.lifecycle import wait_or_stop
from services.mesh.server import TRAFFIC, GrpcServer
from services.mesh.streams import ConsumerSpec
from services.mesh.telemetry import get_logger

_CHECK_SECONDS = 5.0
_TROUBLED_CHECK_SECONDS = 1.0
_QUEUE_SECONDS = 15.0
_SERVICE = "steno.inference.v1.InferenceService"


async def watch_engine(
    engine: Engine, server: GrpcServer, readiness: EngineReadiness, stopping: asyncio.Event, check_seconds: float = _CHECK_SECONDS
) -> None:
    """Say NOT_SERVING, and in `readiness` why, while the engine does not answer; from stopping on always, also in the middle of a check."""
    async with asyncio.TaskGroup() as group:
        checks = group.create_task(_check_for_ever(engine, server, readiness, check_seconds), name="engine checks")
        await stopping.wait()
        checks.cancel()
    await server.health.set(TRAFFIC, health_pb2.HealthCheckResponse.NOT_SERVING)
    await _tell(server, health_pb2.HealthCheckResponse.NOT_SERVING)


async def _tell(server: GrpcServer, state: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
    for name in ("", _SERVICE):
        await server.health.set(name, state)


async def _check_for_ever(engine: Engine, server: GrpcServer, readiness: EngineReadiness, check_seconds: float) -> None:
    while True:
        await _check(engine, readiness)
        state = health_pb2.HealthCheckResponse.NOT_SERVING if readiness.in_trouble else health_pb2.HealthCheckResponse.SERVING
        await _tell(server, state)
        await asyncio.sleep(min(check_seconds, _TROUBLED_CHECK_SECONDS) if readiness.in_trouble else check_seconds)


async def _check(engine: Engine, readiness: EngineReadiness) -> None:
    before, trouble = readiness.trouble, ""
    try:
        await engine.check()
    except (EngineFailed, OSError) as error:
        trouble = str(error) or type(error).__name__
    readiness.trouble = trouble
    if trouble and trouble != before:
        get_logger("inference.engine").warning("engine does not answer", error=trouble)
    elif before and not trouble:
        get_logger("inference.engine").info("engine answers again")


async def watch_queues(bus: Bus, classes: Sequence[ConsumerSpec], stopping: asyncio.Event, check_seconds: float = _QUEUE_SECONDS) -> None:
    """Measure how much of each class of work waits, until stopping; while the bus is away the last figures stay."""
    while not stopping.is_set():
        for work in classes:
            try:
                waiting = (await bus.pending(work)).waiting
            except MeshError as error:
                get_logger("inference.queues").debug("queue not measured", consumer=work.name, error=str(error))
                continue
            semconv.WORK_WAITING.labels(work.name.removeprefix("work-")).set(waiting)
        await wait_or_stop(stopping, check_seconds)
