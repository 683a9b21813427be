"""What a service tells of its health while its database comes and goes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.billing.app import app as billing_app
from services.billing.settings import BillingSettings
from services.jobs.app import app as jobs_app
from services.jobs.settings import JobsSettings
from services.mesh.identity import write_new_key
from services.mesh.lifecycle import Lifecycle
from services.storage.app import app as storage_app
from services.storage.settings import StorageSettings
from tests.proxies import postgres_proxy
from tests.servers import NatsServer, free_port, new_postgres_database

DEADLINE_SECONDS = 60.0
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
App = Callable[[Any, Lifecycle], AbstractAsyncContextManager[None]]
SERVICES: dict[str, tuple[App, type[Any], str]] = {
    "billing": (billing_app, BillingSettings, "steno.billing.v1.BillingService"),
    "jobs": (jobs_app, JobsSettings, "steno.jobs.v1.WorkService"),
    "storage": (storage_app, StorageSettings, "steno.storage.v1.StorageService"),
}


def settings_of(service: str, directory: Path, database_url: str, nats_url: str) -> Any:
    """Settings with which the service runs alone."""
    write_new_key(directory / "identity.pem")
    for name in ("pepper", "signing.key", "claim"):
        (directory / name).touch(0o600)
        (directory / name).write_text(secrets.token_hex(32))
    fields = {"port": free_port(), "database_url": database_url, "nats_url": nats_url, "identity_key_file": directory / "identity.pem"}
    of_service: dict[str, dict[str, Any]] = {
        "billing": {"pepper_file": directory / "pepper"},
        "jobs": {"claim_key_file": directory / "claim", "shutdown_grace_seconds": 3.0},
        "storage": {"data_port": 0, "signing_key_file": directory / "signing.key", "blob_directory": directory / "blobs"},
    }
    return SERVICES[service][1](**fields, **of_service[service])


@asynccontextmanager
async def running(service: str, settings: Any) -> AsyncIterator[Callable[[], Any]]:
    """The service with a question for its health."""
    lifecycle = Lifecycle(3.0)
    async with SERVICES[service][0](settings, lifecycle), grpc.aio.insecure_channel(f"127.0.0.1:{settings.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def states() -> set[int]:
            names = ("", SERVICES[service][2])
            return {(await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=2)).status for name in names}

        yield states
        assert lifecycle.failure is None
        lifecycle.stop()


async def until(states: Callable[[], Any], wanted: int) -> None:
    """Wait until the service says so. Raises TimeoutError."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await states() != {wanted}:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_whose_database_is_silent_or_gone_says_so_until_it_is_back(
    service: str, tmp_path: Path, postgres_url: str, nats: NatsServer
) -> None:
    async with postgres_proxy(new_postgres_database(postgres_url)) as (proxy, url):
        async with running(service, settings_of(service, tmp_path, url, nats.url)) as states:
            assert await states() == {SERVING}
            proxy.pause()
            await until(states, NOT_SERVING)
            proxy.resume()
            await until(states, SERVING)
            proxy.close()
            await until(states, NOT_SERVING)
            await proxy.open()
            await until(states, SERVING)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_on_sqlite_serves(service: str, tmp_path: Path, nats: NatsServer) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/{service}.db"
    async with running(service, settings_of(service, tmp_path, url, nats.url)) as states:
        assert await states() == {SERVING}
