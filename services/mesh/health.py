"""Honest health: a service says NOT_SERVING while something that it cannot do without does not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from grpc_health.v1 import health_pb2

from services.mesh import semconv
from services.mesh.lifecycle import wait_or_stop
from services.mesh.server import TRAFFIC, GrpcServer
from services.mesh.telemetry import get_logger

Check = Callable[[], Awaitable[None]]

_EVERY_SECONDS = 2.0
_ANSWER_SECONDS = 3.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def watch_health(
    server: GrpcServer, checks: Mapping[str, Check], stopping: asyncio.Event, *, every_seconds: float = _EVERY_SECONDS
) -> None:
    """Tell callers of every service on the server whether all checks pass, until stopping, and then that it takes no more calls.

    A check raises when it fails.
    A failure is told within every_seconds and three seconds more, also when the check hangs.
    """
    async with asyncio.TaskGroup() as tasks:
        probes = [_Probe(name, check, tasks) for name, check in checks.items()]
        while not stopping.is_set():
            well = all(await asyncio.gather(*(probe.passes() for probe in probes)))
            await _tell(server, _SERVING if well and not stopping.is_set() else _NOT_SERVING)
            await wait_or_stop(stopping, every_seconds)
        await server.health.set(TRAFFIC, _NOT_SERVING)
        await _tell(server, _NOT_SERVING)
        for probe in probes:
            probe.cancel()


async def _tell(server: GrpcServer, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
    for service in ("", *server.services):
        await server.health.set(service, status)


class _Probe:
    """One check, at most once at a time.

    One that is late fails at once and goes on: a driver may take long to give up on a server that is silent.
    """

    def __init__(self, name: str, check: Check, tasks: asyncio.TaskGroup) -> None:
        self._name = name
        self._check = check
        self._tasks = tasks
        self._running: asyncio.Task[str] | None = None
        self._failure = ""

    async def passes(self) -> bool:
        """Whether the check passed by now."""
        if self._running is None:
            self._running = self._tasks.create_task(self._outcome(), name=f"health-{self._name}")
        done, _ = await asyncio.wait((self._running,), timeout=_ANSWER_SECONDS)
        failure = self._running.result() if done else "no answer"
        if done:
            self._running = None
        self._note(failure)
        return not failure

    def cancel(self) -> None:
        """Give up on a check that still runs."""
        if self._running is not None:
            self._running.cancel()

    async def _outcome(self) -> str:
        try:
            await self._check()
        except Exception as error:  # whatever it is, the service cannot do its work
            return str(error) or type(error).__name__
        return ""

    def _note(self, failure: str) -> None:
        """One line when it begins to fail and one when it is well again."""
        semconv.READY.labels(self._name).set(0 if failure else 1)
        logger = get_logger("mesh.health")
        if failure and not self._failure:
            logger.warning("not ready", check=self._name, error=failure)
        elif self._failure and not failure:
            logger.info("ready again", check=self._name)
        self._failure = failure
