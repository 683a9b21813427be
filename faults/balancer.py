"""What stands before replicas: a rota of those that say that they are ready, the clients' way to gateways, and a door to storage."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from faults.replicas import Replica
from tests.proxies import Proxy

_LOOK_SECONDS = 0.1
_TRIES = 6
_PAUSE_SECONDS = 0.1
_START_SECONDS = 30.0
_REPEATED = (502, 503, 504)
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


class Rota:
    """The replicas of one service, asked several times a second, as an ingress or a Kubernetes Service does."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._ready = {replica.name: True for replica in replicas}
        self._replicas = replicas
        self._turn = itertools.count()

    def next(self) -> Replica:
        """Whose turn it is, of those that were ready when last asked; of all where none was."""
        ready = [replica for replica in self._replicas if self._ready[replica.name]] or self._replicas
        return ready[next(self._turn) % len(ready)]

    @contextmanager
    def watching(self) -> Iterator["Rota"]:
        """Within, the replicas are asked."""
        over = threading.Event()
        with ThreadPoolExecutor(len(self._replicas), "rota") as pool:
            watches = [pool.submit(self._watch, replica, over) for replica in self._replicas]
            try:
                yield self
            finally:
                over.set()
        for watch in watches:
            watch.result()

    def _watch(self, replica: Replica, over: threading.Event) -> None:
        """Each on its own: one that is slow to answer keeps no news of another back."""
        while not over.wait(_LOOK_SECONDS):
            self._ready[replica.name] = replica.is_ready()


@dataclass
class Outcomes:
    """What became of requests. first: tries that failed at once, by why; lost: requests whose every try failed."""

    requests: int = 0
    slowest_seconds: float = 0.0
    first: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, failures: Sequence[str], tries: int, seconds: float) -> None:
        """One request with its failed tries, in order."""
        with self._lock:
            self.requests += 1
            self.slowest_seconds = max(self.slowest_seconds, seconds)
            self.first.update(failures[:1])
            if len(failures) == tries:
                self.lost.update(failures[-1:])


class Balanced(httpx2.BaseTransport):
    """A documented client's way to several gateways.

    What is safe to repeat is repeated after a broken connection, and after 502, 503 and 504 when `Retry-After` says.
    """

    def __init__(self, rota: Rota, outcomes: Outcomes) -> None:
        self._rota = rota
        self._outcomes = outcomes
        self._transport = httpx2.HTTPTransport(trust_env=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The first good answer, or the last. Raises the last try's TransportError."""
        tries = _TRIES if request.method in _IDEMPOTENT or "idempotency-key" in request.headers else 1
        failures: list[str] = []
        started = time.monotonic()
        try:
            return self._insist(request, tries, failures)
        finally:
            self._outcomes.note(failures, tries, time.monotonic() - started)

    def _insist(self, request: httpx2.Request, tries: int, failures: list[str]) -> httpx2.Response:
        for left in reversed(range(tries)):
            request.url = request.url.copy_with(host="127.0.0.1", port=self._rota.next().port)
            try:
                response = self._transport.handle_request(request)
                response.read()
            except httpx2.TransportError as error:
                failures.append(f"{request.method} {type(error).__name__}")
                if not left:
                    raise
                time.sleep(_PAUSE_SECONDS)
                continue
            if response.status_code not in _REPEATED:
                return response
            failures.append(f"{request.method} {response.status_code}")
            if left:
                time.sleep(float(response.headers.get("retry-after", _PAUSE_SECONDS)))
        return response

    def close(self) -> None:
        """Drop the connections."""
        self._transport.close()


@contextmanager
def door(port: int, rota: Rota) -> Iterator[None]:
    """Within, connections to the port reach whichever storage is in the rota."""
    opened, over, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        proxy = Proxy(lambda: _connect(rota))
        proxy.port = port
        await proxy.open()
        opened.set()
        await over.wait()
        proxy.close()
        await proxy.closed()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="door")
    thread.start()
    try:
        if not opened.wait(_START_SECONDS):
            raise TimeoutError(f"the door at port {port} did not open")
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _connect(rota: Rota) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the next storage; to the one after it where nobody listens any more."""
    try:
        return await asyncio.open_connection("127.0.0.1", rota.next().data_port)
    except OSError:
        return await asyncio.open_connection("127.0.0.1", rota.next().data_port)
