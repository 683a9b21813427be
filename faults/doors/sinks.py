"""Every place that what a mesh knows could end up in: logs, traces, the bus, metrics, outboxes, errors, command lines, databases."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import httpx2
import nats
import psutil
from nats.aio.msg import Msg

from faults.doors.canaries import Canaries
from services.stack.data_directory import DataDirectory
from tests.e2e.mesh import Mesh
from tests.otlp import Collector

_SERVICES = ("billing", "storage", "jobs", "inference", "gateway")
_EVENT_TABLES = ("outbox", "inbox")


@dataclass
class Overheard:
    """Everything that crossed the bus meanwhile, and every refusal that a client or another service got."""

    messages: list[bytes] = field(default_factory=list)
    refusals: list[bytes] = field(default_factory=list)

    def refused(self, answer: httpx2.Response) -> None:
        """Keep an answer that is an error, with its head."""
        if answer.status_code >= 400:
            head = "".join(f"{name}: {value}\n" for name, value in answer.headers.multi_items())
            self.refusals.append(head.encode() + answer.read())


@contextmanager
def listening(mesh: Mesh) -> Iterator[Overheard]:
    """Hear every message of the bus until left, in a thread of its own."""
    overheard, started = Overheard(), Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def listen() -> None:
        async def keep(message: Msg) -> None:
            head = json.dumps(dict(message.headers or {}))
            overheard.messages.append(f"{message.subject} {message.reply} {head}\n".encode() + message.data)

        stop = asyncio.Event()
        client = await nats.connect(environment_of(mesh, "storage")["STENO_STORAGE_NATS_URL"])
        await client.subscribe(">", cb=keep)
        await client.flush()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        await client.close()

    thread = threading.Thread(target=asyncio.run, args=(listen(),), name="listener")
    thread.start()
    loop, stop = started.result(timeout=60)
    try:
        yield overheard
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)


def environment_of(mesh: Mesh, service: str) -> Mapping[str, str]:
    """The settings that a service was started with."""
    pid = mesh.child_pid(service)
    assert pid is not None, f"{service} does not run"
    return psutil.Process(pid).environ()


@dataclass(frozen=True)
class Sinks:
    """The sinks of one mesh. metrics_ports: of the services that have one. traces: where all its spans go."""

    mesh: Mesh
    overheard: Overheard
    metrics_ports: Mapping[str, int]
    traces: Collector

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Every sink that nothing may be in, by its kind, in pieces."""
        yield from self._logs()
        yield from (("traces", body) for body in list(self.traces.bodies))
        yield from (("messages of the bus", message) for message in self.overheard.messages)
        yield from (("store of the bus", path.read_bytes()) for path in DataDirectory(self.mesh.data).events.rglob("*") if path.is_file())
        yield from (("error bodies", refusal) for refusal in self.overheard.refusals)
        yield from (("outbox and inbox rows", row) for row in self._event_rows())
        yield from self._metrics()
        yield from self._command_lines()

    def databases(self) -> Iterator[bytes]:
        """The files of the databases, in which no credential may be."""
        for path in (self.mesh.data / "databases").iterdir():
            yield path.read_bytes()

    def _logs(self) -> Iterator[tuple[str, bytes]]:
        yield from (("logs", path.read_bytes()) for path in DataDirectory(self.mesh.data).logs.iterdir())
        # What else is in this file is the terminal of whoever typed `steno up`: it is told the first key there.
        lines = (self.mesh.folder / "up.log").read_bytes().splitlines()
        yield "logs", b"\n".join(line for line in lines if line.startswith(b"{"))

    def _event_rows(self) -> Iterator[bytes]:
        for path in (self.mesh.data / "databases").glob("*.db"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                for table in known & set(_EVENT_TABLES):
                    for row in database.execute(f"SELECT * FROM {table}"):  # noqa: S608 (one of two names above)
                        yield b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)

    def _metrics(self) -> Iterator[tuple[str, bytes]]:
        yield "metrics", self.mesh.client.get("/metrics").content
        for port in self.metrics_ports.values():
            yield "metrics", httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).content

    def _command_lines(self) -> Iterator[tuple[str, bytes]]:
        for process in psutil.Process(self.mesh.process.pid).children(recursive=True):
            try:
                yield "command lines", "\n".join(process.cmdline()).encode()
            except psutil.Error:
                continue


@dataclass
class Search:
    """What was searched, and what was found where."""

    canaries: Canaries
    read_bytes: dict[str, int] = field(default_factory=dict)
    hits: set[str] = field(default_factory=set)

    def look(self, sinks: Sinks) -> None:
        """Everything in every sink."""
        for kind, content in sinks.read():
            self._look(kind, content, credentials_only=False)
        for content in sinks.databases():
            self._look("databases (credentials only)", content, credentials_only=True)

    def _look(self, kind: str, content: bytes, *, credentials_only: bool) -> None:
        self.read_bytes[kind] = self.read_bytes.get(kind, 0) + len(content)
        self.hits |= {f"{name} in {kind}" for name in self.canaries.found_in(content, credentials_only=credentials_only)}
