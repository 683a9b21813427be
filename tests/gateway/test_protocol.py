"""Malformed, hostile and slow HTTP on raw sockets."""

import asyncio
import json
import time
from pathlib import Path

import psutil
import pytest

from faults.corpora.http import refused_upload
from faults.corpora.http.bodies import MALFORMED_CHUNKS
from faults.corpora.http.heads import GET, MALFORMED
from services.mesh.edge.limits import MAX_PIPELINED
from tests.gateway.conftest import Running, open_gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


def read_answer(raw: bytes) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, headers and JSON body of exactly one answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    assert len(body) == int(headers["content-length"])
    return int(lines[0].split(" ")[1]), headers, json.loads(body)


UPLOAD = b"POST /api/v1/transcribe HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\nContent-Type: multipart/form-data; boundary=b\r\n"


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_head_is_refused_and_closed(gateway: Running, request_bytes: bytes) -> None:
    status, headers, body = read_answer(await gateway.exchange(request_bytes))
    assert (status, body["code"]) == (400, "BAD_REQUEST")
    assert (headers["connection"], headers["access-control-allow-origin"]) == ("close", "*")
    assert headers["x-request-id"]
    assert body["error"]
    assert body["detail"] == body["error"]


@pytest.mark.parametrize("body", MALFORMED_CHUNKS.values(), ids=MALFORMED_CHUNKS.keys())
async def test_malformed_chunks_are_refused_and_leave_nothing(gateway: Running, body: bytes) -> None:
    secret = gateway.world.new_key()
    head = UPLOAD % secret.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    status, _, answer = read_answer(await gateway.exchange(head + body))
    assert (status, answer["code"]) == (400, "BAD_REQUEST")
    assert gateway.world.media_of(secret) == []


async def test_smuggled_second_request_is_not_answered(gateway: Running) -> None:
    inner = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    raw = await gateway.exchange(GET + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner)
    assert raw.count(b"HTTP/1.1 ") == 1


async def test_silent_and_dripping_heads_are_closed_in_time(gateway: Running) -> None:
    started = time.monotonic()
    assert await gateway.exchange(b"") == b""
    status, _, body = read_answer(await gateway.exchange(b"GET / HT"))
    assert (status, body["code"]) == (408, "REQUEST_TIMEOUT")
    assert time.monotonic() - started < 10


async def test_dripping_body_is_closed_in_time_and_leaves_nothing(gateway: Running) -> None:
    secret = gateway.world.new_key()
    reader, writer = await gateway.connect()
    writer.write(UPLOAD % secret.encode() + b"Content-Length: 100000\r\n\r\n")
    writer.write(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc')
    started = time.monotonic()
    async with asyncio.timeout(60):
        status, _, body = read_answer(await reader.read())
    assert (status, body["code"]) == (408, "REQUEST_TIMEOUT")
    assert time.monotonic() - started < 10
    await wait_until(lambda: not gateway.world.media_of(secret))
    writer.close()


async def wait_until(true: object, seconds: float = 5) -> None:
    """Poll a condition until it holds."""
    assert callable(true)
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def test_401_comes_before_any_body_byte_is_read(gateway: Running) -> None:
    reader, writer = await gateway.connect()
    writer.write(UPLOAD % b"sk_live_wrong" + b"Content-Length: 100000\r\n\r\n")
    async with asyncio.timeout(60):
        status, headers, body = read_answer(await reader.read())
    assert (status, body["code"], headers["connection"]) == (401, "INVALID_API_KEY", "close")
    writer.close()


async def test_connection_too_many_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, max_connections=1) as gateway:
        _, writer = await gateway.connect()
        status, headers, body = read_answer(await gateway.exchange(GET + b"\r\n"))
        writer.close()
    assert (status, body["code"]) == (503, "OVERLOADED")
    assert int(headers["retry-after"]) > 0


async def test_expect_continue_is_answered_only_to_a_known_key(gateway: Running) -> None:
    expecting = b"Expect: 100-continue\r\nContent-Length: 30\r\n\r\n"
    refused = await gateway.exchange(UPLOAD % b"wrong" + expecting)
    assert refused.startswith(b"HTTP/1.1 401 ")
    reader, writer = await gateway.connect()
    writer.write(UPLOAD % gateway.world.new_key().encode() + expecting)
    async with asyncio.timeout(60):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.close()


async def test_refused_sender_can_read_the_answer_while_it_still_sends(gateway: Running) -> None:
    """A plain close would reset the connection and take the answer with it."""
    reader, writer = await gateway.connect()
    writer.write(UPLOAD % b"wrong" + b"Content-Length: 4000000\r\n\r\n")
    for _ in range(30):
        writer.write(b"x" * 100_000)
        await writer.drain()
    async with asyncio.timeout(60):
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_stranger_who_sends_on_is_not_read(gateway: Running) -> None:
    refused = await asyncio.to_thread(refused_upload.upload, gateway.settings.port)
    assert refused.status == 401
    assert refused.read_bytes < 1_000_000


