"""The way of a file from the client through the gateway to storage."""

import asyncio
import os
from pathlib import Path

import httpx2
import psutil
import pytest

from faults.corpora.http.forms import CONTENT_TYPES, FILE, FILENAMES, bad_forms, cuts
from services.gateway.multipart import PLAIN_FORM
from services.mesh.errors import Internal, ServiceUnavailable
from tests.gateway.conftest import Running, build_form, open_gateway
from tests.gateway.native import AUDIO, assert_error, submit
from tests.gateway.peers.billing import PLAN
from tests.gateway.peers.jobs import MediaTaken
from tests.gateway.test_protocol import UPLOAD, read_answer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
SOUND = build_form((FILE, AUDIO))
CUTS, BAD_FORMS = cuts(SOUND), bad_forms(AUDIO)


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
async def test_truncated_form_is_no_file_and_leaves_nothing(gateway: Running, client: httpx2.AsyncClient, cut: int) -> None:
    assert_error(await client.post("/api/v1/transcribe", content=SOUND[:cut], headers=MULTIPART), 400, "NO_FILE")
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


@pytest.mark.parametrize(("body", "code"), BAD_FORMS.values(), ids=BAD_FORMS.keys())
async def test_bad_form_is_400_and_leaves_nothing(gateway: Running, client: httpx2.AsyncClient, body: bytes, code: str) -> None:
    assert_error(await client.post("/api/v1/transcribe", content=body, headers=MULTIPART), 400, code)
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


@pytest.mark.parametrize("content_type", CONTENT_TYPES.values(), ids=CONTENT_TYPES.keys())
async def test_bad_content_type_is_400(client: httpx2.AsyncClient, content_type: str) -> None:
    assert_error(await client.post("/api/v1/transcribe", content=SOUND, headers={"content-type": content_type}), 400, "BAD_REQUEST")


@pytest.mark.parametrize("filename", FILENAMES)
async def test_any_filename_is_accepted(client: httpx2.AsyncClient, filename: str) -> None:
    escaped = filename.replace("\\", "\\\\").encode()
    body = SOUND.replace(b"talk.wav", escaped)
    assert (await client.post("/api/v1/transcribe", content=body, headers=MULTIPART)).status_code == 202


async def test_extended_filename_alone_is_understood(gateway: Running, client: httpx2.AsyncClient) -> None:
    body = SOUND.replace(b'filename="talk.wav"', b"filename*=UTF-8''%e2%82%ac.wav")
    job_id = (await client.post("/api/v1/transcribe", content=body, headers=MULTIPART)).json()["job_id"]
    assert gateway.world.jobs[job_id].filename == "€.wav"


async def test_charset_of_form_and_part_is_ignored(gateway: Running, client: httpx2.AsyncClient) -> None:
    body = build_form(('name="language"\r\nContent-Type: text/plain; charset=utf-16', b"en"), (FILE, AUDIO))
    headers = {"content-type": "multipart/form-data; charset=utf-16; boundary=b"}
    job_id = (await client.post("/api/v1/transcribe", content=body, headers=headers)).json()["job_id"]
    assert gateway.world.jobs[job_id].config.language == "en"


async def test_first_bytes_reach_storage_before_the_last_are_sent(gateway: Running) -> None:
    secret = gateway.world.new_key()
    _, writer = await gateway.connect()
    writer.write(UPLOAD % secret.encode() + b"Content-Length: %d\r\n\r\n" % len(SOUND) + SOUND[:4000])
    await wait_until(lambda: sum(len(gateway.world.blobs.get(media.id, b"")) for media in gateway.world.media_of(secret)) > 1000)
    writer.close()
    await wait_until(lambda: gateway.world.media_of(secret) == [])


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
async def test_client_that_goes_away_leaves_nothing(gateway: Running, share: float) -> None:
    secret = gateway.world.new_key()
    _, writer = await gateway.connect()
    writer.write(UPLOAD % secret.encode() + b"Content-Length: %d\r\n\r\n" % len(SOUND) + SOUND[: int(len(SOUND) * share)])
    await wait_until(lambda: gateway.world.media_of(secret) != [] or share < 0.5)
    writer.transport.abort()
    await wait_until(lambda: gateway.world.media_of(secret) == [])
    assert gateway.world.jobs_of(secret) == []


