"""One hostile request and the answer it has to get."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Door = Literal["gateway", "storage"]
Json = Any


@dataclass(frozen=True, slots=True)
class Vector:
    """pieces: bytes to send, each so many times. status: 0 for a close without a word. code: empty where the answer is no refusal.

    told: fields of the answer. answers: how many have to come on the connection.
    """

    name: str
    pieces: Sequence[tuple[bytes, int]]
    status: int
    code: str = ""
    door: Door = "gateway"
    told: Mapping[str, Json] = field(default_factory=dict)
    answers: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)

    def sent(self) -> Iterator[bytes]:
        """Everything to send, in pieces."""
        for piece, times in self.pieces:
            for _ in range(times):
                yield piece


@dataclass(frozen=True, slots=True)
class Target:
    """What the corpus is aimed at.

    key: of the whole workspace. read_key: with the scope read only. revoked_key: has ended. waiting_job: has no media yet. done_job: has
    a transcript. playback, upload: signed targets at the gateway. blob, slot: signed targets of a download and of an upload at storage.
    audio: a recording. max_upload_bytes: the largest file that the gateway takes.
    """

    key: str
    read_key: str
    revoked_key: str
    waiting_job: str
    done_job: str
    playback: str
    upload: str
    blob: str
    slot: str
    audio: bytes
    max_upload_bytes: int


def lines(*headers: str | bytes) -> bytes:
    """Header lines and the empty one."""
    return b"".join((header if isinstance(header, bytes) else header.encode()) + b"\r\n" for header in headers) + b"\r\n"


def head(start: str | bytes, *headers: str | bytes) -> bytes:
    """A head that is sound but for what its caller makes of it: its start line, a host, an end of the connection."""
    first = start if isinstance(start, bytes) else start.encode()
    return first + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + lines(*headers)


def whole(start: str, body: bytes, *headers: str | bytes) -> bytes:
    """A request with a body of the announced length."""
    return head(start, f"Content-Length: {len(body)}", *headers) + body


def once(name: str, request: bytes, status: int, code: str = "", **more: Any) -> Vector:
    """A vector of one piece."""
    return Vector(name, [(request, 1)], status, code, **more)


def refused(requests: Mapping[str, bytes], status: int, code: str, door: Door = "gateway") -> Iterable[Vector]:
    """Requests that all get the same answer."""
    return [once(name, request, status, code, door=door) for name, request in requests.items()]


def chunk(content: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(content), content)
