"""Loops of the inference service."""

import asyncio

from grpc_health.v1 import health_pb2

from services.inference.engines.engine import Engine, EngineFailed
from services.mesh.lifecycle import wait_or_stop
from services.mesh.server import GrpcServer
from services.mesh.telemetry import get_logger

_CHECK_SECONDS = 5.0
_SERVICE = "steno.inference.v1.InferenceService"


async def watch_engine(engine: Engine, server: GrpcServer, stopping: asyncio.Event) -> None:
    """Say NOT_SERVING while the engine does not answer."""
    logger = get_logger("inference.engine")
    while not await wait_or_stop(stopping, _CHECK_SECONDS):
        try:
            await engine.check()
            state = health_pb2.HealthCheckResponse.SERVING
        except EngineFailed as error:
            logger.warning("engine does not answer", error=str(error))
            state = health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", _SERVICE):
            await server.health.set(name, state)
