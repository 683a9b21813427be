"""Send a vector over a socket of its own and judge what comes back."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from faults.corpora.http.vector import Vector

_ANSWER = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_SECONDS = 60.0
_MAX_TOLD_BYTES = 2000
_MAX_ECHO_BYTES = 200
# What no answer may hold: traces of the program and places on the server's disk.
_INSIDES = re.compile(rb"Traceback|File \"|site-packages|\.py\b|/etc/passwd|sqlite|asyncio", re.IGNORECASE)
_JOB_FIELDS = ("filename", "language", "billed_seconds")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Mapping[str, Any]:
        """Its JSON object; empty when it is none."""
        with suppress(ValueError):
            found = json.loads(self.body)
            return found if isinstance(found, dict) else {}
        return {}


async def exchange(port: int, vector: Vector) -> bytes:
    """Everything that is answered until the connection closes. Raises TimeoutError when it stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sending = asyncio.create_task(_send(writer, vector), name=f"send {vector.name}")
    try:
        async with asyncio.timeout(_SECONDS):
            return b"".join([piece async for piece in _received(reader)])
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, vector: Vector) -> None:
    with suppress(OSError):
        for piece in vector.sent():
            writer.write(piece)
            await writer.drain()


async def _received(reader: asyncio.StreamReader) -> Any:
    with suppress(OSError):
        while piece := await reader.read(65_536):
            yield piece


def read_answers(raw: bytes, *, bodiless: bool) -> Iterator[Answer]:
    """The answers on a connection, one after the other. Raises ValueError for what is none. bodiless: of a HEAD."""
    while raw:
        start, separator, rest = raw.partition(b"\r\n\r\n")
        found = _ANSWER.match(start)
        if found is None or not separator:
            raise ValueError(f"not an answer: {raw[:80]!r}")
        pairs = (line.partition(":") for line in start.decode("latin-1").split("\r\n")[1:])
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        status = int(found[1])
        none = bodiless or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED) or status < HTTPStatus.OK
        length = 0 if none else int(headers.get("content-length", len(rest)))
        if len(rest) < length:
            raise ValueError("an answer that breaks off")
        yield Answer(status, headers, rest[:length])
        raw = rest[length:]


def problems(vector: Vector, raw: bytes) -> Iterator[str]:
    """What is wrong with an answer; nothing when it is as expected."""
    try:
        answers = list(read_answers(raw, bodiless=vector.pieces[0][0].startswith(b"HEAD ")))
    except ValueError as error:
        yield str(error)
        return
    if len(answers) != vector.answers:
        yield f"{len(answers)} answers instead of {vector.answers}"
        return
    last = answers[-1]
    if last.status != vector.status:
        yield f"status {last.status} instead of {vector.status}: {last.body[:120]!r}"
        return
    yield from _wrong_words(vector, last)
    if vector.door == "gateway" and not last.headers.get("x-request-id"):
        yield "no request id"
    for name, value in vector.headers.items():
        if last.headers.get(name, "") != value:
            yield f"{name} is {last.headers.get(name)!r}"
    if last.status >= HTTPStatus.BAD_REQUEST:
        yield from _wrong_refusal(vector, last)


def _wrong_words(vector: Vector, answer: Answer) -> Iterator[str]:
    for name, value in vector.told.items():
        if name not in _JOB_FIELDS and answer.document.get(name) != value:
            yield f"{name} is {answer.document.get(name)!r} instead of {value!r}"


def _wrong_refusal(vector: Vector, answer: Answer) -> Iterator[str]:
    code = code_of(answer.document)
    if code is None:
        yield f"no refusal of a dialect: {answer.body[:120]!r}"
    elif code != vector.code:
        yield f"code {code} instead of {vector.code}"
    if len(answer.body) > _MAX_TOLD_BYTES:
        yield f"a refusal of {len(answer.body)} bytes"
    if _INSIDES.search(answer.body):
        yield "a refusal that tells of the inside"
    if answer.headers.get("content-type") != "application/json":
        yield "a refusal that is no JSON"


def code_of(document: Mapping[str, Any]) -> str | None:
    """The code of a refusal in any dialect, empty in those without codes; None when it is no refusal."""
    error = document.get("error")
    if isinstance(error, dict) and set(error) == {"message", "type", "param", "code"}:
        return str(error["code"] or "")
    if isinstance(error, str) and error and isinstance(document.get("code"), str):
        return str(document["code"])
    return "" if set(document) == {"detail"} and document["detail"] else None


def made_job(vector: Vector, raw: bytes) -> tuple[str, Mapping[str, Any]] | None:
    """The job that an answer names and what its row has to say; None when nothing is asked of a row."""
    asked = {name: value for name, value in vector.told.items() if name in _JOB_FIELDS}
    if not asked:
        return None
    *_, answer = read_answers(raw, bodiless=False)
    return str(answer.document["job_id"]), asked
