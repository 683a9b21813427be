"""Run one service: settings, logging, signals, the app, an exit status."""

import asyncio
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import uvloop
from prometheus_client import start_http_server

from services.mesh import fault
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
        _refuse_crash_points(settings)
        async with app(settings, lifecycle):
            logger.info("serving")
            await lifecycle.served()
            logger.info("stopping")
    except UnusableSettings as error:
        logger.error("settings cannot be used", reason=str(error))  # noqa: TRY400 (the trace tells an operator nothing)
        return 2
    except Exception:
        logger.exception("service failed")
        return 1
    logger.info("stopped")
    return 0 if lifecycle.failure is None else 1


def _refuse_crash_points(settings: ServiceSettings) -> None:
    """Raises UnusableSettings in production when a folder could break this process on purpose."""
    if settings.profile == "production" and fault.is_armed():
        raise UnusableSettings(f"{fault.VARIABLE} is set: crash points are for tests, unset it in production")


def take_descriptors() -> None:
    """Let this process have as many descriptors as it may: a shell gives 1,024, fewer than a service has clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
