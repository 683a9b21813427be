"""The gateway as a process: readiness, outages, revoked keys, its end."""

import asyncio
from pathlib import Path

import httpx2
import pytest
from prometheus_client import REGISTRY

from services.mesh.bus import open_bus
from services.mesh.errors import ServiceUnavailable
from services.mesh.ids import new_id
from services.mesh.streams import event_subject
from steno.billing.v1.billing_events_pb2 import KeyRevoked
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.native import assert_error, submit
from tests.gateway.test_protocol import UPLOAD, wait_until
from tests.gateway.test_uploads import SOUND
from tests.servers import free_port, nats_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_readyz_names_every_dependency_and_the_engine(client: httpx2.AsyncClient) -> None:
    response = await client.get("/readyz")
    body = response.json()
    assert response.status_code == 200
    states = {name: dependency["state"] for name, dependency in body["dependencies"].items()}
    assert states == {"billing": "up", "storage": "up", "jobs": "up", "inference": "up", "nats": "down"}
    assert body["models"] == [
        {"name": "pocketsphinx-en-us", "engine": "local", "production": False, "test": False, "trouble": None},
    ]


@pytest.mark.parametrize(("service", "status"), [("billing", 503), ("inference", 200)])
async def test_only_needed_services_make_the_gateway_unready(tmp_path: Path, service: str, status: int) -> None:
    async with open_gateway(tmp_path, **{f"{service}_address": f"127.0.0.1:{free_port()}"}) as gateway:
        async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as client:
            response = await client.get("/readyz", timeout=60)
            assert response.status_code == status
            assert response.json()["dependencies"][service]["state"] == "down"
            assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_in_production_the_public_port_tells_no_metrics(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, profile="production") as gateway:
        async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as client:
            assert (await client.get("/metrics")).status_code == 404
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/readyz", timeout=60)).status_code == 200
    assert REGISTRY.get_sample_value("steno_ready", {"check": "jobs"}) == 1
    assert REGISTRY.get_sample_value("steno_ready", {"check": "nats"}) == 0


async def test_backend_that_is_away_is_502_unreachable_in_time(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, jobs_address=f"127.0.0.1:{free_port()}") as gateway:
        headers = {"x-api-key": gateway.world.new_key()}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as client, asyncio.timeout(6):
            refused = await client.get("/api/v1/jobs")
            assert_error(refused, 502, "BACKEND_UNREACHABLE")
            assert int(refused.headers["retry-after"]) >= 1


async def test_fault_of_a_backend_is_502_error(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    gateway.world.jobs[job_id].state = 99  # type: ignore[assignment]
    assert_error(await client.get(f"/api/v1/jobs/{job_id}"), 502, "BACKEND_ERROR")


async def test_upload_in_hand_is_finished_after_stop(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, shutdown_grace_seconds=5) as gateway:
        secret = gateway.world.new_key()
        reader, writer = await gateway.connect()
        writer.write(UPLOAD % secret.encode() + b"Content-Length: %d\r\n\r\n" % len(SOUND) + SOUND[:4000])
        await wait_until(lambda: gateway.world.media_of(secret) != [])
        gateway.lifecycle.stop()
        writer.write(SOUND[4000:])
        async with asyncio.timeout(4):
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 202 ")
        writer.close()


async def test_upload_that_outlasts_the_grace_period_leaves_nothing(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, shutdown_grace_seconds=1) as gateway:
        secret = gateway.world.new_key()
        _, writer = await gateway.connect()
        writer.write(UPLOAD % secret.encode() + b"Content-Length: %d\r\n\r\n" % len(SOUND) + SOUND[:4000])
        await wait_until(lambda: gateway.world.media_of(secret) != [])
        world = gateway.world
    assert world.media_of(secret) == []
    writer.close()


async def test_key_is_asked_once_while_remembered(gateway: Running, client: httpx2.AsyncClient) -> None:
    before = gateway.world.authentications
    for _ in range(5):
        assert (await client.get("/api/v1/me")).status_code == 200
    assert gateway.world.authentications == before + 1


async def test_unavailable_is_retried_no_longer_than_a_request_may_take(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.create_failures += [ServiceUnavailable()] * 3
    async with asyncio.timeout(60):
        assert_error(await submit(client), 502, "BACKEND_UNREACHABLE")


async def test_revoked_key_stops_working_when_the_bus_tells(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats") as nats, open_bus(nats.url, name="billing") as bus:
        async with open_gateway(tmp_path, nats_url=nats.url, authentication_cache_seconds=600) as gateway:
            secret = gateway.world.new_key()
            key = gateway.world.keys[secret]
            async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": secret}, verify=False) as client:
                await wait_for_state(client, "up")
                assert (await client.get("/api/v1/me")).status_code == 200
                key.revoke_time.GetCurrentTime()
                assert (await client.get("/api/v1/me")).status_code == 200
                event = KeyRevoked(api_key_id=key.id, workspace_id=key.workspace_id)
                await bus.publish(event_subject("billing", KeyRevoked), event, event_id=new_id())
                async with asyncio.timeout(60):
                    while (response := await client.get("/api/v1/me")).status_code == 200:
                        await asyncio.sleep(0.005)
                assert_error(response, 401, "INVALID_API_KEY")


async def wait_for_state(client: httpx2.AsyncClient, state: str) -> None:
    """Wait until /readyz says so of the bus."""
    async with asyncio.timeout(60):
        while (await client.get("/readyz")).json()["dependencies"]["nats"]["state"] != state:
            await asyncio.sleep(0.05)
