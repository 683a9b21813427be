"""What hostile media is lured to: a port that notes every call, and a file that notes every look. Linux."""

import asyncio
import ctypes
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.corpora.media.case import Bait
from faults.corpora.media.wav_lies import Head

IN_ACCESS, IN_OPEN = 0x1, 0x20
EVENT_BYTES = 4_096


@dataclass
class Canaries:
    """The bait, and what came in: `tcp`, `udp` and `file`, one for each time."""

    bait: Bait
    hits: list[str] = field(default_factory=list)


class Datagrams(asyncio.DatagramProtocol):
    """Notes every datagram."""

    def __init__(self, hits: list[str]) -> None:
        self.hits = hits

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One more."""
        self.hits.append("udp")


@asynccontextmanager
async def open_canaries(folder: Path) -> AsyncIterator[Canaries]:
    """Listeners on one port for TCP and UDP, and a watched WAV in the folder."""
    sibling = folder / "sibling.wav"
    sibling.write_bytes(Head().wav())
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        canaries = Canaries(Bait(tcp.getsockname()[1], sibling))
        server = await asyncio.start_server(lambda reader, writer: note_call(canaries, writer), sock=tcp)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Datagrams(canaries.hits), local_addr=("127.0.0.1", canaries.bait.port)
        )
        try:
            async with server, watched(canaries):
                yield canaries
        finally:
            transport.close()


def note_call(canaries: Canaries, writer: asyncio.StreamWriter) -> None:
    """Hang up on a caller."""
    canaries.hits.append("tcp")
    writer.close()


@asynccontextmanager
async def watched(canaries: Canaries) -> AsyncIterator[None]:
    """Note when the sibling is opened or read, until left."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(canaries.bait.sibling), IN_OPEN | IN_ACCESS) < 0:
        raise OSError(ctypes.get_errno(), "the sibling cannot be watched")
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, lambda: note_look(canaries, descriptor))
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def note_look(canaries: Canaries, descriptor: int) -> None:
    """Take the events that are there."""
    os.read(descriptor, EVENT_BYTES)
    canaries.hits.append("file")
