"""One trace from process to process: what is recorded, what is only passed on, and what nobody notices while it is off."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from joserfc.jwk import OKPKey
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from services.mesh.bus import Bus
from services.mesh.channel import Channel, open_channel
from services.mesh.database import open_database
from services.mesh.deliveries import Delivery
from services.mesh.errors import ResourceExhausted, ServiceUnavailable
from services.mesh.identity import TokenSigner, TokenVerifier, acting_for, load_key, write_new_key
from services.mesh.ids import new_id
from services.mesh.interceptors import Context
from services.mesh.outbox import OutboxRelay, outbox_table, publish_later
from services.mesh.semconv import Attribute, Step
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings, settings_config
from services.mesh.status import RemoteError
from services.mesh.telemetry import configure_logging, get_logger
from services.mesh.tracing.parents import read_parent
from services.mesh.tracing.sampling import Sampling
from services.mesh.tracing.spans import Kind, Span, Tracer, current_parent, tracing_with
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1.billing_service_pb2_grpc import (
    BillingServiceServicer,
    BillingServiceStub,
    add_BillingServiceServicer_to_server,
)
from steno.jobs.v1.jobs_events_pb2 import JobQueued
from tests.mesh.consumers import EVENTS_CONSUMER, SUBJECT, consuming, until

ROOT = Path(__file__).resolve().parents[2]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"
STATE = "vendor=a b,other=1"
BILLING = billing.DESCRIPTOR.services_by_name["BillingService"]
SERVICE = "steno.billing.v1.BillingService"
ALL, NONE = Sampling(inherits=True, bound=1 << 64), Sampling(inherits=True, bound=0)
OUTBOX = outbox_table(MetaData())


class Settings(ServiceSettings):
    """Settings of the server under test."""

    model_config = settings_config("STENO_TEST_")


class EmptyPurse(ResourceExhausted):
    """Nothing is left."""


class BillingRpc(BillingServiceServicer):
    """Notes with which trace it was called."""

    def __init__(self) -> None:
        self.parents: list[str] = []
        self.headers: list[str] = []

    async def GetBalance(self, request: billing.GetBalanceRequest, context: Context) -> billing.GetBalanceResponse:
        self.parents.append(current_parent())
        self.headers += [str(value) for key, value in context.invocation_metadata() or () if key == "traceparent"]
        get_logger("test").info("within")
        return billing.GetBalanceResponse()

    async def Reserve(self, request: billing.ReserveRequest, context: Context) -> billing.ReserveResponse:
        raise EmptyPurse

    async def Settle(self, request: billing.SettleRequest, context: Context) -> billing.SettleResponse:
        raise ServiceUnavailable


class Kept:
    """A tracer that keeps what is recorded."""

    def __init__(self, sampling: Sampling = ALL) -> None:
        self.spans: list[Span] = []
        self.tracer = Tracer(sampling, self.spans.append)

    def one(self, name: str) -> Span:
        """The only span of that name."""
        [found] = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Everything is recorded, also by what is opened in the test."""
    kept = Kept()
    with tracing_with(kept.tracer):
        yield kept


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> OKPKey:
    """The mesh's key."""
    path = tmp_path_factory.mktemp("key") / "identity.pem"
    write_new_key(path)
    return load_key(path)


@asynccontextmanager
async def serving(key: OKPKey, servicer: BillingRpc) -> AsyncIterator[Channel]:
    """A server and a channel to it, both of the tracer that is in hand now."""
    registration = Registration(add_BillingServiceServicer_to_server, servicer, BILLING)
    settings = Settings(shutdown_grace_seconds=0.5)
    async with open_server(settings, TokenVerifier(key, "billing"), authenticate=None, servicers=[registration]) as server:
        signer = TokenSigner(key, "jobs")
        async with open_channel(f"127.0.0.1:{server.port}", audience="billing", signer=signer, services=[BILLING]) as channel:
            with acting_for("w"):
                yield channel


