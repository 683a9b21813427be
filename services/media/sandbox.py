"""Runs functions on hostile media, each in a confined child process of its own."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace

from services.media import wire
from services.media.errors import VERDICTS, MediaError, SandboxKilled, SandboxUnavailable
from services.media.limits import Limits
from services.media.server import Server, start_server

PRELOAD = ("services.media.rehearsal:rehearse",)
START_SECONDS = 60.0
MAX_MESSAGES = 1_000_000

OnProgress = Callable[[int], None]
OnDeath = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Completed:
    """What a child answered and what it used."""

    result: Mapping[str, wire.Json]
    cpu_ms: int
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child left: its wait status, CPU time and peak resident memory."""

    status: int
    cpu_ms: int
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """The service's ends of one run: `channel` speaks for the child, `lifeline` for the fork server."""

    channel: asyncio.StreamReader
    lifeline: asyncio.StreamReader
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]

    def kill(self) -> None:
        """Have the fork server kill the child."""
        for writer in self.writers:
            writer.close()


class Sandbox:
    """Runs functions in fresh children, at most `concurrency` at a time. Made by `open_sandbox`.

    `peak_rss_bytes`: the most resident memory of any child that has ended by itself. `on_death`: told the first word of
    SandboxKilled's reason.
    """

    def __init__(self, limits: Limits, concurrency: int, preload: Sequence[str], on_death: OnDeath) -> None:
        self.limits = limits
        self.slots = asyncio.Semaphore(concurrency)
        self.starting = asyncio.Lock()
        self.preload = preload
        self.on_death = on_death
        self.server: Server | None = None
        self.peak_rss_bytes = 0

    async def run(
        self,
        function: str,
        *,
        inputs: Sequence[int] = (),
        outputs: Sequence[int] = (),
        arguments: Mapping[str, wire.Json] | None = None,
        limits: Limits | None = None,
        timeout_seconds: float,
        on_progress: OnProgress | None = None,
    ) -> Completed:
        """Call `package.module:function(report_progress, *inputs, *outputs, **arguments)` in a child.

        There each input is a DescriptorReader and each output a descriptor, the only ones that can be written.

        It is named, not passed, so that libav is never loaded into the service.
        Raises MediaError: what the function raised, or SandboxKilled when the child did not live to answer.
        Cancellation kills the child. The time limit starts when a slot is free.
        """
        request = wire.Request(function, dict(arguments or {}), limits or self.limits, len(inputs), len(outputs))
        async with self.slots:
            with self.watching_deaths():
                run = await self.start(request, [*inputs, *outputs])
                try:
                    return await self.follow(run, timeout_seconds, on_progress)
                finally:
                    run.kill()

    @contextmanager
    def watching_deaths(self) -> Iterator[None]:
        """Tell of a child or fork server that died, or had to be killed."""
        try:
            yield
        except SandboxKilled as error:
            self.on_death(error.reason.partition(" ")[0])
            raise

    def limits_with(self, *, cpu_seconds: int, file_size_bytes: int = 0) -> Limits:
        """The sandbox's limits with those that depend on the work."""
        return replace(self.limits, cpu_seconds=cpu_seconds, file_size_bytes=file_size_bytes)

    async def start(self, request: wire.Request, descriptors: Sequence[int]) -> Run:
        """Fork a child for the request, starting a new fork server if the last one died."""
        server = await self.ready_server()
        lifeline, server_end = socket.socketpair()
        channel, child_end = socket.socketpair()
        with ExitStack() as unclaimed, server_end, child_end:
            unclaimed.callback(lifeline.close)
            unclaimed.callback(channel.close)
            submit(server, request, [server_end.fileno(), child_end.fileno(), *descriptors])
            run = await connect(lifeline, channel)
            unclaimed.pop_all()
            return run

    async def ready_server(self) -> Server:
        """The fork server, alive."""
        async with self.starting:
            if self.server is None or not self.server.alive():
                await self.stop()
                self.server = start_server(self.preload)
            return self.server

    async def stop(self) -> None:
        """Stop the fork server and its children."""
        if self.server is not None:
            server, self.server = self.server, None
            await asyncio.to_thread(server.stop)

    async def follow(self, run: Run, timeout_seconds: float, on_progress: OnProgress | None) -> Completed:
        """Wait for the answer and for the end of the child."""
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await read_answer(run.channel, on_progress)
                ending = await read_ending(run.lifeline)
        except TimeoutError as error:
            raise SandboxKilled("timeout") from error
        self.peak_rss_bytes = max(self.peak_rss_bytes, ending.peak_rss_bytes)
        return settle(answer, ending)


