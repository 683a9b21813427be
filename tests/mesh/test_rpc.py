"""Every RPC has a caller, a deadline and an answer with a reason."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from joserfc.jwk import OKPKey
from prometheus_client import REGISTRY

from services.mesh.channel import Channel, check_health, open_channel
from services.mesh.errors import InvalidApiKey, MeshError, ResourceExhausted
from services.mesh.identity import Caller, CallerKind, TokenSigner, TokenVerifier, acting_for, calling_as, load_key, write_new_key
from services.mesh.interceptors import Context
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings, settings_config
from services.mesh.status import RemoteError, is_remote
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1.billing_service_pb2_grpc import (
    BillingServiceServicer,
    BillingServiceStub,
    add_BillingServiceServicer_to_server,
)
from steno.billing.v1.ledger_pb2 import Balance
from steno.jobs.v1 import jobs_service_pb2 as jobs
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceServicer, JobsServiceStub, add_JobsServiceServicer_to_server
from tests.proxies import open_proxy

BILLING = billing.DESCRIPTOR.services_by_name["BillingService"]
JOBS = jobs.DESCRIPTOR.services_by_name["JobsService"]
WORKSPACE_KEY = Caller(CallerKind.KEY, "gateway", "w", "workspace")
OPERATOR = Caller(CallerKind.OPERATOR, "operator", "w")


class Settings(ServiceSettings):
    """Settings of the server under test."""

    model_config = settings_config("STENO_TEST_")


class EmptyPurse(ResourceExhausted):
    """Nothing is left."""


class BillingRpc(BillingServiceServicer):
    """Answers, refuses, breaks, stalls."""

    def __init__(self) -> None:
        self.tries = 0
        self.remaining: float | None = None

    async def GetBalance(self, request: billing.GetBalanceRequest, context: Context) -> billing.GetBalanceResponse:
        self.remaining = context.time_remaining()
        return billing.GetBalanceResponse(balance=Balance(available_ms=7))

    async def Reserve(self, request: billing.ReserveRequest, context: Context) -> billing.ReserveResponse:
        raise EmptyPurse(required_ms="5")

    async def Settle(self, request: billing.SettleRequest, context: Context) -> billing.SettleResponse:
        raise ValueError("the secret cause")

    async def Release(self, request: billing.ReleaseRequest, context: Context) -> billing.ReleaseResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def ListTransfers(self, request: billing.ListTransfersRequest, context: Context) -> billing.ListTransfersResponse:
        self.tries += 1
        if self.tries < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return billing.ListTransfersResponse()


class JobsRpc(JobsServiceServicer):
    """Streams two changes, then refuses; text it streams for ever, faster than anybody reads."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.opened_by: asyncio.Task[None] | None = None
        self.closed_by: asyncio.Task[None] | None = None

    async def WatchJob(self, request: jobs.WatchJobRequest, context: Context) -> AsyncIterator[jobs.WatchJobResponse]:
        for revision in (1, 2):
            yield jobs.WatchJobResponse(job=Job(id=request.job_id, revision=revision))
        raise EmptyPurse

    async def WatchText(self, request: jobs.WatchTextRequest, context: Context) -> AsyncIterator[jobs.WatchTextResponse]:
        self.opened_by = asyncio.current_task()
        try:
            while True:
                yield jobs.WatchTextResponse(text="x" * 100_000)
        finally:
            self.closed_by = asyncio.current_task()
            self.closed.set()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> OKPKey:
    """The mesh's key."""
    path = tmp_path_factory.mktemp("key") / "identity.pem"
    write_new_key(path)
    return load_key(path)


@pytest.fixture
def servicer() -> BillingRpc:
    """The handler behind the server."""
    return BillingRpc()  # type: ignore[abstract]


@pytest.fixture
def watched() -> JobsRpc:
    """The handler of streams behind the server."""
    return JobsRpc()  # type: ignore[abstract]


@pytest.fixture
async def address(key: OKPKey, servicer: BillingRpc, watched: JobsRpc) -> AsyncIterator[str]:
    """A serving server."""

    async def authenticate(api_key: str) -> Caller:
        if api_key != "sk_live_good":
            raise InvalidApiKey
        return WORKSPACE_KEY

    registrations = [
        Registration(add_BillingServiceServicer_to_server, servicer, BILLING),
        Registration(add_JobsServiceServicer_to_server, watched, JOBS),
    ]
    verifier = TokenVerifier(key, "billing")
    async with open_server(Settings(shutdown_grace_seconds=0.5), verifier, authenticate=authenticate, servicers=registrations) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
async def channel(address: str, key: OKPKey) -> AsyncIterator[Channel]:
    """A channel of the jobs service."""
    async with open_channel(address, audience="billing", signer=TokenSigner(key, "jobs"), services=[BILLING]) as opened:
        yield opened


async def refusal(call: Awaitable[object]) -> RemoteError:
    """The error that a call ends with."""
    with pytest.raises(RemoteError) as caught:
        await call
    return caught.value


async def test_service_acting_for_a_workspace_is_answered(channel: Channel) -> None:
    with acting_for("w"):
        answer = await BillingServiceStub(channel).GetBalance(billing.GetBalanceRequest())
    assert answer.balance.available_ms == 7


