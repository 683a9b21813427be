"""The one way out: http(s) to checked addresses, within limits, without proxies, cookies or credentials."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import httpcore2

from services.mesh import semconv
from services.mesh.egress.addresses import NetworkPolicy
from services.mesh.egress.limits import FetchLimits
from services.mesh.egress.reply import REDIRECTS, Reply, ReplyTooLarge, next_target, plain_headers, read_headers, translated
from services.mesh.egress.resolving import Resolve, find_addresses, open_resolver
from services.mesh.egress.urls import Target, parse_url
from services.mesh.egress.wire import MAX_ATTEMPTS, CheckedBackend, Meter
from services.mesh.errors import FetchBlocked, FetchFailed, InvalidUrl

_HEADERS = {"User-Agent": "Steno", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
_REFUSALS = {InvalidUrl: "invalid", FetchBlocked: "blocked", FetchFailed: "failed", ReplyTooLarge: "too_large"}


@dataclass(frozen=True, slots=True)
class Asking:
    """One request: what is sent beside the address, and the watch over the whole fetch."""

    meter: Meter
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)

    def redirected(self, here: Target, there: Target) -> "Asking":
        """The same for the next hop: what was meant for one server is not shown to another."""
        same = (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port)
        return self if same else Asking(self.meter)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a server said to a body that was sent to it, whatever its status. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]


class Egress:
    """Fetches from the outside. Made by `open_egress`."""

    def __init__(self, policy: NetworkPolicy, limits: FetchLimits, resolve: Resolve, trust: ssl.SSLContext) -> None:
        self.policy = policy
        self.limits = limits
        self._resolve = resolve
        self._trust = trust

    @asynccontextmanager
    async def stream(self, url: str, *, max_bytes: int, headers: Mapping[str, str] | None = None) -> AsyncIterator[Reply]:
        """The reply at a URL, after at most `max_redirects` redirects.

        Raises InvalidUrl, FetchBlocked (an address or a redirect that is not allowed), ReplyTooLarge, FetchFailed (everything else).
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(_counted())
            target = parse_url(url, self.policy)
            meter = Meter(self.limits)
            try:
                reply = await self._follow(target, Asking(meter, headers or {}), max_bytes, stack)
            except (FetchBlocked, FetchFailed):
                await self._wait_for_floor(meter)
                raise
            yield reply

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Acknowledgement:
        """Send a body and read the head of the answer; redirects are not followed, and the answer's body is not read.

        Raises InvalidUrl, FetchBlocked (an address that is not allowed), FetchFailed (no answer).
        """
        async with AsyncExitStack() as hop:
            hop.enter_context(_counted())
            target = parse_url(url, self.policy)
            meter = Meter(self.limits)
            try:
                response = await self._ask(target, Asking(meter, headers, content), hop)
                with translated():
                    return Acknowledgement(response.status, plain_headers(response))
            except (FetchBlocked, FetchFailed):
                await self._wait_for_floor(meter)
                raise

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection to a host, for a tunnel. Raises InvalidUrl, FetchBlocked, FetchFailed."""
        with _counted():
            target = parse_url(f"https://{host}:{port}/", self.policy)
            addresses = await find_addresses(target, self.policy, self._resolve, self.limits.resolve_seconds)
            for address in addresses[:MAX_ATTEMPTS]:
                try:
                    async with asyncio.timeout(self.limits.connect_seconds / MAX_ATTEMPTS):
                        return await asyncio.open_connection(str(address), target.port)
                except OSError:
                    continue
            raise FetchFailed

    async def _follow(self, target: Target, asking: Asking, max_bytes: int, stack: AsyncExitStack) -> Reply:
        for _ in range(self.limits.max_redirects + 1):
            hop = await stack.enter_async_context(AsyncExitStack())
            response = await self._ask(target, asking, hop)
            if response.status not in REDIRECTS:
                return _judge(target, response, asking.meter, max_bytes)
            there = next_target(target, response, self.policy)
            target, asking = there, asking.redirected(target, there)
            await hop.aclose()
        raise FetchBlocked

    async def _ask(self, target: Target, asking: Asking, hop: AsyncExitStack) -> httpcore2.Response:
        """The head of the reply of one server, on a connection of its own."""
        seconds = asking.meter.patience(self.limits.resolve_seconds)
        addresses = await find_addresses(target, self.policy, self._resolve, seconds)
        asking.meter.begin_head()
        backend = CheckedBackend(addresses, asking.meter)
        request = _request(target, asking)
        connection = httpcore2.AsyncHTTPConnection(request.url.origin, ssl_context=self._trust, network_backend=backend)
        hop.push_async_callback(connection.aclose)
        with translated():
            response = await connection.handle_async_request(request)
        hop.push_async_callback(response.aclose)
        return response

    async def _wait_for_floor(self, meter: Meter) -> None:
        await asyncio.sleep(max(0.0, meter.started + self.limits.floor_seconds - time.monotonic()))


@contextmanager
def _counted() -> Iterator[None]:
    """Count what was refused, by why."""
    try:
        yield
    except (InvalidUrl, FetchBlocked, FetchFailed, ReplyTooLarge) as error:
        semconv.EGRESS_REFUSALS.labels(_REFUSALS[type(error)]).inc()
        raise


def _request(target: Target, asking: Asking) -> httpcore2.Request:
    """GET, or POST of what there is to send."""
    url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.target)
    sent = {"Host": target.authority, **_HEADERS, **asking.headers}
    if asking.content is None:
        return httpcore2.Request("GET", url, headers=list(sent.items()))
    sent["Content-Length"] = str(len(asking.content))
    return httpcore2.Request("POST", url, headers=list(sent.items()), content=asking.content)


def _judge(target: Target, response: httpcore2.Response, meter: Meter, max_bytes: int) -> Reply:
    """The reply if it is one: neither an error nor a part that nobody asked for. Raises FetchFailed."""
    with translated():
        headers = read_headers(response)
    if response.status != 200:
        raise FetchFailed
    return Reply(target, headers, response, meter, max_bytes)


@asynccontextmanager
async def open_egress(
    policy: NetworkPolicy, limits: FetchLimits, *, resolve: Resolve | None = None, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Egress]:
    """A way out that keeps to a policy; by default with the machine's resolver and authorities."""
    async with AsyncExitStack() as stack:
        if resolve is None:
            resolve = await stack.enter_async_context(open_resolver())
        if trust is None:
            trust = await asyncio.to_thread(httpcore2.default_ssl_context)
        yield Egress(policy, limits, resolve, trust)
