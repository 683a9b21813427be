"""Sending a recording: streamed from its file, and again under the same idempotency key when the connection breaks."""

import io
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import httpx2

from services.client.api import CONNECT_SECONDS, Api, Row, read_json
from services.client.failures import CommandFailed
from services.client.retrying import retried

STANDARD_INPUT = "-"
_WRITE_SECONDS = 60.0
# The answer comes after the server has stored and examined the file.
_ANSWER_SECONDS = 180.0

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Recording:
    """A recording to send. size_bytes: None when it comes through a pipe, and can be read only once."""

    name: str
    path: Path | None
    size_bytes: int | None

    @contextmanager
    def open(self, on_bytes: OnBytes) -> Iterator[BinaryIO]:
        """Its bytes; on_bytes hears how many have been read so far."""
        if self.path is None:
            yield cast(BinaryIO, _Counted(sys.stdin.buffer, on_bytes))
            return
        with self.path.open("rb") as file:
            counted = _Counted(file, on_bytes) if self.size_bytes is None else _CountedFile(file, on_bytes)
            yield cast(BinaryIO, counted)


class _Counted(io.RawIOBase):
    """A stream of unknown length, which the HTTP client then sends in chunks."""

    def __init__(self, source: BinaryIO, on_bytes: OnBytes) -> None:
        self._source = source
        self._on_bytes = on_bytes
        self._done_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._done_bytes += len(data)
        self._on_bytes(self._done_bytes)
        return data


class _CountedFile(_Counted):
    """A regular file, whose length the HTTP client asks its descriptor for."""

    def fileno(self) -> int:
        return self._source.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._done_bytes = 0
        return self._source.seek(offset, whence)


def find_recording(name: str) -> Recording:
    """The recording that the command line names. Raises CommandFailed when there is nothing to read."""
    if name == STANDARD_INPUT:
        if sys.stdin.isatty():
            raise CommandFailed("`-` reads the recording from standard input, and that is this terminal.")
        return Recording("standard-input", None, None)
    path = Path(name)
    try:
        status = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        raise CommandFailed(f"cannot read {name}: {error.strerror}") from error
    return Recording(path.name, path, status.st_size if stat.S_ISREG(status.st_mode) else None)


def submit(api: Api, recording: Recording, fields: Mapping[str, str], idempotency_key: str, on_bytes: OnBytes) -> Row:
    """The accepted job. Raises Refused or Unreachable once no further try is worth it."""
    return retried(lambda: _send(api, recording, fields, idempotency_key, on_bytes), repeatable=recording.size_bytes is not None)


def _send(api: Api, recording: Recording, fields: Mapping[str, str], idempotency_key: str, on_bytes: OnBytes) -> Row:
    timeout = httpx2.Timeout(_ANSWER_SECONDS, connect=CONNECT_SECONDS, write=_WRITE_SECONDS)
    headers = {"Idempotency-Key": idempotency_key}
    with recording.open(on_bytes) as body:
        files = {"file": (recording.name, body)}
        with api.stream("POST", "/transcribe", headers=headers, data=fields, files=files, timeout=timeout) as response:
            job: Row = read_json(response)
            return job
