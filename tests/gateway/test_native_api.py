"""The native contract over HTTP."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from steno.jobs.v1.job_pb2 import Job, JobError
from steno.jobs.v1.transcript_pb2 import Segment, Transcript, Word
from tests.gateway.conftest import Running

pytestmark = pytest.mark.asyncio(loop_scope="session")
AUDIO = b"RIFF" + bytes(range(256)) * 40
TRANSCRIPT = Transcript(
    text="Good morning. Hello.",
    language="en",
    speech_detected=True,
    speech_ratio=0.5,
    engine="local",
    model="m",
    speakers=["SPEAKER_00", "SPEAKER_01"],
    segments=[
        Segment(
            id=0,
            start_offset_ms=0,
            end_offset_ms=1200,
            speaker="SPEAKER_00",
            text="Good morning.",
            words=[Word(start_offset_ms=0, end_offset_ms=500, text="Good"), Word(start_offset_ms=500, end_offset_ms=1200, text="morning.")],
        ),
        Segment(id=1, start_offset_ms=1500, end_offset_ms=2000, speaker="SPEAKER_01", text="Hello."),
    ],
)


async def submit(client: httpx2.AsyncClient, content: bytes = AUDIO, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return await client.post("/api/v1/transcribe", files={"file": ("talk.wav", content)}, data=fields, headers=headers or {})


def assert_error(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert isinstance(body["error"], str)
    assert body["error"]
    assert body["detail"]
    assert response.headers["x-request-id"]
    return body


async def test_submit_stores_the_bytes_and_answers_202(gateway: Running, client: httpx2.AsyncClient) -> None:
    response = await submit(client, language="en", diarize="false", source="api", num_speakers="3", prompt="Steno", price="0", job_id="x")
    assert response.status_code == 202
    job = gateway.world.jobs[response.json()["job_id"]]
    assert response.json() == {"job_id": job.id, "status": "queued", "tier": 2}
    assert bytes(gateway.world.blobs[job.media_id]) == AUDIO
    config = job.config
    assert (config.language, config.diarize, config.word_timestamps, config.speaker_count, config.prompt) == ("en", False, True, 3, "Steno")
    assert job.source == Job.SOURCE_API
    assert job.filename == "talk.wav"


async def test_second_mount_is_the_same_contract(client: httpx2.AsyncClient) -> None:
    submitted = await client.post("/whipscribe/api/v1/transcribe", files={"file": ("a.wav", AUDIO)})
    assert (await client.get(f"/api/v1/jobs/{submitted.json()['job_id']}")).status_code == 200


async def test_status_row_has_every_field_of_the_contract(client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client, language="en")).json()["job_id"]
    row = (await client.get(f"/api/v1/jobs/{job_id.upper()}")).json()
    assert row["job_id"] == job_id
    assert row["status"] == "queued"
    assert row["audio_duration_seconds"] == 1
    assert row["source"] == "upload"
    assert row["language"] == "en"
    assert {row[name] for name in ("speech_detected", "speech_ratio", "error", "started_at", "completed_at")} == {None}
    assert abs(row["created_at"] - datetime.now(UTC).timestamp()) < 60


async def test_jobs_are_a_bare_array_newest_first(client: httpx2.AsyncClient) -> None:
    ids = [(await submit(client)).json()["job_id"] for _ in range(3)]
    rows = (await client.get("/api/v1/jobs", params={"limit": 2})).json()
    assert [row["job_id"] for row in rows] == [ids[2], ids[1]]
    assert rows[0] == (await client.get(f"/api/v1/jobs/{ids[2]}")).json()


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1_0", "٣", "1.5", "abc", "", "9" * 5000])
async def test_bad_limit_is_400(client: httpx2.AsyncClient, limit: str) -> None:
    assert_error(await client.get("/api/v1/jobs", params={"limit": limit}), 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "job_id",
    [
        "1",
        "{35f4be54-aa3e-4adc-85b7-b44f284d1fc3}",
        "35f4be54aa3e4adc85b7b44f284d1fc3",
        "x" * 5000,
        "%00",
        "٣5f4be54-aa3e-4adc-85b7-b44f284d1fc3",
    ],
)
async def test_malformed_id_is_bad_id(client: httpx2.AsyncClient, job_id: str) -> None:
    assert_error(await client.get(f"/api/v1/jobs/{job_id}"), 400, "BAD_ID")


async def test_foreign_job_looks_unknown(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    other = {"x-api-key": gateway.world.new_key()}
    for path in ("", "/result", "/events", "/audio/url"):
        foreign = await client.get(f"/api/v1/jobs/{job_id}{path}", headers=other)
        unknown = await client.get(f"/api/v1/jobs/35f4be54-aa3e-4adc-85b7-b44f284d1fc3{path}")
        assert_error(foreign, 404, "NOT_FOUND")
        assert foreign.json() == unknown.json()
    assert_error(await client.delete(f"/api/v1/jobs/{job_id}", headers=other), 404, "NOT_FOUND")


async def test_delete_answers_204_then_404(client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    assert (await client.delete(f"/api/v1/jobs/{job_id}")).status_code == 204
    assert_error(await client.delete(f"/api/v1/jobs/{job_id}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("txt", "text/plain"),
        ("json", "application/json"),
        ("srt", "text/plain"),
        ("vtt", "text/plain"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ],
)
async def test_result_in_every_format(gateway: Running, client: httpx2.AsyncClient, form: str, kind: str) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, TRANSCRIPT)
    response = await client.get(f"/api/v1/jobs/{job_id}/result", params={"format": form})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)
    assert response.content == (await client.get(f"/api/v1/jobs/{job_id}/transcript", params={"format": form})).content or form == "docx"
    starts = {"txt": b"SPEAKER_00: Good morning.", "json": b'{"text":', "srt": b"1\n00:00:00,000", "vtt": b"WEBVTT", "docx": b"PK"}
    assert response.content.startswith(starts[form])


async def test_transcript_is_read_as_the_gateway_for_the_workspace(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, TRANSCRIPT)
    gateway.world.signed_by.clear()
    for _ in range(2):
        assert (await client.get(f"/api/v1/jobs/{job_id}/result")).json()["text"] == "Good morning. Hello."
    assert gateway.world.signed_by == [f"service:gateway:{gateway.world.workspace_of(client.headers['x-api-key'])}"]


@pytest.mark.parametrize("query", ["format=exe", "format=", "format=JSON", "format=txt&format=srt"])
async def test_unknown_format_is_bad_format(client: httpx2.AsyncClient, query: str) -> None:
    assert_error(await client.get(f"/api/v1/jobs/35f4be54-aa3e-4adc-85b7-b44f284d1fc3/result?{query}"), 400, "BAD_FORMAT")


async def test_result_before_the_end_and_after_a_failure(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    assert_error(await client.get(f"/api/v1/jobs/{job_id}/result"), 409, "NOT_READY")
    gateway.world.jobs[job_id].error.CopyFrom(JobError(reason="MEDIA_UNPROCESSABLE", message="Nothing decodes."))
    await gateway.world.update(job_id, state=Job.STATE_FAILED)
    assert assert_error(await client.get(f"/api/v1/jobs/{job_id}/result"), 409, "JOB_FAILED")["error"] == "Nothing decodes."
    row = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (row["status"], row["error"], row["error_code"]) == ("failed", "Nothing decodes.", "MEDIA_UNPROCESSABLE")
    await gateway.world.update(job_id, state=Job.STATE_CANCELLED)
    assert_error(await client.get(f"/api/v1/jobs/{job_id}/result"), 409, "JOB_CANCELLED")


async def test_me_of_a_workspace_key_and_of_an_app_key(gateway: Running, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/me")).json() == {"email": None, "tier": "paid", "retention_days": 365, "signed_in": True}
    app_key = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
    assert (await client.get("/api/v1/me", headers=app_key)).json() == {
        "email": None,
        "tier": "guest",
        "retention_days": 3,
        "signed_in": False,
    }
    submitted = await client.post("/api/v1/transcribe", files={"file": ("a.wav", AUDIO)}, headers=app_key)
    assert submitted.json()["tier"] == 0
    assert gateway.world.jobs[submitted.json()["job_id"]].owner.startswith("guest:")


async def test_no_credits_carries_snapshot_and_upgrade_url(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.poor.add(gateway.world.workspace_of(client.headers["x-api-key"]))
    body = assert_error(await submit(client), 402, "NO_CREDITS")
    assert body["credits"] == {"available_hours": 0.0, "required_hours": 1.0}
    assert (await client.get(body["upgrade_url"])).json()["available_hours"] == 1.0
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"", 400, "EMPTY_FILE"), (b"TEXT", 415, "BAD_MIME"), (b"BROKEN", 415, "BAD_MIME"), (b"LONG", 413, "DURATION_TOO_LONG")],
)
async def test_refused_media_leaves_nothing(gateway: Running, client: httpx2.AsyncClient, content: bytes, status: int, code: str) -> None:
    assert_error(await submit(client, content), status, code)
    assert gateway.world.media_of(client.headers["x-api-key"]) == []
    assert gateway.world.jobs_of(client.headers["x-api-key"]) == []


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("language", "EN", "BAD_LANGUAGE"),
        ("language", "en-US", "BAD_LANGUAGE"),
        ("language", "e\0", "BAD_LANGUAGE"),
        ("language", "x" * 10_000, "BAD_LANGUAGE"),
        ("language", "xx", "BAD_LANGUAGE"),
        ("source", "foo", "BAD_SOURCE"),
        ("source", "", "BAD_SOURCE"),
        ("diarize", "maybe", "BAD_FIELD"),
        ("diarize", "TRUE", "BAD_FIELD"),
        ("diarize", ["true", "true"], "BAD_FIELD"),
        ("word_timestamps", "", "BAD_FIELD"),
        ("speaker_count", "0", "BAD_FIELD"),
        ("speaker_count", "٣", "BAD_FIELD"),
        ("num_speakers", "21", "BAD_FIELD"),
        ("prompt", "x" * 4097, "BAD_FIELD"),
        ("prompt", "a\0b", "BAD_FIELD"),
    ],
)
async def test_bad_field_is_422_with_its_place(gateway: Running, client: httpx2.AsyncClient, field: str, value: Any, code: str) -> None:
    body = assert_error(await submit(client, **{field: value}), 422, code)
    assert body["detail"] == [{"loc": ["body", field], "msg": body["error"], "type": code.lower()}]
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


async def test_fields_after_the_file_count(client: httpx2.AsyncClient, form: Callable[..., bytes]) -> None:
    body = form(('name="file"; filename="a.wav"', AUDIO), ('name="source"', b"foo"))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert_error(await client.post("/api/v1/transcribe", content=body, headers=headers), 422, "BAD_SOURCE")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a,b", "a\tb", "a;b"])
async def test_bad_idempotency_key_is_400(client: httpx2.AsyncClient, key: str) -> None:
    response = await client.post("/api/v1/transcribe", files={"file": ("a", AUDIO)}, headers=[(b"idempotency-key", key.encode())])
    assert_error(response, 400, "BAD_IDEMPOTENCY_KEY")


async def test_two_idempotency_keys_are_400(client: httpx2.AsyncClient) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "a")]
    assert_error(await client.post("/api/v1/transcribe", files={"file": ("a", AUDIO)}, headers=headers), 400, "BAD_IDEMPOTENCY_KEY")


async def test_replay_answers_the_first_job_and_stores_nothing(gateway: Running, client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "a" * 255}
    first = await submit(client, headers=key)
    await gateway.world.update(first.json()["job_id"], state=Job.STATE_PROCESSING)
    again = await submit(client, headers=key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert again.headers["x-idempotent-replay"] == "true"
    assert len(gateway.world.media_of(client.headers["x-api-key"])) == 1


@pytest.mark.parametrize(("content", "fields"), [(AUDIO + b"!", {}), (AUDIO, {"language": "en"}), (AUDIO, {"source": "api"})])
async def test_key_of_another_request_is_422(client: httpx2.AsyncClient, content: bytes, fields: dict[str, str]) -> None:
    key = {"idempotency-key": "order/1"}
    assert (await submit(client, headers=key)).status_code == 202
    assert_error(await submit(client, content, headers=key, **fields), 422, "IDEMPOTENCY_KEY_REUSED")


async def test_racing_submits_of_one_key_make_one_job(gateway: Running, client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "race"}
    answers = await asyncio.gather(*(submit(client, headers=key) for _ in range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(gateway.world.media_of(client.headers["x-api-key"])) == 1


async def test_refused_request_does_not_burn_its_key(client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "later"}
    assert_error(await submit(client, b"TEXT", headers=key), 415, "BAD_MIME")
    assert (await submit(client, headers=key)).status_code == 202


async def test_api_keys_are_made_listed_and_ended(gateway: Running, client: httpx2.AsyncClient) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = await client.post("/api/v1/auth/api-keys", json={"name": "ci", "expires_at": until, "kind": "app", "test": True})
    assert made.status_code == 201
    key = made.json()
    assert set(key) >= {"id", "name", "key_prefix", "key", "scopes", "created_at", "expires_at", "last_used_at", "kind", "test"}
    assert (key["kind"], key["last_used_at"], key["test"]) == ("app", None, True)
    listed = (await client.get("/api/v1/auth/api-keys")).json()
    assert [row for row in listed if row["id"] == key["id"]] == [{name: value for name, value in key.items() if name != "key"}]
    assert (await client.delete(f"/api/v1/auth/api-keys/{key['id']}")).status_code == 204
    foreign = next(iter(gateway.world.keys.values())).id
    assert_error(await client.delete(f"/api/v1/auth/api-keys/{foreign}"), 404, "NOT_FOUND")


async def test_guest_may_not_manage_keys(gateway: Running, client: httpx2.AsyncClient) -> None:
    response = await client.get("/api/v1/auth/api-keys", headers={"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)})
    assert_error(response, 403, "FORBIDDEN")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b'{"name":NaN}',
        b'{"name":1e400000}x',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b'{"name":"\\ud800"}',
        b'{"name":"\xff"}',
        b'{"n":' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
        b'{"name":"a"}' + b" " * 300_000,
        '{"name":"a"}'.encode("utf-16"),
    ],
)
async def test_bad_json_is_400(client: httpx2.AsyncClient, body: bytes) -> None:
    response = await client.post("/api/v1/auth/api-keys", content=body, headers={"content-type": "application/json"})
    assert_error(response, 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": 5},
        {"name": "x" * 101},
        {"name": "a\0"},
        {"name": "a", "kind": "x"},
        {"name": "a", "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "a", "expires_at": 2**63},
    ],
)
async def test_wrong_json_field_is_422(client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert isinstance(assert_error(await client.post("/api/v1/auth/api-keys", json=body), 422, "BAD_FIELD")["detail"], list)


async def test_playback_url_is_relayed_with_ranges_and_without_key(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    body = (await client.get(f"/api/v1/jobs/{job_id}/audio/url")).json()
    assert body["storage"] == "disk"
    assert 590 <= body["expires_in"] <= 600
    assert body["retention_days"] == 365
    async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as browser:
        whole = await browser.get("/api" + body["url"])
        assert (whole.status_code, whole.content) == (200, AUDIO)
        assert whole.headers["content-disposition"] == "attachment"
        assert whole.headers["x-content-type-options"] == "nosniff"
        part = await browser.get("/api" + body["url"], headers={"range": "bytes=0-3"})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, AUDIO[:4], f"bytes 0-3/{len(AUDIO)}")
        unknown = await browser.get("/api/v1/media/35f4be54-aa3e-4adc-85b7-b44f284d1fc3?expires=1&signature=a")
        assert_error(unknown, 404, "NOT_FOUND")


async def test_deleted_audio_is_missing_and_after_its_time_expired(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    job = gateway.world.jobs[job_id]
    del gateway.world.media[job.media_id]
    assert_error(await client.get(f"/api/v1/jobs/{job_id}/audio/url"), 410, "AUDIO_MISSING")
    job.complete_time.FromDatetime(datetime.now(UTC) - timedelta(days=366))
    assert assert_error(await client.get(f"/api/v1/jobs/{job_id}/audio/url"), 410, "AUDIO_EXPIRED")["retention_days"] == 365


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/api/v1/", "/api/v1/jobs/", "/api/v1/../me", "//api/v1/me", "/API/v1/me", "/nothing"]
)
async def test_unknown_path_is_404_in_json(client: httpx2.AsyncClient, path: str) -> None:
    assert_error(await client.get(f"{client.base_url}".rstrip("/") + path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/v1/jobs", "GET"),
        ("TRACE", "/api/v1/me", "GET"),
        ("GET", "/api/v1/transcribe", "POST"),
        ("POST", "/healthz", "GET"),
        ("OPTIONS", "/api/v1/me", "GET"),
    ],
)
async def test_wrong_method_is_405_with_allow(client: httpx2.AsyncClient, method: str, path: str, allow: str) -> None:
    response = await client.request(method, path)
    assert_error(response, 405, "METHOD_NOT_ALLOWED")
    assert allow in response.headers["allow"]


async def test_head_answers_like_get_without_body(client: httpx2.AsyncClient) -> None:
    response = await client.head("/api/v1/me")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


async def test_cors_is_open_for_get_and_post_without_credentials(client: httpx2.AsyncClient) -> None:
    preflight = await client.options(
        "/api/v1/transcribe",
        headers={"origin": "null", "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"},
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-methods"] == "GET, POST"
    assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
    for path in ("/api/v1/me", "/api/v1/jobs/1"):
        answer = await client.get(path, headers={"origin": "https://somewhere.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


async def test_request_id_is_kept_when_sound_and_made_otherwise(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"x-request-id": "abc-1"})).headers["x-request-id"] == "abc-1"
    assert len((await client.get("/healthz", headers={"x-request-id": "a b<"})).headers["x-request-id"]) == 32


async def test_metrics_count_requests_by_route(client: httpx2.AsyncClient) -> None:
    await client.get("/api/v1/me")
    assert 'steno_http_seconds_count{method="GET",route="/me",status="200"}' in (await client.get("/metrics")).text
