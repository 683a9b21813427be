"""Relay's training orders."""

from typing import Any

import httpx2
import pytest

from services.mesh.ids import new_id
from steno.jobs.v1 import detection_job_pb2 as orders
from steno.jobs.v1.detector_pb2 import EpochMetrics
from tests.gateway.conftest import Running
from tests.gateway.relay import BOTH, ROOT, UNKNOWN, assert_detail, assert_fields, made

pytestmark = pytest.mark.asyncio(loop_scope="session")
JOB = {
    *("id", "tenant_id", "dataset_id", "annotation_set_id", "config", "status", "progress", "metrics", "model_id", "error_message"),
    *("created_at", "started_at", "completed_at"),
}
DEFAULTS = {"epochs": 20, "validation_split": 0.2, "learning_rate": 0.001, "batch_size": 32, "chunk_size_ms": 500, "stride_ms": 250}


def order(**config: Any) -> dict[str, Any]:
    return {"dataset_id": UNKNOWN, "annotation_set_id": UNKNOWN, "config": {"artifact_types": ["click"], **config}}


@pytest.mark.parametrize("root", BOTH)
async def test_order_answers_201_pending_with_the_documented_defaults(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    job = await made(client, f"{root}/training-jobs", order())
    assert set(job) == JOB
    assert job["config"] == {"artifact_types": ["click"], **DEFAULTS}
    assert (job["status"], job["progress"], job["metrics"], job["model_id"], job["error_message"]) == ("pending", 0, [], None, None)
    assert job["tenant_id"] == gateway.world.workspace_of(client.headers["x-api-key"])
    assert (job["created_at"][-1], job["started_at"], job["completed_at"]) == ("Z", None, None)
    assert (await client.get(f"{root}/training-jobs/{job['id']}")).json() == job


async def test_asked_config_reaches_the_order(gateway: Running, client: httpx2.AsyncClient) -> None:
    asked = {"epochs": 3, "validation_split": 0.5, "learning_rate": 0.01, "batch_size": 8, "chunk_size_ms": 1000, "stride_ms": 100}
    job = await made(client, f"{ROOT}/training-jobs", order(**asked, artifact_types=["click", "hum"]))
    stored = gateway.world.trainings[job["id"]].config
    assert {name: getattr(stored, name) for name in asked} == asked
    assert list(stored.artifact_types) == ["click", "hum"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (orders.DETECTION_STATE_PENDING, "pending"),
        (orders.DETECTION_STATE_RUNNING, "running"),
        (orders.DETECTION_STATE_COMPLETED, "completed"),
        (orders.DETECTION_STATE_FAILED, "failed"),
        (orders.DETECTION_STATE_CANCELLED, "cancelled"),
    ],
)
async def test_every_state_has_its_word(gateway: Running, client: httpx2.AsyncClient, state: Any, status: str) -> None:
    job = await made(client, f"{ROOT}/training-jobs", order())
    gateway.world.trainings[job["id"]].state = state
    assert (await client.get(f"{ROOT}/training-jobs/{job['id']}")).json()["status"] == status


async def test_progress_metrics_of_each_epoch_model_and_failure_are_told(gateway: Running, client: httpx2.AsyncClient) -> None:
    job = await made(client, f"{ROOT}/training-jobs", order())
    stored, model_id = gateway.world.trainings[job["id"]], new_id()
    stored.progress, stored.model_id = 0.12345, model_id
    stored.metrics.append(EpochMetrics(epoch=1, training_loss=0.5, validation_loss=0.75, validation_f1_score=0.25))
    stored.metrics.append(EpochMetrics(epoch=2, training_loss=float("nan"), validation_loss=float("inf"), validation_f1_score=0))
    stored.error.reason, stored.error.message = "TRAINING_FAILED", "The loss diverged."
    for name in ("start_time", "complete_time"):
        getattr(stored, name).FromJsonString("2026-01-02T03:04:05.250Z")
    row = (await client.get(f"{ROOT}/training-jobs/{job['id']}")).json()
    assert (row["progress"], row["model_id"], row["error_message"]) == (0.1235, model_id, "The loss diverged.")
    assert row["metrics"] == [
        {"epoch": 1, "training_loss": 0.5, "validation_loss": 0.75, "validation_f1_score": 0.25},
        {"epoch": 2, "training_loss": None, "validation_loss": None, "validation_f1_score": 0},
    ]
    assert row["started_at"] == row["completed_at"] == "2026-01-02T03:04:05.250Z"


