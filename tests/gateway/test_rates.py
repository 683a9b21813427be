"""Rates of the plans: exact within any minute, for all gateways together, told in headers."""

import asyncio
import re
from ipaddress import ip_network
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.requests import Request

from services.gateway.addresses import TrustedProxies
from services.gateway.domain import Client, Refusal
from services.gateway.hosts import read_contract_hosts
from services.gateway.operation import RateKind
from services.gateway.rates.counters import BUCKET, BUCKET_SECONDS
from services.gateway.rates.rates import Rates
from services.gateway.rates.window import WINDOW_MS, decide, pack, unpack
from services.gateway.settings import GatewaySettings
from services.mesh.buckets import Bucket
from services.mesh.bus import open_bus
from services.mesh.errors import Overloaded
from services.mesh.identity import Caller, CallerKind
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.workspace_pb2 import Plan, RateClass
from tests.gateway.conftest import open_gateway
from tests.gateway.native import assert_error, submit
from tests.servers import nats_server

GAPS = st.lists(st.integers(0, WINDOW_MS), max_size=200)


@given(gaps=GAPS, limit=st.integers(1, 20))
def test_no_minute_has_more_than_the_limit(gaps: list[int], limit: int) -> None:
    now, accepted = 10**12, list[int]()
    stamps: tuple[int, ...] = ()
    for gap in gaps:
        now += gap
        decision = decide(stamps, now, limit)
        stamps = decision.stamps
        if decision.accepted:
            accepted.append(now)
        else:
            assert decide(stamps, now + decision.reset_ms, limit).accepted, "the told wait is enough"
        assert decision.remaining == limit - len(stamps)
    assert all(sum(start <= at < start + WINDOW_MS for at in accepted) <= limit for start in accepted)


@given(st.lists(st.integers(0, 2**63), max_size=50))
def test_stamps_survive_storing(stamps: list[int]) -> None:
    assert unpack(pack(stamps)) == stamps
    assert unpack(pack(stamps) + b"x") == []


def test_a_clock_that_is_ahead_locks_nobody_out_for_longer_than_a_minute() -> None:
    decision = decide([10**13], 10**12, 1)
    assert not decision.accepted
    assert decision.reset_ms == WINDOW_MS


PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("::1/128")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1", "10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["nonsense"], "unknown"),
        ("::ffff:10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("::1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: list[str], address: str) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    assert PROXIES.client_address({"type": "http", "client": (peer, 1), "headers": headers}) == address


