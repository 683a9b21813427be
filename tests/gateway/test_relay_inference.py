"""Relay's inference orders and their files."""

from typing import Any

import httpx2
import pytest

from steno.jobs.v1 import detection_job_pb2 as orders
from steno.jobs.v1.detection_job_pb2 import InferenceFile
from steno.jobs.v1.detector_pb2 import Detection
from tests.gateway.conftest import Running
from tests.gateway.relay import AUDIO, BOTH, FILE, ROOT, UNKNOWN, assert_detail, assert_fields, made, post_form

pytestmark = pytest.mark.asyncio(loop_scope="session")
JOB = {
    *("id", "tenant_id", "model_id", "config", "status", "total_files", "processed_files", "failed_files", "total_detections"),
    *("error_message", "created_at", "started_at", "completed_at"),
}
FILE_ROW = {
    *("id", "inference_job_id", "original_filename", "duration_ms", "status", "error_message", "detections", "detection_count"),
    "processed_at",
}


async def new_order(gateway: Running, client: httpx2.AsyncClient, root: str = ROOT, **config: Any) -> dict[str, Any]:
    model_id = gateway.world.new_detector(client.headers["x-api-key"]).id
    return await made(client, f"{root}/inference-jobs", {"model_id": model_id, "config": config})


async def new_file(gateway: Running, client: httpx2.AsyncClient, root: str = ROOT) -> tuple[str, dict[str, Any]]:
    """The path of an order, and how a file of it is posted."""
    path = f"{root}/inference-jobs/{(await new_order(gateway, client, root))['id']}"
    return path, await made(client, f"{path}/files/upload-url", FILE, 200)


