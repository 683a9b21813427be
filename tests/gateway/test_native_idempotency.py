"""One Idempotency-Key, one job."""

import asyncio

import httpx2
import pytest
from prometheus_client import REGISTRY

from steno.jobs.v1.job_pb2 import Job
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, assert_error, submit

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


async def test_same_key_under_two_api_keys_makes_two_jobs(gateway: Running, client: httpx2.AsyncClient) -> None:
    workspace_id = gateway.world.workspace_of(client.headers["x-api-key"])
    other = gateway.world.new_key(workspace_id=workspace_id)
    answers = [await submit(client, headers={"x-api-key": key, "idempotency-key": "same"}) for key in (client.headers["x-api-key"], other)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["job_id"] != answers[1].json()["job_id"]


async def test_racing_submits_of_one_key_make_one_job(gateway: Running, client: httpx2.AsyncClient) -> None:
    key, uploaded_bytes = {"idempotency-key": "race"}, _uploaded_bytes()
    answers = await asyncio.gather(*(submit(client, headers=key) for _ in range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(gateway.world.media_of(client.headers["x-api-key"])) == 1
    # Only a machine that is too busy to store the first in time stores some of the others before it finds the job.
    assert _uploaded_bytes() < uploaded_bytes + 16 * len(AUDIO)


def _uploaded_bytes() -> float:
    return REGISTRY.get_sample_value("steno_http_upload_bytes_total") or 0.0


async def test_refused_request_does_not_burn_its_key(client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "later"}
    assert_error(await submit(client, b"TEXT", headers=key), 415, "BAD_MIME")
    assert (await submit(client, headers=key)).status_code == 202
