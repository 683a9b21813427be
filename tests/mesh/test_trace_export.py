"""Spans on their way to a collector: when, under which name, and what becomes of them and the service when it does not answer."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog

from services.mesh.settings import UnusableSettings
from services.mesh.telemetry import configure_logging
from services.mesh.tracing.export import open_tracing
from services.mesh.tracing.spans import Kind, below, span
from services.stack.triton.tracing import trace_options
from tests.mesh.consumers import until
from tests.otlp import Collector, running_collector

ROOT = Path(__file__).resolve().parents[2]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "a few"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ],
)
async def test_what_tracing_cannot_do_is_refused_at_the_start(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv(name, value)
    with pytest.raises(UnusableSettings, match=name):
        async with open_tracing("jobs", 0.1):
            pass


LOADING = """
import asyncio, os, sys, services.jobs.app, services.mesh.run
from services.mesh.tracing.export import open_tracing

async def loaded(**environment):
    os.environ.update(environment)
    async with open_tracing("jobs", 10.0):
        print(sum(name.startswith("opentelemetry") for name in sys.modules))

asyncio.run(loaded(OTEL_TRACES_SAMPLER="always_on"))
asyncio.run(loaded(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_SDK_DISABLED="true"))
asyncio.run(loaded(OTEL_SDK_DISABLED="", OTEL_TRACES_EXPORTER="none"))
asyncio.run(loaded(OTEL_TRACES_EXPORTER="otlp"))
"""


def test_nothing_of_opentelemetry_is_loaded_while_tracing_is_off() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment = {**plain, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos")])}
    answer = subprocess.run([sys.executable, "-c", LOADING], env=environment, capture_output=True, text=True, check=True)
    off, disabled, unexported, on = map(int, answer.stdout.split())
    assert (off, disabled, unexported) == (0, 0, 0)
    assert on > 0


async def test_spans_reach_their_collector_before_the_service_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_collector() as collector:
        environ(monkeypatch, collector)
        async with open_tracing("jobs", 10.0):
            await trace_once()
        parent, child = collector.spans[1], collector.spans[0]
    assert (parent.service, parent.name, parent.kind) == ("steno-jobs", "request", "server")
    assert (parent.trace_id, parent.parent_id, child.parent_id) == (PARENT[3:35], PARENT[36:52], parent.span_id)
    assert (child.name, child.kind, child.attributes) == ("step", "internal", {"steno.job.id": "j", "error.type": "ValueError"})
    assert (child.failed, parent.failed) == (True, False)
    assert 0 < child.seconds < 60


def environ(monkeypatch: pytest.MonkeyPatch, collector: Collector, **others: str) -> None:
    """The environment that sends spans there."""
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **others}.items():
        monkeypatch.setenv(name, value)


async def trace_once(message: str = "a secret") -> None:
    """A request with one step that fails."""
    with below(PARENT, "request", Kind.SERVER), pytest.raises(ValueError, match=message), span("step", attributes={"steno.job.id": "j"}):
        raise ValueError(message)


async def test_spans_say_of_an_exception_no_more_than_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_collector() as collector:
        environ(monkeypatch, collector, OTEL_SERVICE_NAME="ours", OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test")
        async with open_tracing("jobs", 10.0):
            await trace_once("sk_live_0123456789")
        [body] = collector.bodies
    assert b"sk_live" not in body
    assert b"deployment.environment.name" in body
    assert collector.spans[0].service == "ours"


async def test_collector_that_fails_costs_no_time_and_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    configure_logging("jobs", "info", "json", written)
    try:
        with running_collector() as collector:
            collector.status = 400
            environ(monkeypatch, collector, OTEL_BSP_MAX_QUEUE_SIZE="64", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="8")
            async with open_tracing("jobs", 10.0):
                for _ in range(200):
                    await trace_once()
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    lost = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [(line["event"], line["level"]) for line in lost] == [("spans lost, the collector does not take them", "warning")]


async def test_collector_that_never_answers_keeps_no_service_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stand_still(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(stand_still, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        async with open_tracing("jobs", 0.3):
            await trace_once()
            started = time.monotonic()
        assert time.monotonic() - started < 5
        await until(lambda: bool(held))
        for writer in held:
            writer.close()


def test_triton_exports_to_the_same_collector_what_names_a_trace() -> None:
    assert list(trace_options({})) == []
    assert list(trace_options({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_SDK_DISABLED": "true"})) == []
    options = list(trace_options({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_BSP_SCHEDULE_DELAY": "200"}))
    assert "--trace-config=opentelemetry,url=http://c:4318/v1/traces" in options
    assert "--trace-config=rate=0" in options
    assert "--trace-config=opentelemetry,bsp_schedule_delay=200" in options
    elsewhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d:1/traces"}
    assert "--trace-config=opentelemetry,url=http://d:1/traces" in list(trace_options(elsewhere))
