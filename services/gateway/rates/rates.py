"""The rates of the caller's plan, told in headers, enforced before any byte of a body is read.

Headers: X-RateLimit-* with the moment of reset in seconds since 1970, and RateLimit with RateLimit-Policy as in
draft-ietf-httpapi-ratelimit-headers-10.
"""

import hashlib
import time
from collections.abc import Callable

from starlette.requests import Request

from services.gateway.addresses import TrustedProxies
from services.gateway.domain import Client, Reason, Refusal
from services.gateway.operation import RateKind
from services.gateway.rates.counters import BUCKET, BUCKET_SECONDS, LocalCounter, SharedCounter
from services.gateway.rates.window import WINDOW_MS, Decision
from services.mesh import semconv
from services.mesh.bus import Bus
from services.mesh.errors import Overloaded, ServiceUnavailable
from services.mesh.identity import CallerKind
from services.mesh.telemetry import get_logger
from steno.billing.v1.workspace_pb2 import Plan

_RETRY_SECONDS = 5
_logger = get_logger("gateway.rates")


class Rates:
    """Counts requests by contract, kind and client.

    Without the bus, submits are refused, so that no limit is passed unnoticed, and everything else is counted by this process alone.
    """

    def __init__(self, bus: Callable[[], Bus | None], proxies: TrustedProxies, *, shared: bool) -> None:
        self._bus = bus
        self._proxies = proxies
        self._shared = shared
        self._local = LocalCounter()
        self._on_bus: SharedCounter | None = None

    async def take(self, request: Request, contract: str, kind: RateKind, client: Client) -> None:
        """Count the request. Raises Refusal: RATE_LIMITED, or OVERLOADED for a submit that cannot be counted."""
        limit = limit_of(client.plan, contract, kind)
        if not limit:
            return
        key = f"{contract}.{kind}.{self._subject(request, client)}"
        decision = await self._count(key, limit, kind)
        request.scope["state"]["answer_headers"] = headers_of(decision, kind)
        if not decision.accepted:
            semconv.RATE_REFUSALS.labels(contract, kind.value).inc()
            raise Refusal(Reason.RATE_LIMITED, retry_after_seconds=_seconds(decision.reset_ms))

    async def _count(self, key: str, limit: int, kind: RateKind) -> Decision:
        if not self._shared:
            return await self._local.count(key, limit)
        try:
            return await self._counter().count(key, limit)
        except (ServiceUnavailable, Overloaded) as error:
            if kind is RateKind.UPLOADS:
                raise Refusal(Reason.OVERLOADED, retry_after_seconds=_RETRY_SECONDS) from error
            _logger.warning("rates counted alone", error=str(error))
            return await self._local.count(key, limit)

    def _counter(self) -> SharedCounter:
        if self._on_bus is None:
            bus = self._bus()
            if bus is None:
                raise ServiceUnavailable("The bus was not reached yet.")
            self._on_bus = SharedCounter(bus.bucket(BUCKET, BUCKET_SECONDS))
        return self._on_bus

    def _subject(self, request: Request, client: Client) -> str:
        """Who is counted: a workspace's key, a user, or one address of an application's guests."""
        caller = client.caller
        name = caller.key_id
        if caller.kind is CallerKind.USER:
            name += f"|{caller.workspace_id}|{caller.owner}"
        elif caller.kind is CallerKind.GUEST:
            name += f"|{caller.wallet_id or self._proxies.client_address(request.scope)}"
        return hashlib.sha256(name.encode()).hexdigest()[:32]


def limit_of(plan: Plan, contract: str, kind: RateKind) -> int:
    """Requests a minute that the plan allows; 0 for any number."""
    for rates in plan.rate_classes:
        if rates.contract == contract:
            limit: int = getattr(rates, f"{kind.value}_per_minute")
            return limit
    return 0


def headers_of(decision: Decision, kind: RateKind) -> list[tuple[bytes, bytes]]:
    """What the client is told about its rate."""
    seconds = _seconds(decision.reset_ms)
    texts = {
        "x-ratelimit-limit": f"{decision.limit}",
        "x-ratelimit-remaining": f"{decision.remaining}",
        "x-ratelimit-reset": f"{int(time.time()) + seconds}",
        "ratelimit-policy": f'"{kind.value}";q={decision.limit};w={WINDOW_MS // 1000}',
        "ratelimit": f'"{kind.value}";r={decision.remaining};t={seconds}',
    }
    return [(name.encode(), text.encode()) for name, text in texts.items()]


def _seconds(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))
