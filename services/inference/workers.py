"""Loops of the inference service."""

import asyncio

from grpc_health.v1 import health_pb2

from services.inference.engines.engine import Engine, EngineFailed
from services.mesh.server import GrpcServer
from services.mesh.telemetry import get_logger

_CHECK_SECONDS = 5.0
_SERVICE = "steno.inference.v1.InferenceService"


async def watch_engine(engine: Engine, server: GrpcServer, stopping: asyncio.Event, check_seconds: float = _CHECK_SECONDS) -> None:
    """Say NOT_SERVING while the engine does not answer, until stopping, also in the middle of a check."""
    async with asyncio.TaskGroup() as group:
        checks = group.create_task(_check_for_ever(engine, server, check_seconds), name="engine checks")
        await stopping.wait()
        checks.cancel()


async def _check_for_ever(engine: Engine, server: GrpcServer, check_seconds: float) -> None:
    while True:
        state = await _state(engine)
        for name in ("", _SERVICE):
            await server.health.set(name, state)
        await asyncio.sleep(check_seconds)


async def _state(engine: Engine) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
    try:
        await engine.check()
    except (EngineFailed, OSError) as error:
        get_logger("inference.engine").warning("engine does not answer", error=str(error))
        return health_pb2.HealthCheckResponse.NOT_SERVING
    return health_pb2.HealthCheckResponse.SERVING