@asynccontextmanager
async def open_sandbox(
    limits: Limits | None = None,
    concurrency: int = 2,
    preload: Sequence[str] = PRELOAD,
    on_death: OnDeath = lambda cause: None,
) -> AsyncIterator[Sandbox]:
    """A sandbox with its fork server warm. `preload` names functions, as `package.module:function`, that
    load what children need: confined, they can import nothing more.

    Raises SandboxUnavailable when this machine cannot isolate a child as the limits demand.
    """
    sandbox = Sandbox(limits or Limits(), concurrency, preload, on_death)
    try:
        await warm_up(sandbox)
        yield sandbox
    finally:
        await asyncio.shield(sandbox.stop())


async def warm_up(sandbox: Sandbox) -> None:
    """Start the fork server and see one child confined."""
    try:
        await sandbox.run("services.media.child:stand_by", timeout_seconds=START_SECONDS)
    except MediaError as error:
        raise SandboxUnavailable(f"the sandbox does not start: {error.reason}") from error


def submit(server: Server, request: wire.Request, descriptors: Sequence[int]) -> None:
    """Hand the request to the fork server. Raises SandboxKilled when it has gone."""
    try:
        server.submit(wire.encode_request(request), descriptors)
    except OSError as error:
        raise SandboxKilled("server") from error


async def connect(lifeline: socket.socket, channel: socket.socket) -> Run:
    """Put the two sockets on the event loop."""
    lifeline_reader, lifeline_writer = await asyncio.open_unix_connection(sock=lifeline)
    channel_reader, channel_writer = await asyncio.open_unix_connection(sock=channel, limit=wire.LINE_BYTES)
    return Run(channel_reader, lifeline_reader, (lifeline_writer, channel_writer))


async def read_answer(channel: asyncio.StreamReader, on_progress: OnProgress | None) -> dict[str, wire.Json] | None:
    """The child's last word, or None when it died without one. Nothing it writes is trusted."""
    for _ in range(MAX_MESSAGES):
        try:
            line = await channel.readline()
            message = wire.decode(line) if line else None
        except ValueError as error:
            raise SandboxKilled("protocol") from error
        if message is None or "progress" not in message:
            return message
        report(message["progress"], on_progress)
    raise SandboxKilled("protocol")


def report(done_ms: wire.Json, on_progress: OnProgress | None) -> None:
    """Pass on how far the child says it is."""
    if type(done_ms) is not int or done_ms < 0:
        raise SandboxKilled("protocol")
    if on_progress is not None:
        on_progress(done_ms)


async def read_ending(lifeline: asyncio.StreamReader) -> Ending:
    """What the fork server says of the child. Raises SandboxKilled when the server itself has died."""
    line = await lifeline.readline()
    if not line:
        raise SandboxKilled("server")
    end = wire.decode(line)["end"]
    if not isinstance(end, list):
        raise SandboxKilled("server")
    return Ending(*end)


def settle(answer: Mapping[str, wire.Json] | None, ending: Ending) -> Completed:
    """The result of a child that has ended, or the error that it or its death stands for."""
    if answer is None:
        raise SandboxKilled(name_death(ending.status))
    match answer:
        case {"result": dict() as result}:
            return Completed(result, ending.cpu_ms, ending.peak_rss_bytes)
        case {"error": [str() as code, str() as reason]} if code in VERDICTS:
            raise VERDICTS[code](reason)
        case {"killed": "memory"}:
            raise SandboxKilled("memory")
        case {"unavailable": str() as reason}:
            raise SandboxUnavailable(reason)
    raise SandboxKilled("protocol")


def name_death(status: int) -> str:
    """Why a child without an answer ended, from its wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit {code}"
    if -code == signal.SIGXCPU:
        return "cpu"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
