"""A request is the first span of its trace here, or the next of the trace that it names."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from services.mesh.tracing.sampling import Sampling
from services.mesh.tracing.spans import Kind, Span, Tracer, tracing_with
from tests.gateway.conftest import Running, open_gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "sk_live_canary"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Running, list[Span]]]:
    """A gateway that records all traces, and what it recorded."""
    spans: list[Span] = []
    folder: Path = tmp_path_factory.mktemp("traced")
    with tracing_with(Tracer(Sampling(inherits=True, bound=1 << 64), spans.append)):
        async with open_gateway(folder) as running:
            yield running, spans


async def ask(running: Running, path: str, **headers: str) -> httpx2.Response:
    """The answer to a GET."""
    async with httpx2.AsyncClient(base_url=running.url, headers=headers, timeout=60.0, trust_env=False) as client:
        return await client.get(path)


async def test_request_continues_the_trace_that_it_names_and_calls_within_it(traced: tuple[Running, list[Span]]) -> None:
    running, spans = traced
    spans.clear()
    answer = await ask(running, f"/api/v1/jobs?q={SECRET}", **{"X-API-Key": running.world.new_key(), "traceparent": PARENT})
    [request] = [span for span in spans if span.kind is Kind.SERVER and span.name.startswith("GET ")]
    assert (request.trace_id, request.above) == (PARENT[3:35], PARENT[36:52])
    assert request.name == "GET native/jobs"
    said = {"http.request.method": "GET", "http.route": "native/jobs", "http.response.status_code": 200}
    assert request.attributes.items() >= {**said, "steno.request.id": answer.headers["x-request-id"]}.items()
    assert request.attributes["steno.workspace.id"]
    below = [span for span in spans if span.kind is Kind.CLIENT]
    assert {span.above for span in below} == {request.parent[36:52]}
    assert "steno.jobs.v1.JobsService/ListJobs" in {span.name for span in below}


async def test_neither_paths_nor_queries_nor_keys_are_recorded(traced: tuple[Running, list[Span]]) -> None:
    running, spans = traced
    spans.clear()
    await ask(running, f"/api/v1/jobs/{SECRET}?signature={SECRET}", **{"X-API-Key": SECRET, "Authorization": f"Bearer {SECRET}"})
    assert [span.name for span in spans if span.name.startswith("GET ")] == ["GET native/jobs/{job_id}"]
    told = [value for span in spans for value in (span.name, span.parent, span.error, *span.attributes.values())]
    assert SECRET not in repr(told)


async def test_probes_begin_no_traces(traced: tuple[Running, list[Span]]) -> None:
    running, spans = traced
    spans.clear()
    for path in ("/healthz", "/readyz"):
        await ask(running, path, traceparent=PARENT)
    assert [span.name for span in spans if span.name.startswith("GET")] == []
