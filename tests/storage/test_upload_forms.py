"""Uploads by forms: on the data plane, and straight into a bucket."""

import asyncio
import hashlib
import json
import tracemalloc
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from botocore.auth import S3SigV4PostAuth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]

from services.media.sandbox import Sandbox
from services.mesh.errors import InvalidField
from services.storage.blobs.blobs import Form, FormTerms
from services.storage.blobs.directory import DirectoryBlobs
from services.storage.blobs.post_policy import Credentials, PostTarget, post_form
from services.storage.blobs.s3 import S3Blobs
from services.storage.domain import MediaNotFound, State, UploadIncomplete
from services.storage.forms import sign_form
from services.storage.store.tables import Media
from services.storage.usecases import deletion, posting, reading, uploads
from tests.storage.conftest import MEBIBYTE, SAMPLE, STRANGER, WORKSPACE, Bucket, Storehouse, open_storehouse

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOUND = SAMPLE.read_bytes()
SIZE = len(SOUND)
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


async def form_of(house: Storehouse, media: Media, content_type: str = "audio/flac", least: int = SIZE, most: int = SIZE) -> Form:
    """A form for announced media."""
    return await posting.sign_upload_form(house.depot, WORKSPACE, media.id, content_type, least, most)


async def begun(house: Storehouse) -> tuple[Media, Form]:
    """Announced media and a form for exactly the sample."""
    media, _ = await house.begin()
    return media, await form_of(house, media)


async def post(house: Storehouse, url: str, fields: dict[str, str], content: bytes = SOUND) -> tuple[int, str]:
    """Status and code of the answer to a form."""
    answer = await house.http.post(url, data=fields, files={"file": ("x", content)})
    return answer.status_code, answer.json()["code"] if answer.content else ""


async def post_raw(house: Storehouse, url: str, body: bytes, content_type: str = "multipart/form-data; boundary=b") -> tuple[int, str]:
    """As `post`, of a body made by hand."""
    answer = await house.http.post(url, content=body, headers={"content-type": content_type})
    return answer.status_code, answer.json()["code"] if answer.content else ""


def part(name: str, value: bytes) -> bytes:
    """One part of a form with the boundary `b`."""
    return b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + value + b"\r\n"


def parts(fields: dict[str, str]) -> bytes:
    """The fields of a form."""
    return b"".join(part(name, value.encode()) for name, value in fields.items())


async def test_a_form_brings_the_bytes_of_its_media(disk_storehouse: Storehouse) -> None:
    media, form = await begun(disk_storehouse)
    assert await post(disk_storehouse, form.url, dict(form.fields)) == (204, "")
    ready = await uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
    assert (ready.state, ready.sha256) == (State.READY, hashlib.sha256(SOUND).hexdigest())
    assert await post(disk_storehouse, form.url, dict(form.fields)) == (404, "MEDIA_NOT_FOUND")
    with pytest.raises(MediaNotFound):
        await form_of(disk_storehouse, media)
    assert len(await disk_storehouse.blob_keys()) == 1


async def test_the_fields_are_shaped_as_a_buckets(disk_storehouse: Storehouse) -> None:
    media, form = await begun(disk_storehouse)
    policy = json.loads(b64decode(form.fields["policy"]))
    assert form.fields["key"] == f"media/{media.id}"
    assert ["content-length-range", SIZE, SIZE] in policy["conditions"]
    assert {"Content-Type": "audio/flac"} in policy["conditions"]
    expiration = datetime.fromisoformat(policy["expiration"])
    assert timedelta(minutes=59) < expiration - datetime.now(UTC) <= timedelta(hours=1)
    assert abs(expiration - form.expire_time) < timedelta(seconds=1)


def forged(fields: dict[str, str], most: int) -> str:
    """The policy with another limit."""
    policy = json.loads(b64decode(fields["policy"]))
    policy["conditions"][-1] = ["content-length-range", 0, most]
    return b64encode(json.dumps(policy).encode()).decode()


