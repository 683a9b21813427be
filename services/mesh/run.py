"""Run one service: settings, logging, signals, the app, an exit status."""

import asyncio
import importlib.metadata
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

import uvloop
from prometheus_client import REGISTRY, disable_created_metrics, start_http_server

from services.mesh import semconv
from services.mesh.lifecycle import Lifecycle
from services.mesh.settings import ServiceSettings, UnusableSettings, read_settings
from services.mesh.telemetry import configure_logging, get_logger
from services.mesh.tracing.export import open_tracing

_DESCRIPTORS = 65_536
# Of the grace period, after it: what stops a service from outside waits for longer than that.
_FLUSH_SHARE = 0.25
S = TypeVar("S", bound=ServiceSettings)
App = Callable[[S, Lifecycle], AbstractAsyncContextManager[None]]


def run(app: App[S], settings_class: type[S]) -> None:
    """Run the service until SIGTERM or SIGINT, or until one of its tasks fails. Exits with 0, 1 or 2."""
    settings = read_settings(settings_class)
    name = settings_class.model_config.get("env_prefix", "").removeprefix("STENO_").rstrip("_").lower()
    configure_logging(name, settings.log_level, settings.log_format)
    take_descriptors()
    prepare_metrics(name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(_serve_traced(name, app, settings))
    sys.exit(status)


async def _serve_traced(name: str, app: App[S], settings: S) -> int:
    try:
        async with open_tracing(name, settings.shutdown_grace_seconds * _FLUSH_SHARE):
            return await _serve(app, settings)
    except UnusableSettings as error:
        get_logger("mesh.run").error("settings cannot be used", reason=str(error))
        return 2


async def _serve(app: App[S], settings: S) -> int:
    logger = get_logger("mesh.run")
    lifecycle = Lifecycle(settings.shutdown_grace_seconds, settings.shutdown_notice_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.leave)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.host)
    try:
        async with AsyncExitStack() as stack:
            async with _unless(lifecycle.leaving):
                if settings.profile == "production":
                    # Imported here: the gateway and inference do without databases in the other profile.
                    from services.mesh.production import require_production

                    await require_production(settings, lifecycle.stopping)
                await stack.enter_async_context(app(settings, lifecycle))
                logger.info("serving")
            await lifecycle.served()
            logger.info("stopping")
    except UnusableSettings as error:
        for reason in error.args:
            logger.error("settings cannot be used", reason=reason)  # noqa: TRY400 (the trace tells an operator nothing)
        return 2
    except Exception:
        logger.exception("service failed")
        return 1
    logger.info("stopped")
    return 0 if lifecycle.failure is None else 1


@asynccontextmanager
async def _unless(leaving: asyncio.Event) -> AsyncIterator[None]:
    """Give up what runs inside, without an error, when `leaving` is set: a start may wait for servers for ever."""

    async def give_up(deadline: asyncio.Timeout) -> None:
        await leaving.wait()
        deadline.reschedule(asyncio.get_running_loop().time())

    deadline = asyncio.timeout(None)
    try:
        async with deadline:
            watcher = asyncio.create_task(give_up(deadline))
            try:
                yield
            finally:
                watcher.cancel()
    except TimeoutError:
        if not deadline.expired():
            raise


def prepare_metrics(service: str) -> None:
    """Leave in this process the metrics of this service alone, and say which version runs."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    semconv.withhold_others(service, REGISTRY)
    semconv.BUILD_INFO.labels(service, _version()).set(1)


def _version() -> str:
    try:
        return importlib.metadata.version("steno")
    except importlib.metadata.PackageNotFoundError:
        # Run from its source folder, not installed.
        return "source"


def take_descriptors() -> None:
    """Let this process have as many descriptors as it may: a shell gives 1,024, fewer than a service has clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
