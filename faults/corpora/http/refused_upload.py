"""A client that sends ten gigabytes with a key that nobody gave out, and does not stop when it is told so."""

import array
import fcntl
import select
import socket
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from faults.corpora.http.vector import chunk, head

_TOTAL_BYTES = 10 * 1000**3
_PIECE = memoryview(chunk(bytes(64 * 1024)))
_SECONDS = 30.0


@dataclass
class Refused:
    """status and answer_seconds: of the answer. read_bytes: what the server took from its kernel, at most."""

    status: int = 0
    answer_seconds: float = 0.0
    read_bytes: int = 0


def upload(port: int) -> Refused:
    """Send until the server closes; at most half a minute."""
    refused, started = Refused(), time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        form = "Content-Type: multipart/form-data; boundary=b"
        connection.sendall(head("POST /api/v1/transcribe", "X-API-Key: sk_live_nobody", form, "Transfer-Encoding: chunked"))
        connection.setblocking(False)
        try:
            _pour(connection, refused, started)
        except OSError:
            return refused
    raise AssertionError("ten gigabytes with an unknown key are still being taken")


def _pour(connection: socket.socket, refused: Refused, started: float) -> None:
    """Send and read what comes, past the end of the answer. Raises OSError once the server has closed."""
    sent_bytes, listening = 0, [connection]
    while sent_bytes < _TOTAL_BYTES and time.monotonic() - started < _SECONDS:
        readable, writable, _ = select.select(listening, [connection], [], 1.0)
        if readable:
            piece = connection.recv(65_536)
            # The server says nothing more, and may still be reading.
            listening = listening if piece else []
            _note(piece, refused, started)
        if writable:
            sent_bytes += connection.send(_PIECE[sent_bytes % len(_PIECE) :])
        waiting_bytes = _waiting(connection)
        refused.read_bytes = max(refused.read_bytes, sent_bytes - _unacknowledged(connection) - waiting_bytes)


def _note(piece: bytes, refused: Refused, started: float) -> None:
    if piece and not refused.status:
        refused.status, refused.answer_seconds = int(piece.split(b" ", 2)[1]), time.monotonic() - started


def _unacknowledged(connection: socket.socket) -> int:
    found = array.array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, found)
    return found[0]


def _waiting(connection: socket.socket) -> int:
    """Bytes that have arrived at the server's end and that it has not read. Source: proc(5), /proc/net/tcp."""
    here, there = (f"{port:04X}" for port in (connection.getsockname()[1], connection.getpeername()[1]))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if local.endswith(f":{there}") and remote.endswith(f":{here}"):
            return int(queues.partition(":")[2], 16)
    return 0
