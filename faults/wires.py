"""Proxies between the parts of a mesh, worked from any thread."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.proxies import Connect, Proxy, postgres_socket

HOST = "127.0.0.1"
_WORK_SECONDS = 10.0


@dataclass
class Wires:
    """One proxy for each edge of a mesh, named as "gateway-jobs". Ports exist at once, what is behind them once the mesh starts."""

    loop: asyncio.AbstractEventLoop
    proxies: dict[str, Proxy] = field(default_factory=dict)

    def do(self, edge: str, work: Callable[[Proxy], None]) -> None:
        """Do something to an edge's proxy, in its own thread."""

        async def doing() -> None:
            work(self.proxies[edge])

        asyncio.run_coroutine_threadsafe(doing(), self.loop).result(_WORK_SECONDS)

    def reopen(self, edge: str) -> None:
        """Accept connections again."""
        asyncio.run_coroutine_threadsafe(self.proxies[edge].open(), self.loop).result(_WORK_SECONDS)

    def add(self, edge: str, connect: Connect) -> Proxy:
        """A proxy to what `connect` finds when a connection comes."""
        proxy = Proxy(connect)
        self.proxies[edge] = proxy
        self.reopen(edge)
        return proxy


@contextmanager
def open_wires() -> Iterator[Wires]:
    """Wires whose event loop runs in a thread of its own; all are cut when the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="wires")
    thread.start()
    wires = Wires(loop)
    try:
        yield wires
    finally:
        for edge in wires.proxies:
            wires.do(edge, _end)
        closing: Future[None] = asyncio.run_coroutine_threadsafe(_cancel_all(), loop)
        closing.result(_WORK_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _end(proxy: Proxy) -> None:
    proxy.resume()
    proxy.close()


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def wire_services(wires: Wires, data: Path, pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Proxies from callers to services or to nats, and the settings that lead there."""
    settings = {}
    for caller, callee in pairs:
        proxy = wires.add(f"{caller}-{callee}", _nats(data) if callee == "nats" else _service(data, callee))
        name = f"STENO_{caller.upper()}_NATS_URL" if callee == "nats" else f"STENO_{caller.upper()}_{callee.upper()}_ADDRESS"
        settings[name] = f"nats://{HOST}:{proxy.port}" if callee == "nats" else f"{HOST}:{proxy.port}"
    return settings


def wire_databases(wires: Wires, url: str, services: Sequence[str]) -> Mapping[str, str]:
    """Proxies from services to Postgres, and the settings that lead there."""
    connect, through = postgres_socket(url)
    ports = {service: wires.add(f"{service}-postgres", connect).port for service in services}
    return {f"STENO_{service.upper()}_DATABASE_URL": through(port) for service, port in ports.items()}


def rewired(settings: Mapping[str, str]) -> Sequence[str]:
    """The prefix of a mesh's command that gives its services these settings."""
    return (sys.executable, "-m", "faults.up", json.dumps(dict(settings)))


def _nats(data: Path) -> Connect:
    return lambda: asyncio.open_connection(HOST, int(json.loads((data / "nats.conf").read_text())["port"]))


def _service(data: Path, name: str) -> Connect:
    """The service chose its port when the mesh started, after the proxy's had to be known."""

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, await asyncio.to_thread(_port_of, data, name))

    return connect


def _port_of(data: Path, name: str) -> int:
    """The port of the mesh on this data directory. Raises ConnectionRefusedError while the service does not run."""
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-1:] != [f"services.{name}"]:
                continue
            environment = process.environ()
            if environment.get(f"STENO_{name.upper()}_IDENTITY_KEY_FILE", "").startswith(f"{data}/"):
                return int(environment[f"STENO_{name.upper()}_PORT"])
        except psutil.Error:
            continue
    raise ConnectionRefusedError(f"{name} does not run")