@pytest.mark.parametrize("root", BOTH)
async def test_list_has_pages_newest_first(client: httpx2.AsyncClient, root: str) -> None:
    ids = [(await made(client, f"{root}/training-jobs", order()))["id"] for _ in range(3)]
    page = (await client.get(f"{root}/training-jobs", params={"page": 2, "page_size": 2})).json()
    assert ([row["id"] for row in page["items"]], page["total"], page["has_more"]) == ([ids[0]], 3, False)
    assert set(page["items"][0]) == JOB


@pytest.mark.parametrize("root", BOTH)
async def test_cancelled_training_has_ended_and_cancelling_again_is_400(client: httpx2.AsyncClient, root: str) -> None:
    path = f"{root}/training-jobs/{(await made(client, f'{root}/training-jobs', order()))['id']}"
    ended = await made(client, f"{path}/cancel", status=200)
    assert (ended["status"], ended["completed_at"] is None) == ("cancelled", False)
    assert_detail(await client.post(f"{path}/cancel"), 400)


@pytest.mark.parametrize(
    ("name", "least", "most", "below", "above"),
    [
        ("epochs", 1, 100, 0, 101),
        ("validation_split", 0.1, 0.5, 0.0999, 0.5001),
        ("learning_rate", 0.0001, 0.1, 0.00009, 0.1001),
        ("batch_size", 8, 256, 7, 257),
        ("chunk_size_ms", 100, 10_000, 99, 10_001),
        ("stride_ms", 50, 500, 49, 501),
    ],
)
@pytest.mark.parametrize("root", BOTH)
async def test_config_is_taken_to_the_ends_of_its_range_and_422_beyond(
    client: httpx2.AsyncClient, root: str, name: str, least: float, most: float, below: float, above: float
) -> None:
    for value in (least, most):
        assert (await made(client, f"{root}/training-jobs", order(**{name: value})))["config"][name] == value
    for refused in (below, above, str(least), None, True):
        assert_fields(await client.post(f"{root}/training-jobs", json=order(**{name: refused})), ["body", "config", name])


async def test_stride_is_no_longer_than_its_chunk(client: httpx2.AsyncClient) -> None:
    assert (await made(client, f"{ROOT}/training-jobs", order(chunk_size_ms=100)))["config"]["stride_ms"] == 100
    assert (await made(client, f"{ROOT}/training-jobs", order(chunk_size_ms=10_000, stride_ms=10_000)))["config"]["stride_ms"] == 10_000
    for config in ({"chunk_size_ms": 100, "stride_ms": 101}, {"stride_ms": 501}, {"chunk_size_ms": 10_000, "stride_ms": 10_001}):
        assert_fields(await client.post(f"{ROOT}/training-jobs", json=order(**config)), ["body", "config", "stride_ms"])


@pytest.mark.parametrize(
    ("types", "place"),
    [
        ([], ["artifact_types"]),
        (["click", "click"], ["artifact_types"]),
        ([""], ["artifact_types", 0]),
        (["click", "x" * 101], ["artifact_types", 1]),
        ("click", ["artifact_types"]),
        ([str(number) for number in range(51)], ["artifact_types"]),
    ],
)
async def test_types_out_of_range_are_422(client: httpx2.AsyncClient, types: Any, place: list[str | int]) -> None:
    assert_fields(await client.post(f"{ROOT}/training-jobs", json=order(artifact_types=types)), ["body", "config", *place])


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({**order(), "dataset_id": "1"}, ["dataset_id"]),
        ({**order(), "annotation_set_id": 5}, ["annotation_set_id"]),
        ({"annotation_set_id": UNKNOWN, "config": {"artifact_types": ["a"]}}, ["dataset_id"]),
        ({"dataset_id": UNKNOWN, "annotation_set_id": UNKNOWN}, ["config"]),
        ({**order(), "config": {}}, ["config", "artifact_types"]),
    ],
)
async def test_order_without_what_it_needs_is_422(client: httpx2.AsyncClient, body: dict[str, Any], place: list[str | int]) -> None:
    assert_fields(await client.post(f"{ROOT}/training-jobs", json=body), ["body", *place])
