"""Jobs over HTTP: rows, lists, ids, deletion."""

from datetime import UTC, datetime

import httpx2
import pytest

from steno.jobs.v1.job_pb2 import Job
from tests.gateway.conftest import Running
from tests.gateway.native import TRANSCRIPT, assert_error, submit

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


async def test_row_follows_the_job_to_its_end(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.update(job_id, state=Job.STATE_PROCESSING, progress=0.42, speech_detected=True, speech_ratio=0.78)
    row = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (row["status"], row["progress"], row["speech_detected"], row["speech_ratio"]) == ("processing", 0.42, True, 0.78)
    assert (row["retention_days"], row["audio_expires_at"], row["title"]) == (365, None, None)
    await gateway.world.finish(job_id, TRANSCRIPT)
    await gateway.world.update(job_id, title="Weekly", retention_days=30)
    gateway.world.jobs[job_id].audio_expire_time.FromSeconds(1_800_000_000)
    row = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (row["status"], row["progress"], row["language"], row["error"]) == ("done", 1.0, "en", None)
    assert (row["retention_days"], row["audio_expires_at"], row["title"]) == (30, 1_800_000_000.0, "Weekly")


async def test_list_holds_as_many_jobs_as_asked_for_up_to_100(client: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await submit(client)
    assert [len((await client.get("/api/v1/jobs", params={"limit": limit})).json()) for limit in (1, 100)] == [1, 3]
    assert len((await client.get("/api/v1/jobs")).json()) == 3


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