@pytest.mark.parametrize("root", BOTH)
async def test_order_answers_201_pending_with_the_documented_defaults(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    job = await new_order(gateway, client, root)
    assert set(job) == JOB
    assert job["config"] == {"threshold": 0.5, "merge_window_ms": 200, "min_duration_ms": 50}
    assert (job["status"], job["error_message"], job["started_at"], job["completed_at"]) == ("pending", None, None, None)
    assert [job[name] for name in ("total_files", "processed_files", "failed_files", "total_detections")] == [0, 0, 0, 0]
    assert job["tenant_id"] == gateway.world.workspace_of(client.headers["x-api-key"])
    assert (await client.get(f"{root}/inference-jobs/{job['id']}")).json() == {**job, "files": []}


async def test_config_may_be_left_out(gateway: Running, client: httpx2.AsyncClient) -> None:
    model_id = gateway.world.new_detector(client.headers["x-api-key"]).id
    job = await made(client, f"{ROOT}/inference-jobs", {"model_id": model_id})
    assert job["config"] == {"threshold": 0.5, "merge_window_ms": 200, "min_duration_ms": 50}


@pytest.mark.parametrize(
    ("name", "least", "most", "below", "above"),
    [("threshold", 0, 1, -0.01, 1.01), ("merge_window_ms", 0, 5000, -1, 5001), ("min_duration_ms", 0, 1000, -1, 1001)],
)
@pytest.mark.parametrize("root", BOTH)
async def test_config_is_taken_to_the_ends_of_its_range_and_422_beyond(
    gateway: Running, client: httpx2.AsyncClient, root: str, name: str, least: int, most: int, below: float, above: float
) -> None:
    for value in (least, most):
        job = await new_order(gateway, client, root, **{name: value})
        assert job["config"][name] == value
        stored = gateway.world.inferences[job["id"]].config
        assert (name, value) in {(field.name, given) for field, given in stored.ListFields()}
    for refused in (below, above, str(least), None, True):
        body = {"model_id": UNKNOWN, "config": {name: refused}}
        assert_fields(await client.post(f"{root}/inference-jobs", json=body), ["body", "config", name])


@pytest.mark.parametrize("body", [{}, {"model_id": "1"}, {"model_id": 5}])
async def test_order_without_a_models_id_is_422(client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert_fields(await client.post(f"{ROOT}/inference-jobs", json=body), ["body", "model_id"])


@pytest.mark.parametrize("root", BOTH)
async def test_inactive_model_is_400_and_unknown_404(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    off = gateway.world.new_detector(client.headers["x-api-key"], is_active=False).id
    assert "active" in assert_detail(await client.post(f"{root}/inference-jobs", json={"model_id": off}), 400)
    assert_detail(await client.post(f"{root}/inference-jobs", json={"model_id": UNKNOWN}), 404)


@pytest.mark.parametrize("root", BOTH)
async def test_file_is_announced_posted_without_a_key_and_queued(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    path, form = await new_file(gateway, client, root)
    assert set(form) == {"upload_url", "fields", "file_id", "expires_in"}
    assert form["expires_in"] == 3600
    place = f"{path}/files/{form['file_id']}"
    pending = (await client.get(place)).json()
    assert set(pending) == FILE_ROW
    assert (pending["status"], pending["original_filename"], pending["duration_ms"], pending["detections"]) == (
        "pending",
        "talk.wav",
        None,
        [],
    )
    assert "POST" in assert_detail(await client.post(f"{path}/files/confirm", json={"file_id": form["file_id"]}), 400)
    assert (await post_form(client, form)).status_code == 204
    confirmed = await made(client, f"{path}/files/confirm", {"file_id": form["file_id"]}, 200)
    assert set(confirmed) == {"file_id", "status", "message"}
    assert (confirmed["file_id"], confirmed["status"]) == (form["file_id"], "queued")
    assert (await client.get(path)).json()["files"] == [(await client.get(place)).json()]


async def test_file_that_is_no_audio_fails_alone(gateway: Running, client: httpx2.AsyncClient) -> None:
    path, form = await new_file(gateway, client)
    await made(client, f"{path}/files/upload-url", FILE, 200)
    await post_form(client, form, b"TEXT")
    confirmed = await made(client, f"{path}/files/confirm", {"file_id": form["file_id"]}, 200)
    assert (confirmed["status"], confirmed["message"]) == ("failed", "The file is not audio.")
    files = (await client.get(path)).json()["files"]
    assert [(file["status"], file["error_message"]) for file in files] == [("failed", "The file is not audio."), ("pending", None)]


@pytest.mark.parametrize("root", BOTH)
async def test_detections_are_told_in_the_file_and_in_the_order(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    path, form = await new_file(gateway, client, root)
    job = gateway.world.inferences[path.rpartition("/")[2]]
    job.state, job.processed_file_count, job.detection_count = orders.DETECTION_STATE_COMPLETED, 1, 1
    job.files[0].state, job.files[0].duration_ms, job.files[0].detection_count = InferenceFile.STATE_COMPLETED, 61_000, 1
    job.files[0].detections.append(Detection(artifact_type="click", start_offset_ms=0, end_offset_ms=40, confidence=0.75))
    job.files[0].process_time.GetCurrentTime()
    row = (await client.get(path)).json()
    assert [row[name] for name in ("status", "total_files", "processed_files", "failed_files", "total_detections")] == [
        "completed",
        1,
        1,
        0,
        1,
    ]
    (file,) = row["files"]
    assert file == (await client.get(f"{path}/files/{form['file_id']}")).json()
    assert (file["status"], file["duration_ms"], file["detection_count"]) == ("completed", 61_000, 1)
    assert file["detections"] == [{"artifact_type": "click", "start_ms": 0, "end_ms": 40, "confidence": 0.75}]
    assert file["processed_at"].endswith("Z")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (InferenceFile.STATE_PENDING, "pending"),
        (InferenceFile.STATE_QUEUED, "queued"),
        (InferenceFile.STATE_PROCESSING, "processing"),
        (InferenceFile.STATE_COMPLETED, "completed"),
        (InferenceFile.STATE_FAILED, "failed"),
    ],
)
async def test_every_state_of_a_file_has_its_word(gateway: Running, client: httpx2.AsyncClient, state: Any, status: str) -> None:
    path, form = await new_file(gateway, client)
    file = gateway.world.inferences[path.rpartition("/")[2]].files[0]
    file.state = state
    assert (await client.get(f"{path}/files/{form['file_id']}")).json()["status"] == status


@pytest.mark.parametrize("root", BOTH)
async def test_list_has_pages_newest_first_without_files(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    ids = [(await new_order(gateway, client, root))["id"] for _ in range(3)]
    page = (await client.get(f"{root}/inference-jobs", params={"page_size": 2})).json()
    assert ([row["id"] for row in page["items"]], page["total"], page["has_more"]) == ([ids[2], ids[1]], 3, True)
    assert set(page["items"][0]) == JOB


@pytest.mark.parametrize("root", BOTH)
async def test_cancelled_order_has_ended_and_cancelling_again_is_400(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    path = f"{root}/inference-jobs/{(await new_order(gateway, client, root))['id']}"
    ended = await made(client, f"{path}/cancel", status=200)
    assert (set(ended), ended["status"]) == (JOB, "cancelled")
    assert_detail(await client.post(f"{path}/cancel"), 400)


@pytest.mark.parametrize("root", BOTH)
async def test_download_url_serves_the_bytes_without_a_key(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    path, form = await new_file(gateway, client, root)
    await post_form(client, form)
    shown = (await client.get(f"{path}/files/{form['file_id']}/download-url")).json()
    assert set(shown) == {"download_url", "expires_in"}
    async with httpx2.AsyncClient(verify=False) as browser:
        assert (await browser.get(shown["download_url"])).content == AUDIO


async def test_confirmed_id_that_is_no_uuid_is_422_and_unknown_404(gateway: Running, client: httpx2.AsyncClient) -> None:
    path, _ = await new_file(gateway, client)
    for body in ({}, {"file_id": "1"}, {"file_id": 5}):
        assert_fields(await client.post(f"{path}/files/confirm", json=body), ["body", "file_id"])
    assert_detail(await client.post(f"{path}/files/confirm", json={"file_id": UNKNOWN}), 404)
    assert_detail(await client.get(f"{path}/files/{UNKNOWN}"), 404)
