"""The connection to NATS: kept for ever, with what must happen when it breaks and comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.mesh import semconv
from services.mesh.telemetry import get_logger
from services.mesh.tls.certificates import Certificates

_PROBE_SECONDS = 2.0
_RECONNECT_SECONDS = 0.25
_DRAIN_SECONDS = 5
_CANCELS = 20
_CANCEL_SECONDS = 0.25


class Link:
    """A NATS client and the state of its connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = Client()
        self.connected = asyncio.Event()
        # Set by the bus once the server has what a wiped store lost.
        self.prepared = asyncio.Event()
        self.closed = asyncio.Event()
        self.disconnects = 0
        self._deadlines: set[asyncio.Timeout] = set()
        self._listeners: set[Callable[[], None]] = set()
        self._logger = get_logger("mesh.bus")
        semconv.BUS_DISCONNECTS.labels(name)
        semconv.BUS_CONNECTED.labels(name).set(0)

    def on_connected(self) -> None:
        """The server is there."""
        self.connected.set()
        semconv.BUS_CONNECTED.labels(self.name).set(1)

    @asynccontextmanager
    async def answer_within(self, seconds: float) -> AsyncIterator[None]:
        """Time for connecting and an answer; TimeoutError at once when the connection breaks meanwhile.

        nats-py leaves a request in flight across a reconnect waiting for an answer that cannot come.
        """
        async with asyncio.timeout(seconds) as deadline:
            await self.connected.wait()
            self._deadlines.add(deadline)
            try:
                yield
            finally:
                self._deadlines.discard(deadline)

    @contextmanager
    def listening(self, reconnected: Callable[[], None]) -> Iterator[None]:
        """Call `reconnected` after every reconnect while the block runs."""
        self._listeners.add(reconnected)
        try:
            yield
        finally:
            self._listeners.discard(reconnected)

    async def on_disconnected(self) -> None:
        """Fail what is in flight."""
        self.connected.clear()
        self.prepared.clear()
        self.disconnects += 1
        semconv.BUS_CONNECTED.labels(self.name).set(0)
        semconv.BUS_DISCONNECTS.labels(self.name).inc()
        self._logger.warning("bus disconnected")
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            deadline.reschedule(now)
        self._deadlines.clear()

    async def on_reconnected(self) -> None:
        """Tell the listeners."""
        self.on_connected()
        self._logger.info("bus reconnected")
        for listener in list(self._listeners):
            listener()

    async def on_closed(self) -> None:
        """The client does nothing any more: it was closed, or the server sent an error that nats-py takes for the end."""
        self.connected.clear()
        semconv.BUS_CONNECTED.labels(self.name).set(0)
        self.closed.set()

    async def on_error(self, error: Exception) -> None:
        """Record without a trace: one line per failed attempt to reconnect."""
        self._logger.warning("bus error", error=repr(error))


@asynccontextmanager
async def open_link(url: str, *, name: str, tls: Certificates | None) -> AsyncIterator[Link]:
    """A link that is connected; waits for the server for as long as it takes. tls: not a word is said in plain text."""
    link = Link(name)
    await _wait_for_port(url)
    try:
        await _unless_cancelled(_connect(link, url, name, tls))
        link.on_connected()
        yield link
    finally:
        await _close(link.client)


async def _unless_cancelled(connecting: Coroutine[Any, Any, None]) -> None:
    """Connect. nats-py loses a cancellation that comes while a handshake fails, and would go on trying for ever: it is told again."""
    task = asyncio.create_task(connecting, name="bus connect")
    try:
        await asyncio.wait({task})
    finally:
        for _ in range(_CANCELS):
            if task.done():
                break
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
    await task


async def _connect(link: Link, url: str, name: str, tls: Certificates | None) -> None:
    # With a TLS context but without handshake_first, nats-py talks plain text to a server that does not ask for TLS.
    await link.client.connect(
        url,
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]
        ping_interval=5,
        max_outstanding_pings=2,
        connect_timeout=3,
        drain_timeout=_DRAIN_SECONDS,
        disconnected_cb=link.on_disconnected,
        reconnected_cb=link.on_reconnected,
        closed_cb=link.on_closed,
        error_cb=link.on_error,
        tls=tls.client_context() if tls else None,
        tls_handshake_first=tls is not None,
        tls_hostname=urlsplit(url).hostname if tls else None,
    )


async def _wait_for_port(url: str) -> None:
    """nats-py sleeps two seconds after a first connect that is refused: knock first."""
    target = urlsplit(url)
    delay = 0.05
    while not await _answers(target.hostname or "127.0.0.1", target.port or 4222):
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
        delay = min(delay * 2, 1.0)


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _close(client: Client) -> None:
    try:
        async with asyncio.timeout(_DRAIN_SECONDS + 1):
            await (client.drain() if client.is_connected else client.close())
    except (NatsError, TimeoutError):
        await client.close()
