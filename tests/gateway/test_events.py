"""Server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.gateway.events import last_event_id
from steno.jobs.v1.job_pb2 import Job
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.native import TRANSCRIPT, submit

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Events as they come; comments as {"comment": text}."""
    event: dict[str, Any] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            yield {"comment": line[1:].strip()}
        elif line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield {**event, "data": json.loads(event["data"])}
            event = {}


async def test_events_follow_a_job_to_its_end(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as response, asyncio.timeout(60):
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = events(response)
        first = await anext(stream)
        assert (first["event"], first["id"], first["data"]["status"]) == ("progress", "1", "queued")
        assert await anext(stream) == {"comment": "keepalive"}
        await gateway.world.update(job_id, state=Job.STATE_PROCESSING, progress=0.5)
        second = await anext(stream)
        assert (second["id"], second["data"]["progress"]) == ("2", 0.5)
        await gateway.world.finish(job_id, TRANSCRIPT)
        last = await anext(stream)
        assert (last["event"], last["data"]) == ("done", (await client.get(f"/api/v1/jobs/{job_id}")).json())
        assert [event async for event in stream] == []


@pytest.mark.parametrize(("state", "name"), [(Job.STATE_FAILED, "failed"), (Job.STATE_CANCELLED, "cancelled")])
async def test_every_end_has_its_event(gateway: Running, client: httpx2.AsyncClient, state: Job.State.ValueType, name: str) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.update(job_id, state=state)
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as response:
        assert [event["event"] async for event in events(response)] == [name]


async def test_resumed_stream_sends_only_what_is_new(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.update(job_id, state=Job.STATE_PROCESSING)
    seen = {"last-event-id": "2"}
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=seen) as response, asyncio.timeout(60):
        stream = events(response)
        assert "comment" in await anext(stream)
        await gateway.world.finish(job_id, TRANSCRIPT)
        rest = [event async for event in stream if "comment" not in event]
        assert [event["id"] for event in rest] == ["3"]
    assert (await client.get(f"/api/v1/jobs/{job_id}/events", headers={"last-event-id": "3"})).status_code == 204


async def test_deleted_job_ends_its_stream(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as response, asyncio.timeout(60):
        stream = events(response)
        await anext(stream)
        job = gateway.world.jobs[job_id]
        job.owner = "somebody else"
        await gateway.world.update(job_id)
        assert [event async for event in stream if "comment" not in event] == []


async def test_head_of_events_does_not_hang(client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    assert (await client.head(f"/api/v1/jobs/{job_id}/events", timeout=2)).status_code == 200


async def test_stop_ends_streams_and_lets_uploads_finish(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, shutdown_grace_seconds=5) as gateway:
        headers = {"x-api-key": gateway.world.new_key()}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as client:
            job_id = (await submit(client)).json()["job_id"]
            async with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as response, asyncio.timeout(3):
                stream = events(response)
                await anext(stream)
                assert (await client.get("/readyz")).status_code == 200
                gateway.lifecycle.stop()
                assert [event async for event in stream if "comment" not in event] == []
                stopping = await client.get("/readyz")
                assert (stopping.status_code, stopping.json()["status"]) == (503, "stopping")


@pytest.mark.parametrize(("header", "revision"), [("7", 7), ("", 0), ("-1", 0), ("x", 0), ("9" * 50, 0), ("٣", 0)])
async def test_strange_last_event_ids_start_from_now(header: str, revision: int) -> None:
    assert last_event_id(header) == revision


async def test_too_many_streams_are_told_to_come_back(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, max_event_streams=1) as gateway:
        headers = {"x-api-key": gateway.world.new_key()}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as client:
            path = f"/api/v1/jobs/{(await submit(client)).json()['job_id']}/events"
            async with client.stream("GET", path) as response:
                assert response.status_code == 200
                assert (await client.get(path)).status_code == 503