async def test_refusal_carries_its_reason_and_data(channel: Channel) -> None:
    with acting_for("w"):
        error = await refusal(BillingServiceStub(channel).Reserve(billing.ReserveRequest()))
    assert (error.code, error.reason_name, error.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "EMPTY_PURSE", "Nothing is left.")
    assert error.metadata == {"required_ms": "5"}
    assert is_remote(error, "EMPTY_PURSE")


async def test_calls_are_counted_at_both_ends_by_how_they_ended(channel: Channel, address: str, watched: JobsRpc) -> None:
    def seen(method: str, code: str) -> tuple[float, float]:
        ends = {"steno_rpc_client_seconds_count": {"peer": "billing"}, "steno_rpc_seconds_count": {}}
        labels = {"method": method, "code": code}
        asked, served = (REGISTRY.get_sample_value(name, {**labels, **peer}) or 0.0 for name, peer in ends.items())
        return asked, served

    methods = ("/steno.billing.v1.BillingService/Reserve", "/steno.jobs.v1.JobsService/WatchText")
    refused, left = seen(methods[0], "RESOURCE_EXHAUSTED"), seen(methods[1], "CANCELLED")
    with acting_for("w"):
        await refusal(BillingServiceStub(channel).Reserve(billing.ReserveRequest()))
        stream = JobsServiceStub(channel).WatchText(jobs.WatchTextRequest())
        async for _ in stream:
            break
        await cast("AsyncGenerator[object]", stream).aclose()
    await asyncio.wait_for(watched.closed.wait(), 60)
    assert seen(methods[0], "RESOURCE_EXHAUSTED") == (refused[0] + 1, refused[1] + 1)
    async with asyncio.timeout(60):
        while seen(methods[1], "CANCELLED") != (left[0] + 1, left[1] + 1):
            await asyncio.sleep(0.01)


async def test_unexpected_failure_tells_the_caller_nothing(channel: Channel) -> None:
    with acting_for("w"):
        error = await refusal(BillingServiceStub(channel).Settle(billing.SettleRequest()))
    assert (error.code, error.reason_name) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in error.message


async def test_every_method_refuses_a_call_without_credentials(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as bare:
        for method in BILLING.methods:
            call: Any = bare.unary_unary(f"/{BILLING.full_name}/{method.name}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        stream: Any = bare.unary_stream(f"/{JOBS.full_name}/WatchJob")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(b"", timeout=60).read()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_reflection_needs_credentials_and_health_needs_none(address: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with grpc.aio.insecure_channel(address) as bare:
        stub = reflection_pb2_grpc.ServerReflectionStub(bare)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [_ async for _ in stub.ServerReflectionInfo(iter([request]))]
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        metadata = (("x-api-key", "sk_live_good"),)
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]), metadata=metadata)]
        assert "steno.billing.v1.BillingService" in str(answers)
        assert await check_health(bare)