async def test_a_rate_holds_across_gateways_and_is_told(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats") as nats, open_gateway(tmp_path, nats_url=nats.url) as first:
        first.world.rates = [RateClass(contract="native", uploads_per_minute=5, reads_per_minute=7)]
        settings = first.settings.model_dump(include={name for name in type(first.settings).model_fields if name.endswith("_address")})
        async with open_gateway(tmp_path, nats_url=nats.url, **settings) as second:
            secret = first.world.new_key()
            headers = {"x-api-key": secret}
            async with (
                httpx2.AsyncClient(base_url=first.url, headers=headers, verify=False) as one,
                httpx2.AsyncClient(base_url=second.url, headers=headers, verify=False) as other,
            ):
                await _reach_bus(one)
                await _reach_bus(other)
                reads = await asyncio.gather(*(client.get("/api/v1/credits") for client in (one, other) for _ in range(10)))
                assert sorted(answer.status_code for answer in reads) == [200] * 7 + [429] * 13
                told = next(answer for answer in reads if answer.status_code == 429)
                assert_error(told, 429, "RATE_LIMITED")
                assert 1 <= int(told.headers["retry-after"]) <= 60
                assert told.headers["x-ratelimit-limit"] == "7"
                assert told.headers["x-ratelimit-remaining"] == "0"
                assert told.headers["ratelimit-policy"] == '"reads";q=7;w=60'
                left = {int(answer.headers["x-ratelimit-remaining"]) for answer in reads if answer.status_code == 200}
                assert left == set(range(7))
                assert (await submit(one)).status_code == 202, "submits have a rate of their own"


async def _reach_bus(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while (await client.get("/readyz")).json()["dependencies"]["nats"]["state"] != "up":
            await asyncio.sleep(0.05)


async def test_without_the_bus_submits_wait_and_reads_are_counted_alone(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as gateway:
        gateway.world.rates = [RateClass(contract="native", uploads_per_minute=5, reads_per_minute=2)]
        headers = {"x-api-key": gateway.world.new_key()}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as client:
            assert_error(await submit(client), 503, "OVERLOADED")
            refused = {"contract": "native", "kind": "reads"}
            before = REGISTRY.get_sample_value("steno_rate_refusals_total", refused) or 0.0
            assert [(await client.get("/api/v1/me")).status_code for _ in range(3)] == [200, 200, 429]
            assert REGISTRY.get_sample_value("steno_rate_refusals_total", refused) == before + 1
            # The request that asks for them.
            assert re.search(r"^steno_http_in_flight [1-9]", (await client.get("/metrics")).text, re.MULTILINE)


async def test_the_highest_limit_of_a_plan_fits_the_bus(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as nats, open_bus(nats.url, name="test") as bus:
        assert await bus.bucket(BUCKET, BUCKET_SECONDS).replace("key", pack(range(10**12, 10**12 + 2000)), 0)


async def fill(bucket: Bucket, size_bytes: int) -> None:
    """Values of that size until there is no room for one more. Raises Overloaded."""
    for number in range(100_000):
        await bucket.replace(f"filler-{size_bytes}-{number}", bytes(size_bytes), 0)


async def test_a_bus_without_room_is_like_none(tmp_path: Path) -> None:
    plan = Plan(rate_classes=[RateClass(contract="native", uploads_per_minute=5, reads_per_minute=2)])
    client = Client(Caller(CallerKind.KEY, "gateway", "w", "workspace", "key"), "free", 1, 30, plan)
    async with nats_server(tmp_path) as nats, open_bus(nats.url, name="test") as bus:
        rates = Rates(lambda: bus, TrustedProxies([]), shared=True)

        async def take(kind: RateKind) -> str:
            request = Request({"type": "http", "headers": [], "client": ("198.51.100.1", 1), "state": {}})
            try:
                await rates.take(request, "native", kind, client)
            except Refusal as refusal:
                return refusal.reason
            return ""

        assert await take(RateKind.READS) == ""
        for size_bytes in (15_000, 100, 0):
            with pytest.raises(Overloaded):
                await fill(bus.bucket(BUCKET, BUCKET_SECONDS), size_bytes)
        assert [await take(RateKind.READS) for _ in range(3)] == ["", "", "RATE_LIMITED"]
        assert await take(RateKind.UPLOADS) == "OVERLOADED"


async def test_guests_of_one_key_are_counted_by_address(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, shared_rates=False, trusted_proxies=["127.0.0.0/8"]) as gateway:
        gateway.world.rates = [RateClass(contract="native", reads_per_minute=1)]
        headers = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as client:
            seen = [
                (await client.get("/api/v1/me", headers={"x-forwarded-for": address})).status_code
                for address in ("198.51.100.1", "198.51.100.2", "198.51.100.1")
            ]
        assert seen == [200, 200, 429]


@pytest.mark.parametrize(
    ("host", "status", "code"),
    [
        ("files.example.com", 401, "MISSING_API_KEY"),
        ("FILES.example.com:8443", 401, "MISSING_API_KEY"),
        ("other.example.com", 404, "NOT_FOUND"),
    ],
)
async def test_a_mapped_host_stands_for_its_contract(tmp_path: Path, host: str, status: int, code: str) -> None:
    async with open_gateway(tmp_path, contract_hosts="files.example.com=whipscribe") as gateway:
        async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as client:
            # The path exists below /whipscribe only through the mapping: /whipscribe/api/v1/me itself is not asked for.
            answer = await client.get("/api/v1/me" if status == 401 else "/v9/me", headers={"host": host})
            assert_error(answer, status, code)


@pytest.mark.parametrize("name", ["STENO_CONTRACT_HOSTS", "STENO_GATEWAY_CONTRACT_HOSTS"])
def test_hosts_come_from_the_environment_by_either_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "icana.example.com=icana, api.example.com=whipscribe")
    assert read_contract_hosts(GatewaySettings().contract_hosts) == {"icana.example.com": "icana", "api.example.com": "whipscribe"}


@pytest.mark.parametrize("text", ["files.example.com", "files.example.com=nobody", "=icana"])
def test_a_host_of_no_contract_is_refused_at_start(text: str) -> None:
    with pytest.raises(ValueError, match="HOST=CONTRACT"):
        read_contract_hosts(text)