@pytest.mark.parametrize(
    ("trace_parent", "state", "expected"),
    [
        (PARENT, "", PARENT),
        (PARENT, STATE, f"{PARENT} {STATE}"),
        ("cc" + PARENT[2:] + "-what-comes-later", "", PARENT),
        (PARENT, "x=" + "y" * 512, PARENT),
        (PARENT, "a=1\r\nSteno-Message: b", PARENT),
        (PARENT + "-more", "", ""),
        ("ff" + PARENT[2:], "", ""),
        (PARENT.upper(), "", ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", "", ""),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", "", ""),
        (PARENT[:-1], "", ""),
        (f"{PARENT}\r\nSteno-Message: b", "", ""),
        ("", STATE, ""),
    ],
)
def test_parent_is_taken_as_trace_context_defines_it_and_nothing_else(trace_parent: str, state: str, expected: str) -> None:
    assert read_parent(trace_parent, state) == expected


@pytest.mark.parametrize(
    ("sampler", "argument", "share", "inherits"),
    [
        ("", "", 1.0, True),
        ("always_on", "", 1.0, False),
        ("always_off", "", 0.0, False),
        ("traceidratio", "0.25", 0.25, False),
        ("parentbased_always_off", "", 0.0, True),
        ("parentbased_traceidratio", "0.25", 0.25, True),
        ("parentbased_traceidratio", "", 1.0, True),
    ],
)
def test_samplers_are_those_of_opentelemetry(sampler: str, argument: str, share: float, inherits: bool) -> None:
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    sampling, theirs = Sampling.read(sampler, argument), TraceIdRatioBased(share)
    ids = [f"{number * 0x9E3779B97F4A7C15 % (1 << 128):032x}" for number in range(1, 400)]
    expected = [theirs.should_sample(None, int(trace_id, 16), "").decision.is_sampled() for trace_id in ids]  # type: ignore[no-untyped-call]
    assert [sampling.takes(trace_id) for trace_id in ids] == expected
    assert sampling.inherits is inherits


async def test_call_and_its_server_are_parent_and_child(kept: Kept, key: OKPKey) -> None:
    servicer = BillingRpc()  # type: ignore[abstract]
    async with serving(key, servicer) as channel:
        with kept.tracer.begin("request", Kind.SERVER, read_parent(PARENT, STATE)):
            await BillingServiceStub(channel).GetBalance(billing.GetBalanceRequest())
    server, client, request = kept.spans
    assert [one.kind for one in kept.spans] == [Kind.SERVER, Kind.CLIENT, Kind.SERVER]
    assert {one.trace_id for one in kept.spans} == {PARENT[3:35]}
    assert (server.above, client.above, request.above) == (client.parent[36:52], request.parent[36:52], PARENT[36:52])
    assert servicer.parents == [server.parent]
    assert server.parent.endswith(f"-01 {STATE}")
    said = {Attribute.RPC_SYSTEM: "grpc", Attribute.RPC_SERVICE: SERVICE, Attribute.RPC_METHOD: "GetBalance", Attribute.RPC_CODE: 0}
    assert client.attributes == {**said, Attribute.PEER: "billing"}
    assert server.attributes == {**said, Attribute.WORKSPACE_ID: "w"}
    assert server.name == client.name == f"{SERVICE}/GetBalance"


async def test_refusal_is_an_error_of_its_caller_and_of_the_server_only_at_fault(kept: Kept, key: OKPKey) -> None:
    async with serving(key, BillingRpc()) as channel:  # type: ignore[abstract]
        stub = BillingServiceStub(channel)
        with kept.tracer.begin("request", Kind.SERVER):
            for call in (stub.Reserve(billing.ReserveRequest()), stub.Settle(billing.SettleRequest())):
                with pytest.raises(RemoteError):
                    await call
    errors = [(one.attributes[Attribute.RPC_CODE], one.kind, one.error) for one in kept.spans if Attribute.RPC_CODE in one.attributes]
    assert errors[:2] == [(8, Kind.SERVER, ""), (8, Kind.CLIENT, "EMPTY_PURSE")]
    assert errors[-1] == (14, Kind.CLIENT, "SERVICE_UNAVAILABLE")
    assert {error for code, kind, error in errors if code == 14 and kind is Kind.SERVER} == {"SERVICE_UNAVAILABLE"}