async def test_chunked_upload_without_length_is_accepted(gateway: Running) -> None:
    secret = gateway.world.new_key()
    head = UPLOAD % secret.encode() + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(SOUND[at : at + 100]), SOUND[at : at + 100]) for at in range(0, len(SOUND), 100))
    raw = await gateway.exchange(head + chunks + b"0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 202 ")
    assert bytes(gateway.world.blobs[gateway.world.media_of(secret)[0].id]) == AUDIO


async def test_largest_file_is_accepted_and_one_byte_more_is_not(gateway: Running, client: httpx2.AsyncClient) -> None:
    largest = PLAN.max_upload_bytes
    assert (await submit(client, b"x" * largest)).status_code == 202
    assert assert_error(await submit(client, b"x" * (largest + 1)), 413, "FILE_TOO_LARGE")["max_bytes"] == largest
    assert len(gateway.world.media_of(client.headers["x-api-key"])) == 1


async def test_announced_length_past_the_limit_is_413_before_the_body(gateway: Running) -> None:
    length = PLAN.max_upload_bytes + PLAIN_FORM.max_overhead_bytes + 1
    raw = await gateway.exchange(UPLOAD % gateway.world.new_key().encode() + b"Content-Length: %d\r\n\r\n" % length)
    status, _, body = read_answer(raw)
    assert (status, body["code"]) == (413, "FILE_TOO_LARGE")


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (507, 503, "OVERLOADED"),
        (503, 503, "OVERLOADED"),
        (413, 413, "FILE_TOO_LARGE"),
        (500, 502, "BACKEND_ERROR"),
        (403, 502, "BACKEND_ERROR"),
    ],
)
async def test_refusal_of_storage_is_told_in_the_contracts_words(
    gateway: Running, client: httpx2.AsyncClient, status: int, expected: int, code: str
) -> None:
    gateway.world.put_status = status
    try:
        response = await submit(client, AUDIO * 100)
    finally:
        gateway.world.put_status = 200
    assert_error(response, expected, code)
    assert ("retry-after" in response.headers) == (expected >= 500)
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


async def test_lost_answer_of_jobs_is_asked_again_and_makes_one_job(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.create_failures.append(ServiceUnavailable())
    assert (await submit(client)).status_code == 202
    assert len(gateway.world.jobs_of(client.headers["x-api-key"])) == 1


async def test_media_of_a_job_that_may_exist_is_kept(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.create_failures += [Internal(), Internal(), Internal()]
    assert_error(await submit(client), 502, "BACKEND_ERROR")
    assert len(gateway.world.media_of(client.headers["x-api-key"])) == 1


async def test_media_that_another_job_took_is_kept(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.create_failures.append(MediaTaken())
    assert_error(await submit(client), 409, "MEDIA_TAKEN")
    assert len(gateway.world.media_of(client.headers["x-api-key"])) == 1


async def test_upload_waits_for_a_slow_storage_in_flat_memory(gateway: Running) -> None:
    secret = gateway.world.new_key()
    gateway.world.put_gate.clear()
    _, writer = await gateway.connect()
    body = build_form((FILE, b"x" * 30_000_000))
    process = psutil.Process(os.getpid())
    writer.write(UPLOAD % secret.encode() + b"Content-Length: %d\r\n\r\n" % len(body))
    before = process.memory_info().rss
    sending = asyncio.create_task(send(writer, body))
    await wait_until(lambda: any(media.id in gateway.world.blobs for media in gateway.world.media_of(secret)))
    done, _ = await asyncio.wait({sending}, timeout=0.5)
    grown = process.memory_info().rss - before
    gateway.world.put_gate.set()
    await sending
    await wait_until(lambda: gateway.world.jobs_of(secret) != [])
    writer.close()
    assert not done
    assert grown < 8 * 1024**2


async def send(writer: asyncio.StreamWriter, body: bytes) -> None:
    for at in range(0, len(body), 65_536):
        writer.write(body[at : at + 65_536])
        await writer.drain()


async def test_too_many_uploads_are_told_to_come_back(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, max_uploads=1) as gateway:
        secret = gateway.world.new_key()
        _, writer = await gateway.connect()
        writer.write(UPLOAD % secret.encode() + b"Content-Length: %d\r\n\r\n" % len(SOUND) + SOUND[:4000])
        await wait_until(lambda: gateway.world.media_of(secret) != [])
        async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": secret}, verify=False) as client:
            overloaded = await submit(client)
            assert_error(overloaded, 503, "OVERLOADED")
            assert int(overloaded.headers["retry-after"]) >= 1
        writer.close()