async def test_api_key_stands_in_for_a_token(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as bare:
        stub = BillingServiceStub(bare)
        answer = await stub.GetBalance(billing.GetBalanceRequest(), metadata=(("x-api-key", "sk_live_good"),))
        assert answer.balance.available_ms == 7
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetBalance(billing.GetBalanceRequest(), metadata=(("x-api-key", "sk_live_bad"),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("service", "caller", "method", "allowed"),
    [
        ("gateway", WORKSPACE_KEY, "GetBalance", True),
        ("gateway", WORKSPACE_KEY, "Reserve", False),
        ("gateway", WORKSPACE_KEY, "GrantCredit", False),
        ("jobs", None, "GetBalance", False),
        ("jobs", None, "Reserve", True),
        ("jobs", None, "GrantCredit", False),
        ("operator", OPERATOR, "GetBalance", True),
        ("operator", OPERATOR, "Reserve", True),
        ("operator", OPERATOR, "GrantCredit", True),
    ],
)
async def test_method_is_open_to_its_access_only(
    service: str, caller: Caller | None, method: str, allowed: bool, address: str, key: OKPKey
) -> None:
    async with open_channel(address, audience="billing", signer=TokenSigner(key, service)) as opened:
        request = getattr(billing, f"{method}Request")()
        try:
            if caller is None:
                await getattr(BillingServiceStub(opened), method)(request)
            else:
                with calling_as(caller):
                    await getattr(BillingServiceStub(opened), method)(request)
            refused = False
        except MeshError as error:
            refused = is_remote(error, "ACCESS_DENIED")
    assert refused is not allowed


@pytest.mark.parametrize(("scopes", "allowed"), [((), True), (("read",), True), (("write",), False), (("admin",), False)])
async def test_a_limited_key_is_refused_what_its_scopes_leave_out(
    scopes: tuple[str, ...], allowed: bool, address: str, key: OKPKey
) -> None:
    async with open_channel(address, audience="billing", signer=TokenSigner(key, "gateway")) as opened:
        with calling_as(replace(WORKSPACE_KEY, scopes=scopes)):
            call = BillingServiceStub(opened).GetBalance(billing.GetBalanceRequest())
            if allowed:
                assert (await call).balance.available_ms == 7
            else:
                assert (await refusal(call)).reason_name == "INSUFFICIENT_SCOPE"


async def test_call_without_a_deadline_of_its_own_has_one(channel: Channel, servicer: BillingRpc) -> None:
    with acting_for("w"):
        await BillingServiceStub(channel).GetBalance(billing.GetBalanceRequest())
    assert servicer.remaining is not None
    assert servicer.remaining < 6


async def test_server_that_hangs_is_given_up_at_the_deadline(channel: Channel) -> None:
    with acting_for("w"):
        error = await refusal(BillingServiceStub(channel).Release(billing.ReleaseRequest(), timeout=0.2))
    assert (error.code, error.reason_name) == (grpc.StatusCode.DEADLINE_EXCEEDED, "SERVICE_UNAVAILABLE")


async def test_idempotent_method_is_repeated_while_the_service_is_unavailable(channel: Channel, servicer: BillingRpc) -> None:
    with acting_for("w"):
        await BillingServiceStub(channel).ListTransfers(billing.ListTransfersRequest())
    assert servicer.tries == 3


async def test_stream_ends_with_its_refusal(channel: Channel) -> None:
    seen: list[int] = []

    async def watch() -> None:
        async for answer in JobsServiceStub(channel).WatchJob(jobs.WatchJobRequest(job_id="j")):
            seen.append(answer.job.revision)  # noqa: PERF401 (what came before the refusal counts)

    with acting_for("w"):
        error = await refusal(watch())
    assert seen == [1, 2]
    assert error.reason_name == "EMPTY_PURSE"


async def test_handler_of_a_cancelled_stream_is_closed_by_its_own_task_though_nobody_reads(channel: Channel, watched: JobsRpc) -> None:
    with acting_for("w"):
        stream = JobsServiceStub(channel).WatchText(jobs.WatchTextRequest())
        await anext(aiter(stream))
    await stream.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(60):
        await watched.closed.wait()
    assert watched.closed_by is watched.opened_by


async def test_no_call_is_lost_while_one_of_two_servers_ends(key: OKPKey) -> None:
    async with AsyncExitStack() as stack:
        leaving, staying = await stack.enter_async_context(AsyncExitStack()), stack
        ports = [await _serve(one, key) for one in (leaving, staying)]
        address = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        channel = await stack.enter_async_context(open_channel(address, audience="billing", signer=TokenSigner(key, "jobs")))
        stub, over, answers = BillingServiceStub(channel), asyncio.Event(), Counter[int]()

        async def call() -> None:
            # None of these is repeated: the channel was not told of any service.
            while not over.is_set():
                with calling_as(WORKSPACE_KEY):
                    answers[(await stub.GetBalance(billing.GetBalanceRequest())).balance.available_ms] += 1

        async with asyncio.TaskGroup() as calls:
            for _ in range(20):
                calls.create_task(call())
            await _answered(answers, 200)
            await leaving.aclose()
            await _answered(answers, 200)
            over.set()
    assert set(answers) == {7}


async def _serve(stack: AsyncExitStack, key: OKPKey) -> int:
    registration = Registration(add_BillingServiceServicer_to_server, BillingRpc(), BILLING)  # type: ignore[abstract]
    opening = open_server(Settings(), TokenVerifier(key, "billing"), authenticate=None, servicers=[registration])
    return (await stack.enter_async_context(opening)).port


async def _answered(answers: Counter[int], count: int) -> None:
    """Until so many more were answered."""
    until = answers.total() + count
    async with asyncio.timeout(30):
        while answers.total() < until:
            await asyncio.sleep(0.005)


async def test_port_in_use_is_said(address: str, key: OKPKey) -> None:
    taken = Settings(port=int(address.rpartition(":")[2]))
    with pytest.raises(OSError, match="taken"):
        async with open_server(taken, TokenVerifier(key, "billing"), authenticate=None, servicers=[]):
            raise AssertionError


async def test_a_server_that_is_slow_to_greet_is_waited_for(address: str, key: OKPKey) -> None:
    port = int(address.rpartition(":")[2])
    async with open_proxy(lambda: asyncio.open_connection("127.0.0.1", port)) as proxy:
        proxy.pause()
        async with open_channel(f"127.0.0.1:{proxy.port}", audience="billing", signer=TokenSigner(key, "jobs"), timeout_seconds=60) as slow:
            with acting_for("w"):
                call = asyncio.ensure_future(BillingServiceStub(slow).GetBalance(billing.GetBalanceRequest()))
            await asyncio.wait({call}, timeout=1)
            proxy.resume()
            assert (await call).balance.available_ms == 7


async def test_unreachable_service_is_unavailable(key: OKPKey, tmp_path: Path) -> None:
    async with open_channel("127.0.0.1:1", audience="billing", signer=TokenSigner(key, "jobs"), timeout_seconds=1) as nowhere:
        error = await refusal(BillingServiceStub(nowhere).Reserve(billing.ReserveRequest()))
    assert error.reason_name == "SERVICE_UNAVAILABLE"