async def test_unrecorded_trace_is_passed_on_and_begun_nowhere_anew(kept: Kept, key: OKPKey) -> None:
    servicer, unwilling = BillingRpc(), Kept(NONE)  # type: ignore[abstract]
    async with serving(key, servicer) as channel:
        with unwilling.tracer.begin("request", Kind.SERVER) as request:
            await BillingServiceStub(channel).GetBalance(billing.GetBalanceRequest())
        with kept.tracer.begin("request", Kind.SERVER, UNSAMPLED):
            await BillingServiceStub(channel).GetBalance(billing.GetBalanceRequest())
    assert (kept.spans, unwilling.spans) == ([], [])
    assert servicer.headers == [request.parent, UNSAMPLED]
    assert request.parent.endswith("-00")


async def test_log_lines_name_the_trace_where_it_is_recorded(kept: Kept, key: OKPKey) -> None:
    written = io.StringIO()
    configure_logging("billing", "info", "json", written)
    try:
        async with serving(key, BillingRpc()) as channel:  # type: ignore[abstract]
            for parent in (PARENT, UNSAMPLED):
                with kept.tracer.begin("request", Kind.SERVER, parent):
                    await BillingServiceStub(channel).GetBalance(billing.GetBalanceRequest())
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line.get("trace_id") for line in lines if line["event"] == "within"] == [PARENT[3:35], None]
    assert [line.get("trace_id") for line in lines if line["event"] == "rpc"] == [PARENT[3:35], None]


async def test_message_belongs_to_the_trace_of_who_sent_it_however_often_it_comes(kept: Kept, bus: Bus) -> None:
    came: list[str] = []

    async def handle(delivery: Delivery) -> None:
        came.append(current_parent())
        if len(came) == 1:
            raise ServiceUnavailable

    async with consuming(bus, EVENTS_CONSUMER, handle):
        with kept.tracer.begin("request", Kind.SERVER, PARENT):
            await bus.publish(SUBJECT, JobQueued(job_id="j"), event_id=new_id())
        await until(lambda: len(came) == 2, 15)
    sent = kept.one(f"send {SUBJECT}")
    tries = [one for one in kept.spans if one.kind is Kind.CONSUMER]
    assert [one.above for one in tries] == [sent.parent[36:52]] * 2
    assert [one.parent for one in tries] == came
    assert {one.trace_id for one in kept.spans} == {PARENT[3:35]}
    assert [(one.error, one.attributes[Attribute.OUTCOME]) for one in tries] == [("ServiceUnavailable", "retried"), (None, "handled")]
    assert [one.attributes[Attribute.DELIVERIES] for one in tries] == [1, 2]
    assert tries[0].attributes[Attribute.MESSAGING_DESTINATION] == sent.attributes[Attribute.MESSAGING_DESTINATION] == SUBJECT


async def test_event_of_an_outbox_belongs_to_the_trace_of_its_cause(kept: Kept, bus: Bus, tmp_path: Path) -> None:
    parents: list[str] = []

    async def handle(delivery: Delivery) -> None:
        parents.append(current_parent())

    async def cause(session: AsyncSession) -> None:
        await publish_later(session, OUTBOX, SUBJECT, JobQueued(job_id="j"))

    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/steno.db", schema="public") as database:
        async with database.transaction() as session:
            await (await session.connection()).run_sync(OUTBOX.metadata.create_all)
        # The loop of the group commits began outside of any trace, and the relay does.
        with kept.tracer.begin("request", Kind.SERVER, read_parent(PARENT, STATE)) as request:
            await database.grouped(cause)
        async with consuming(bus, EVENTS_CONSUMER, handle):
            assert await OutboxRelay(database, OUTBOX, bus).relay_window() == 1
            await until(lambda: bool(parents), 15)
    sent = kept.one(f"send {SUBJECT}")
    assert (sent.trace_id, sent.above) == (PARENT[3:35], request.parent[36:52])
    assert parents[0].endswith(f"-01 {STATE}")


def declared(names: type) -> dict[str, str]:
    """Its constants."""
    return {name: value for name, value in vars(names).items() if name.isupper()}


def test_every_name_of_a_span_is_used_and_documented() -> None:
    page = (ROOT / "docs" / "tracing.md").read_text()
    code = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py") if path.name != "semconv.py")
    for names in (Attribute, Step):
        assert [value for value in declared(names).values() if f"`{value}`" not in page] == []
        assert [name for name in declared(names) if f"{names.__name__}.{name}" not in code] == []
