"""Metrics say what happened, each from the service that knows."""

import ast
import asyncio
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import semconv
from services.mesh.bus import open_bus
from services.mesh.database import Database
from services.mesh.egress.addresses import Address
from services.mesh.egress.egress import open_egress
from services.mesh.egress.limits import FetchLimits
from services.mesh.errors import FetchBlocked, InvalidUrl
from tests.mesh.consumers import until
from tests.mesh.egress_world import POLICY
from tests.metric_names import declared_metrics
from tests.servers import nats_server
from tools.metrics_table import PAGE, written

SERVICES = Path(__file__).resolve().parents[2] / "services"


def value(name: str, **labels: str) -> float:
    """The series' value, 0 before it exists."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def users() -> dict[str, set[str]]:
    """The folders of services/ that name each metric."""
    found: dict[str, set[str]] = {}
    for path in SERVICES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "semconv":
                found.setdefault(node.attr, set()).add(path.relative_to(SERVICES).parts[0])
    return found


def test_every_metric_is_set_and_belongs_to_who_sets_it() -> None:
    used = users()
    owned: dict[str, set[str]] = {}
    for service, metrics in semconv.OF_SERVICE.items():
        for name in (name for name, metric in declared_metrics() if metric in metrics):
            owned.setdefault(name, set()).add(service)
    for name, metric in declared_metrics():
        if name in owned:
            assert used.get(name) == owned[name], name
        else:
            assert "mesh" in used.get(name, set()), f"{name} is set by {used.get(name)}: is it in OF_SERVICE?"
        assert metric._documentation.endswith("."), name


def test_every_metric_is_in_the_table() -> None:
    assert PAGE.read_text() == written(PAGE.read_text()), "run python -m tools.metrics_table"


def test_no_label_is_an_id() -> None:
    labels = {label for _, metric in declared_metrics() for label in metric._labelnames}
    assert [label for label in labels if label.endswith("id") or label in ("workspace", "owner", "job", "instance", "key", "url")] == []


def test_service_exposes_nothing_that_only_others_know() -> None:
    registry = CollectorRegistry()
    for _, metric in declared_metrics():
        registry.register(metric)
    semconv.withhold_others("jobs", registry)
    exposed = {family.name for family in registry.collect()}
    assert {"steno_queue_age_seconds", "steno_rpc_seconds", "steno_outbox_age_seconds"} <= exposed
    assert not {"steno_ledger_check_time_seconds", "steno_store_free_bytes", "steno_http_seconds"} & exposed


async def test_transactions_are_timed_by_how_they_end(database: Database) -> None:
    def seen() -> Counter[str]:
        name = "steno_database_transaction_seconds_count"
        return Counter({outcome: int(value(name, service="public", outcome=outcome)) for outcome in ("committed", "rolled_back")})

    before = seen()
    async with database.transaction() as session:
        await (await session.connection()).execute(text("SELECT 1"))
        assert value("steno_database_connections", service="public", pool="transactions") == 1
    with pytest.raises(ZeroDivisionError):
        async with database.transaction():
            raise ZeroDivisionError
    assert seen() - before == Counter(committed=1, rolled_back=1)
    assert value("steno_database_connections", service="public", pool="transactions") == 0


async def test_units_of_a_commit_are_counted(database: Database) -> None:
    async def unit(session: AsyncSession) -> None:
        await (await session.connection()).execute(text("SELECT 1"))

    before = value("steno_database_group_units_sum", service="public")
    await asyncio.gather(*(database.grouped(unit) for _ in range(7)))
    assert value("steno_database_group_units_sum", service="public") - before == 7


async def test_connection_to_the_bus_and_its_breaks_are_told(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server, open_bus(server.url, name="told"):
        assert value("steno_bus_connected", service="told") == 1
        before = value("steno_bus_disconnects_total", service="told")
        server.kill()
        await until(lambda: value("steno_bus_connected", service="told") == 0)
        assert value("steno_bus_disconnects_total", service="told") == before + 1
        await server.start()
        await until(lambda: value("steno_bus_connected", service="told") == 1)


async def test_fetches_that_are_refused_are_counted_by_why() -> None:
    def seen(reason: str) -> float:
        return value("steno_egress_refusals_total", reason=reason)

    async def resolve(host: str) -> list[Address]:
        return [IPv4Address("10.0.0.1")]

    before = {reason: seen(reason) for reason in ("invalid", "blocked")}
    async with open_egress(POLICY, FetchLimits(floor_seconds=0.0), resolve=resolve) as egress:
        for url, refusal in (("ftp://a.example/", InvalidUrl), ("http://a.example/", FetchBlocked)):
            with pytest.raises(refusal):
                async with egress.stream(url, max_bytes=10):
                    raise AssertionError
    assert {reason: seen(reason) - count for reason, count in before.items()} == {"invalid": 1, "blocked": 1}