async def test_a_form_that_was_not_signed_like_this_is_refused(disk_storehouse: Storehouse) -> None:
    media, form = await begun(disk_storehouse)
    other, _ = await begun(disk_storehouse)
    fields = dict(form.fields)
    changes: list[dict[str, str | None]] = [
        {"key": f"media/{other.id}"},
        {"key": "media/${filename}"},
        {"Content-Type": "text/html"},
        {"Content-Type": None},
        {"policy": forged(fields, 10 * SIZE)},
        {"policy": ""},
        {"policy": None},
        {"x-steno-signature": "0" * 64},
        {"x-steno-signature": None},
        {"x-steno-date": "20200101T000000Z"},
        {"x-steno-credential": None},
        {"success_action_redirect": "https://example.org/"},
        {"acl": "public-read"},
    ]
    for change in changes:
        sent = {name: value for name, value in {**fields, **change}.items() if value is not None}
        assert await post(disk_storehouse, form.url, sent) == (403, "INVALID_SIGNATURE"), change
    assert await disk_storehouse.blob_keys() == set()
    assert await post(disk_storehouse, form.url, fields) == (204, "")
    assert (await reading.get_media(disk_storehouse.depot, WORKSPACE, media.id)).size_bytes == SIZE


async def test_an_expired_form_is_refused(disk_storehouse: Storehouse) -> None:
    media, _ = await disk_storehouse.begin()
    for seconds, answer in ((-1, (403, "INVALID_SIGNATURE")), (60, (204, ""))):
        now = datetime.now(UTC)
        terms = FormTerms("x", "audio/flac", 0, SIZE, now + timedelta(seconds=seconds))
        form = sign_form(disk_storehouse.depot.signer, media.id, terms, now)
        assert await post(disk_storehouse, form.url, dict(form.fields)) == answer


@pytest.mark.parametrize(
    ("size", "answer"),
    [(0, (400, "INVALID_FIELD")), (9, (400, "INVALID_FIELD")), (10, (204, "")), (20, (204, "")), (21, (413, "MEDIA_TOO_LARGE"))],
)
async def test_a_file_has_as_many_bytes_as_the_form_allows(disk_storehouse: Storehouse, size: int, answer: tuple[int, str]) -> None:
    media, _ = await disk_storehouse.begin()
    form = await form_of(disk_storehouse, media, least=10, most=20)
    assert await post(disk_storehouse, form.url, dict(form.fields), bytes(size)) == answer
    assert len(await disk_storehouse.blob_keys()) == (answer[0] == 204)


async def test_an_open_type_takes_any(disk_storehouse: Storehouse) -> None:
    media, _ = await disk_storehouse.begin()
    form = await form_of(disk_storehouse, media, content_type="")
    assert await post(disk_storehouse, form.url, {**form.fields, "Content-Type": "application/x-anything"}) == (204, "")


async def test_forms_that_are_none_or_have_no_end_are_refused(disk_storehouse: Storehouse) -> None:
    media, form = await begun(disk_storehouse)
    fields, file, end = parts(dict(form.fields)), part("file", SOUND), b"--b--\r\n"
    bad = {
        "no file": fields + end,
        "file before the fields": file + fields + end,
        "a field after the file": fields + file + part("late", b"1") + end,
        "two files": fields + file + file + end,
        "a field twice": fields + part("key", b"media/x") + file + end,
        "too many fields": b"".join(part(f"x-{number}", b"1") for number in range(30)) + fields + file + end,
        "a large field": part("x-large", bytes(9000)) + fields + file + end,
        "many large fields": b"".join(part(f"x-{number}", bytes(8000)) for number in range(15)) + fields + file + end,
        "a part without a name": fields + b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + file + end,
        "a field that is no text": part("x-bytes", b"\xff\xfe") + fields + file + end,
        "not a form": b"hello",
        "nothing": b"",
    }
    for what, body in bad.items():
        status, code = await post_raw(disk_storehouse, form.url, body)
        assert status in (400, 403, 408), what
        assert code in ("INVALID_FIELD", "INVALID_SIGNATURE", "UPLOAD_INCOMPLETE"), what
    assert (await post_raw(disk_storehouse, form.url, fields + file))[0] == 408
    assert await post_raw(disk_storehouse, form.url, fields + file + end, "application/json") == (400, "INVALID_FIELD")
    assert await post_raw(disk_storehouse, form.url, fields + file + end, "multipart/form-data") == (400, "INVALID_FIELD")
    assert await disk_storehouse.blob_keys() == set()
    assert await post_raw(disk_storehouse, form.url, fields + file + end) == (204, "")
    assert (await reading.get_media(disk_storehouse.depot, WORKSPACE, media.id)).sha256 == hashlib.sha256(SOUND).hexdigest()