@pytest.mark.parametrize(
    "head", [b"GET /", GET + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1;"], ids=["target", "chunk extension"]
)
async def test_refused_sender_who_sends_on_keeps_no_descriptor(gateway: Running, head: bytes) -> None:
    reader, writer = await gateway.connect()
    port = writer.get_extra_info("sockname")[1]
    writer.write(head + b"a" * 16 * 1024**2)
    async with asyncio.timeout(20):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        while port in _peers():
            await asyncio.sleep(0.1)
    writer.transport.abort()


def _peers() -> set[int]:
    """The ports of the clients whose connections this process, which is the gateway's, still has."""
    connections = psutil.Process().net_connections("tcp")
    return {connection.raddr.port for connection in connections if connection.raddr}


async def test_answer_to_one_request_does_not_end_the_next_whose_body_still_comes(gateway: Running) -> None:
    key = gateway.world.new_key().encode()
    body = b'{"name": "n"}'
    known = b"HTTP/1.1\r\nHost: a\r\nX-API-Key: " + key
    post = b"POST /api/v1/auth/api-keys %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    reader, writer = await gateway.connect()
    writer.write(b"GET /api/v1/me %s\r\n\r\n" % known + post % (known, len(body)) + body[:4])
    async with asyncio.timeout(60):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(body[4:])
        assert b"HTTP/1.1 201 " in await reader.read()
    writer.close()


async def test_flood_of_pipelined_requests_is_cut_off(gateway: Running) -> None:
    request = GET + b"X-API-Key: " + gateway.world.new_key().encode() + b"\r\n\r\n"
    raw = await gateway.exchange(request * 1000)
    assert raw.count(b"HTTP/1.1 ") <= MAX_PIPELINED
    assert b" 400 Bad Request" in raw


async def test_order_of_checks(gateway: Running) -> None:
    """Each request breaks one rule less than the one before, and is refused for the first that is left."""
    key = gateway.world.new_key().encode()
    too_long = b"Content-Length: 99999999999\r\n"
    bad_idempotency = b"Idempotency-Key: a b\r\n"
    other_type = b"Content-Type: text/plain\r\n"
    post = b"POST /api/v1/transcribe HTTP/1.1\r\nHost: a\r\n"
    cases = [
        (b"POST /nothing HTTP/1.1\r\nHost: a\r\n" + too_long, 404, "NOT_FOUND"),
        (b"PUT /api/v1/transcribe HTTP/1.1\r\nHost: a\r\n" + too_long, 405, "METHOD_NOT_ALLOWED"),
        (post + too_long + bad_idempotency + other_type, 413, "FILE_TOO_LARGE"),
        (post + b"Content-Length: 5\r\n" + bad_idempotency + other_type, 401, "MISSING_API_KEY"),
        (post + b"X-API-Key: " + key + b"\r\nContent-Length: 5\r\n" + bad_idempotency + other_type, 400, "BAD_IDEMPOTENCY_KEY"),
        (post + b"X-API-Key: " + key + b"\r\nContent-Length: 5\r\n" + other_type, 400, "BAD_REQUEST"),
    ]
    for head, status, code in cases:
        answer_status, headers, body = read_answer(await gateway.exchange(head + b"\r\n"))
        assert (answer_status, body["code"]) == (status, code), head
        assert headers["connection"] == "close"


async def test_blank_idempotency_key_is_refused(gateway: Running) -> None:
    head = UPLOAD % gateway.world.new_key().encode() + b"Idempotency-Key:  \r\nContent-Length: 5\r\n\r\n"
    assert read_answer(await gateway.exchange(head))[2]["code"] == "BAD_IDEMPOTENCY_KEY"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (b"", "MISSING_API_KEY"),
        (b"X-API-Key: \r\n", "MISSING_API_KEY"),
        (b"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n", "INVALID_TOKEN"),
        (b"X-API-Key: sk_live_nobody\r\n", "INVALID_API_KEY"),
        (b"X-API-Key: a\r\nX-API-Key: b\r\n", "INVALID_API_KEY"),
        (b"X-API-Key: " + b"a" * 10_000 + b"\r\n", "INVALID_API_KEY"),
        (b"X-API-Key: \xc3\xa9\r\n", "INVALID_API_KEY"),
        (b"Authorization: Bearer sk_live_nobody\r\n", "INVALID_API_KEY"),
    ],
)
async def test_bad_keys(gateway: Running, headers: bytes, code: str) -> None:
    for target in (b"/api/v1/me", b"/api/v1/me?api_key=sk_live_x"):
        raw = await gateway.exchange(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + headers + b"\r\n")
        status, _, body = read_answer(raw)
        assert (status, body["code"]) == (401, code)


async def test_bearer_key_is_accepted(gateway: Running) -> None:
    raw = await gateway.exchange(GET + b"Connection: close\r\nAuthorization: bearer " + gateway.world.new_key().encode() + b"\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 ")


async def test_pipelined_requests_are_answered_in_order(gateway: Running) -> None:
    request = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
    raw = await gateway.exchange(request % (b"/healthz", b"") + request % (b"/nothing", b"Connection: close\r\n"))
    assert raw.index(b" 200 OK") < raw.index(b" 404 Not Found")


async def test_body_in_one_piece_with_its_head_does_not_count_against_the_next_head(gateway: Running) -> None:
    key = gateway.world.new_key().encode()
    body = b'{"name": "n"}' + b" " * 32_000
    first = (
        b"POST /api/v1/auth/api-keys HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    )
    reader, writer = await gateway.connect()
    writer.write(first % (key, len(body), body))
    assert (await reader.readline()).startswith(b"HTTP/1.1 2")
    writer.write(GET + b"Connection: close\r\nX-API-Key: %s\r\nX-Filler: %s\r\n\r\n" % (key, b"a" * 1000))
    assert b"HTTP/1.1 200 " in await asyncio.wait_for(reader.read(), 5)
    writer.close()