async def test_a_form_may_come_in_any_pieces(disk_storehouse: Storehouse) -> None:
    media, form = await begun(disk_storehouse)
    body = parts(dict(form.fields)) + part("file", SOUND) + b"--b--\r\n"

    async def dripping() -> AsyncIterator[bytes]:
        for start in range(2000):
            yield body[start : start + 1]
        yield body[2000:]

    answer = await disk_storehouse.http.post(form.url, content=dripping(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 204
    assert (await reading.get_media(disk_storehouse.depot, WORKSPACE, media.id)).sha256 == hashlib.sha256(SOUND).hexdigest()


async def test_a_large_file_is_not_held_in_memory(disk_storehouse: Storehouse) -> None:
    media, _ = await disk_storehouse.begin()
    size = 96 * MEBIBYTE
    form = await form_of(disk_storehouse, media, least=size, most=size)
    piece = bytes(256 * 1024)

    async def body() -> AsyncIterator[bytes]:
        yield parts(dict(form.fields)) + b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(size // len(piece)):
            yield piece
        yield b"\r\n--b--\r\n"

    tracemalloc.start()
    try:
        answer = await disk_storehouse.http.post(form.url, content=body(), headers={"content-type": "multipart/form-data; boundary=b"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 204, answer.text
    assert peak < 16 * MEBIBYTE
    assert (await reading.get_media(disk_storehouse.depot, WORKSPACE, media.id)).size_bytes == size


async def test_no_form_for_strangers_the_deleted_and_impossible_sizes(disk_storehouse: Storehouse) -> None:
    media, form = await begun(disk_storehouse)
    with pytest.raises(MediaNotFound):
        await posting.sign_upload_form(disk_storehouse.depot, STRANGER, media.id, "", 0, 0)
    for least, most in ((-1, 0), (5, 4), (0, -1)):
        with pytest.raises(InvalidField):
            await form_of(disk_storehouse, media, least=least, most=most)
    with pytest.raises(InvalidField):
        await form_of(disk_storehouse, media, content_type="nonsense")
    await deletion.delete_media(disk_storehouse.depot, WORKSPACE, media.id)
    assert await post(disk_storehouse, form.url, dict(form.fields)) == (404, "MEDIA_NOT_FOUND")


@pytest.mark.parametrize("token", ["", "a-session-token"])
async def test_a_buckets_form_is_signed_as_amazons_own_library_signs_it(token: str) -> None:
    terms = FormTerms("söng.flac", "audio/flac", 10, 20, NOW + timedelta(hours=1))
    target, credentials = PostTarget("bucket", "eu-west-1", ""), Credentials("AKID", "a secret", token)
    form = post_form(target, credentials, "objects/abc", terms, NOW)
    policy = json.loads(b64decode(form.fields["policy"]))
    assert form.url == "https://bucket.s3.eu-west-1.amazonaws.com/"
    assert policy["expiration"] == "2026-03-04T06:06:07Z"
    assert {"bucket": "bucket"} in policy["conditions"]
    assert ["content-length-range", 10, 20] in policy["conditions"]
    held = {name: value for condition in policy["conditions"] if isinstance(condition, dict) for name, value in condition.items()}
    assert {name for name in form.fields if name not in ("policy", "x-amz-signature")} == set(held) - {"bucket"}
    assert form.fields["x-amz-signature"] == botocore_signature(credentials, form)


def botocore_signature(credentials: Credentials, form: Form) -> str:
    """What botocore makes of the same policy."""
    session = botocore.session.Session()
    session.set_credentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token or None)
    auth: Any = S3SigV4PostAuth(session.get_credentials(), "s3", "eu-west-1")
    request: Any = AWSRequest(method="POST", url=form.url)
    request.context["timestamp"] = form.fields["x-amz-date"]
    return str(auth.signature(form.fields["policy"], request))


@pytest_asyncio.fixture(loop_scope="session")
async def bucket_storehouse(sqlite_url: str, bucket: Bucket, tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Storehouse]:
    """One whose clients reach the bucket themselves."""
    location = bucket.location()
    blobs = S3Blobs(location, tmp_path, presigned=True, credentials=Credentials(location.access_key_id, location.secret_access_key))
    async with open_storehouse(sqlite_url, blobs, sandbox) as opened:
        yield opened


async def send(house: Storehouse, form: Form, content: bytes = SOUND) -> None:
    """Post to the bucket."""
    answer = await house.http.post(form.url, data=dict(form.fields), files={"file": ("x", content)})
    assert answer.status_code == 204, answer.text


async def test_what_was_posted_to_the_bucket_is_taken_in_whole(bucket_storehouse: Storehouse, bucket: Bucket) -> None:
    house = bucket_storehouse
    media, form = await begun(house)
    assert form.url == f"{bucket.endpoint}/{bucket.name}"
    with pytest.raises(UploadIncomplete):
        await uploads.commit_upload(house.depot, WORKSPACE, media.id, 0)
    await send(house, form)
    ready = await uploads.commit_upload(house.depot, WORKSPACE, media.id, 0)
    assert (ready.size_bytes, ready.sha256) == (SIZE, hashlib.sha256(SOUND).hexdigest())
    assert await house.blob_keys() == {ready.object_key}
    address = await reading.sign_media_url(house.depot, WORKSPACE, media.id, None)
    download = await house.http.get(address.url)
    assert download.content == SOUND
    assert download.headers["content-disposition"].startswith("attachment")


async def test_a_second_post_after_the_commit_changes_nothing(bucket_storehouse: Storehouse) -> None:
    house = bucket_storehouse
    media, form = await begun(house)
    await send(house, form, b"the first of two, replaced before the commit")
    await send(house, form)
    ready = await uploads.commit_upload(house.depot, WORKSPACE, media.id, 0)
    await send(house, form, b"x" * SIZE)
    address = await reading.sign_media_url(house.depot, WORKSPACE, media.id, None)
    assert hashlib.sha256((await house.http.get(address.url)).content).hexdigest() == ready.sha256
    await deletion.delete_media(house.depot, WORKSPACE, media.id)
    await deletion.reap(house.depot)
    assert await house.blob_keys() == set()


async def test_forms_signed_twice_lead_to_one_place(bucket_storehouse: Storehouse) -> None:
    house = bucket_storehouse
    media, first = await begun(house)
    second = await form_of(house, media)
    assert first.fields["key"] == second.fields["key"]
    await send(house, first)
    ends = await asyncio.gather(*(uploads.commit_upload(house.depot, WORKSPACE, media.id, 0) for _ in range(3)), return_exceptions=True)
    assert any(isinstance(end, Media) for end in ends)
    ready = await uploads.commit_upload(house.depot, WORKSPACE, media.id, 0)
    assert await house.blob_keys() == {ready.object_key}


@pytest.mark.parametrize(("presigned", "named"), [(False, True), (True, False)])
async def test_where_clients_do_not_reach_the_bucket_the_data_plane_takes_its_forms(
    sqlite_url: str, bucket: Bucket, tmp_path: Path, sandbox: Sandbox, presigned: bool, named: bool
) -> None:
    credentials = Credentials("key", "secret") if named else None
    async with open_storehouse(sqlite_url, S3Blobs(bucket.location(), tmp_path, presigned, credentials), sandbox) as house:
        media, form = await begun(house)
        assert form.url == house.depot.signer.base_url + "/forms"
        assert await post(house, form.url, dict(form.fields)) == (204, "")
        ready = await uploads.commit_upload(house.depot, WORKSPACE, media.id, 0)
        assert await house.blob_keys() == {ready.object_key}


async def test_a_copy_outlives_what_it_was_copied_from(disk: DirectoryBlobs, tmp_path: Path) -> None:
    writer = disk.open_writer("a" * 32, "attachment", 0)
    writer.write(SOUND)
    writer.publish()
    for _ in range(2):
        await disk.copy("a" * 32, "b" * 32)
    await disk.delete("a" * 32)
    assert await disk.size("b" * 32) == SIZE
    assert [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == ["b" * 32]


async def test_the_plane_takes_forms_at_their_place_only(disk_storehouse: Storehouse) -> None:
    _, form = await begun(disk_storehouse)
    statuses = [(await disk_storehouse.http.request(method, form.url)).status_code for method in ("GET", "PUT", "DELETE")]
    assert statuses == [404, 404, 404]
