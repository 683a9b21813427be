"""Relay's datasets and audio, at its own prefix and beside the native contract."""

import re
from datetime import datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request

from services.gateway.addresses import TrustedProxies
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.dataset_pb2 import DatasetAudio
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.native import TRANSCRIPT, submit
from tests.gateway.relay import (
    AUDIO,
    BOTH,
    FILE,
    ROOT,
    TYPES,
    UNKNOWN,
    assert_detail,
    assert_fields,
    made,
    new_audio,
    new_dataset,
    post_form,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
DATASET = {"id", "name", "description", "artifact_types", "created_at", "updated_at"}
AUDIO_ROW = {"id", "dataset_id", "original_filename", "duration_ms", "processing_status", "file_size", "error_message", "created_at"}


@pytest.mark.parametrize("root", BOTH)
async def test_created_dataset_answers_201_with_its_fields_and_rfc3339_times(client: httpx2.AsyncClient, root: str) -> None:
    dataset = await new_dataset(client, root, description="Talks with faults.")
    assert set(dataset) == DATASET
    assert re.fullmatch("[0-9a-f-]{36}", dataset["id"])
    assert (dataset["name"], dataset["description"]) == ("talks", "Talks with faults.")
    assert dataset["artifact_types"] == [TYPES[0], {"name": "hum", "description": None, "color": "#FF0000"}]
    assert datetime.fromisoformat(dataset["created_at"]).tzinfo is not None
    assert (await client.get(f"{root}/datasets/{dataset['id']}")).json() == dataset


async def test_datasets_are_the_same_at_both_prefixes(client: httpx2.AsyncClient) -> None:
    dataset = await new_dataset(client)
    assert (await client.get(f"/api/v1/datasets/{dataset['id']}")).json() == dataset


@pytest.mark.parametrize("root", BOTH)
async def test_list_has_pages_newest_first_with_counts(client: httpx2.AsyncClient, root: str) -> None:
    ids = [(await new_dataset(client, root, name=f"d{number}"))["id"] for number in range(3)]
    await new_audio(client, ids[2], root)
    await made(client, f"{root}/datasets/{ids[2]}/annotation-sets")
    first = (await client.get(f"{root}/datasets", params={"page_size": 2})).json()
    assert {name: first[name] for name in ("total", "page", "page_size", "has_more")} == {
        "total": 3,
        "page": 1,
        "page_size": 2,
        "has_more": True,
    }
    assert set(first) == {"items", "total", "page", "page_size", "has_more"}
    assert [row["id"] for row in first["items"]] == [ids[2], ids[1]]
    assert set(first["items"][0]) == DATASET | {"audio_count", "annotation_set_count"}
    assert (first["items"][0]["audio_count"], first["items"][0]["annotation_set_count"]) == (1, 1)
    second = (await client.get(f"{root}/datasets", params={"page_size": 2, "page": 2})).json()
    assert ([row["id"] for row in second["items"]], second["has_more"], second["page"]) == ([ids[0]], False, 2)


@pytest.mark.parametrize("query", ["page=0", "page=x", "page_size=0", "page_size=101", "page=1&page=2"])
@pytest.mark.parametrize("path", ["/datasets", f"/datasets/{UNKNOWN}/audio", "/training-jobs", "/models", "/inference-jobs"])
async def test_page_out_of_range_is_400(client: httpx2.AsyncClient, path: str, query: str) -> None:
    assert_detail(await client.get(f"{ROOT}{path}?{query}"), 400)


@pytest.mark.parametrize("root", BOTH)
async def test_patch_changes_what_it_names_and_nothing_else(client: httpx2.AsyncClient, root: str) -> None:
    dataset = await new_dataset(client, root, description="old")
    path = f"{root}/datasets/{dataset['id']}"
    renamed = await client.patch(path, json={"name": "new"})
    assert (renamed.status_code, renamed.json()["name"], renamed.json()["description"]) == (200, "new", "old")
    assert len(renamed.json()["artifact_types"]) == 2
    assert (await client.patch(path, json={"description": None})).json()["description"] is None
    typed = (await client.patch(path, json={"artifact_types": [{"name": "dropout", "color": "#abcdef"}]})).json()
    assert typed["artifact_types"] == [{"name": "dropout", "description": None, "color": "#abcdef"}]
    assert typed["name"] == "new"


@pytest.mark.parametrize("root", BOTH)
async def test_deleted_dataset_answers_204_and_is_gone(client: httpx2.AsyncClient, root: str) -> None:
    path = f"{root}/datasets/{(await new_dataset(client, root))['id']}"
    response = await client.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    assert_detail(await client.get(path), 404)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "x" * 256}, ["name"]),
        ({"name": 5}, ["name"]),
        ({"name": "a\nb"}, ["name"]),
        ({"description": "x" * 2001}, ["description"]),
        ({"description": "a\0b"}, ["description"]),
        ({"artifact_types": [{"name": ""}]}, ["artifact_types", 0, "name"]),
        ({"artifact_types": [{"name": "a"}, {"name": "x" * 101}]}, ["artifact_types", 1, "name"]),
        ({"artifact_types": [{"name": "a", "color": "red"}]}, ["artifact_types", 0, "color"]),
        ({"artifact_types": [{"name": "a", "color": "#FF00"}]}, ["artifact_types", 0, "color"]),
        ({"artifact_types": [{"name": "a", "color": "#GG0000"}]}, ["artifact_types", 0, "color"]),
        ({"artifact_types": [{"name": "a"}, {"name": "a"}]}, ["artifact_types"]),
        ({"artifact_types": [{"name": str(number)} for number in range(51)]}, ["artifact_types"]),
        ({"artifact_types": "click"}, ["artifact_types"]),
    ],
)
@pytest.mark.parametrize("root", BOTH)
async def test_dataset_field_out_of_range_is_422_at_its_place(
    client: httpx2.AsyncClient, root: str, fields: dict[str, Any], place: list[str | int]
) -> None:
    assert_fields(await client.post(f"{root}/datasets", json={"name": "talks", **fields}), ["body", *place])
    assert_fields(await client.patch(f"{root}/datasets/{UNKNOWN}", json=fields), ["body", *place])


async def test_names_at_the_ends_of_their_ranges_are_taken(client: httpx2.AsyncClient) -> None:
    types = [{"name": "a"}, {"name": "x" * 100, "color": "#ffffff"}]
    dataset = await new_dataset(client, name="x" * 255, description="x" * 2000, artifact_types=types)
    assert [each["name"] for each in dataset["artifact_types"]] == ["a", "x" * 100]


async def test_dataset_without_a_name_is_422(client: httpx2.AsyncClient) -> None:
    assert_fields(await client.post(f"{ROOT}/datasets", json={"artifact_types": TYPES}), ["body", "name"])


async def test_patch_that_names_nothing_is_422(client: httpx2.AsyncClient) -> None:
    dataset = await new_dataset(client)
    for body in ({}, {"colour": "red"}):
        assert_fields(await client.patch(f"{ROOT}/datasets/{dataset['id']}", json=body), ["body"])


@pytest.mark.parametrize("root", BOTH)
async def test_announced_audio_is_posted_by_form_without_a_key_and_confirmed(
    gateway: Running, client: httpx2.AsyncClient, root: str
) -> None:
    dataset = (await new_dataset(client, root))["id"]
    form = await new_audio(client, dataset, root)
    assert set(form) == {"upload_url", "fields", "audio_id", "expires_in"}
    assert form["expires_in"] == 3600
    assert form["upload_url"] == f"{gateway.url}/api/v1/audio-uploads"
    pending = (await client.get(f"{root}/datasets/{dataset}/audio/{form['audio_id']}")).json()
    assert set(pending) == AUDIO_ROW
    assert (pending["processing_status"], pending["duration_ms"], pending["original_filename"]) == ("pending", None, "talk.wav")
    assert pending["file_size"] == len(AUDIO)
    posted = await post_form(client, form)
    assert (posted.status_code, posted.content) == (204, b"")
    assert bytes(gateway.world.blobs[gateway.world.audio[form["audio_id"]].media_id]) == AUDIO
    confirmed = await made(client, f"{root}/datasets/{dataset}/audio/confirm", {"audio_id": form["audio_id"]}, 200)
    assert set(confirmed) == {"audio_id", "status", "message"}
    assert (confirmed["audio_id"], confirmed["status"]) == (form["audio_id"], "normalizing")
    assert confirmed["message"]


async def test_form_is_shown_with_the_clients_own_host_name(client: httpx2.AsyncClient) -> None:
    dataset = (await new_dataset(client))["id"]
    headers = {"host": "relay.example.com", "x-forwarded-proto": "https"}
    shown = (await client.post(f"{ROOT}/datasets/{dataset}/audio/upload-url", json=FILE, headers=headers)).json()
    assert shown["upload_url"] == "http://relay.example.com/api/v1/audio-uploads", "nobody trusts this proxy"


async def test_addresses_shown_below_a_host_name_of_the_contract_lead_there(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, contract_hosts="relay.example.com=relay") as mapped:
        headers = {"x-api-key": mapped.world.new_key(), "host": "relay.example.com"}
        async with httpx2.AsyncClient(base_url=mapped.url, headers=headers, timeout=20, verify=False) as client:
            dataset = (await new_dataset(client, "/api/v1"))["id"]
            form = await new_audio(client, dataset, "/api/v1")
            path = form["upload_url"].removeprefix("http://relay.example.com")
            assert (await client.post(path, data=form["fields"], files={"file": ("talk.wav", AUDIO)})).status_code == 204
            shown = (await client.get(f"/api/v1/datasets/{dataset}/audio/{form['audio_id']}/download-url")).json()
            assert (await client.get(shown["download_url"].removeprefix("http://relay.example.com"))).content == AUDIO


@pytest.mark.parametrize(
    ("network", "said", "origin"),
    [
        ("10.0.0.0/8", [b"https"], "https://api.example.com"),
        ("10.0.0.0/8", [b"HTTPS"], "https://api.example.com"),
        ("10.0.0.0/8", [], "http://api.example.com"),
        ("10.0.0.0/8", [b"javascript"], "http://api.example.com"),
        ("10.0.0.0/8", [b"https", b"http"], "http://api.example.com"),
        ("192.0.2.0/24", [b"https"], "http://api.example.com"),
    ],
)
async def test_scheme_is_what_a_trusted_proxy_says_it_was(network: str, said: list[bytes], origin: str) -> None:
    headers = [(b"host", b"api.example.com"), *((b"x-forwarded-proto", scheme) for scheme in said)]
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": headers, "client": ("10.1.2.3", 5)}
    assert TrustedProxies([IPv4Network(network)]).origin(Request(scope)) == origin


async def test_form_is_taken_at_the_contracts_own_prefix_too(gateway: Running, client: httpx2.AsyncClient) -> None:
    form = await new_audio(client, (await new_dataset(client))["id"])
    assert (await post_form(client, {**form, "upload_url": f"{gateway.url}{ROOT}/audio-uploads"})).status_code == 204


async def test_form_without_its_permission_is_404_and_what_is_no_form_400(client: httpx2.AsyncClient) -> None:
    form = await new_audio(client, (await new_dataset(client))["id"])
    assert_detail(await post_form(client, {**form, "fields": {**form["fields"], "signature": "forged"}}), 404)
    assert_detail(await client.post(f"{ROOT}/audio-uploads", json=form["fields"]), 400)


async def test_form_larger_than_allowed_is_refused_on_its_head(gateway: Running) -> None:
    lines = ("host: a", "content-type: multipart/form-data; boundary=b", f"content-length: {600 * 2**20}", "", "")
    head = f"POST {ROOT}/audio-uploads HTTP/1.1\r\n" + "\r\n".join(lines)
    assert b" 400 " in (await gateway.exchange(head.encode())).partition(b"\r\n")[0]


async def test_unposted_audio_is_400_when_confirmed(client: httpx2.AsyncClient) -> None:
    dataset = (await new_dataset(client))["id"]
    form = await new_audio(client, dataset)
    told = assert_detail(await client.post(f"{ROOT}/datasets/{dataset}/audio/confirm", json={"audio_id": form["audio_id"]}), 400)
    assert "POST" in told


async def test_bytes_that_are_no_audio_leave_the_file_failed_with_a_message(client: httpx2.AsyncClient) -> None:
    dataset = (await new_dataset(client))["id"]
    form = await new_audio(client, dataset)
    await post_form(client, form, b"TEXT")
    confirmed = await made(client, f"{ROOT}/datasets/{dataset}/audio/confirm", {"audio_id": form["audio_id"]}, 200)
    assert (confirmed["status"], confirmed["message"]) == ("failed", "The file is not audio.")
    row = (await client.get(f"{ROOT}/datasets/{dataset}/audio/{form['audio_id']}")).json()
    assert (row["processing_status"], row["error_message"]) == ("failed", "The file is not audio.")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (DatasetAudio.STATE_PENDING, "pending"),
        (DatasetAudio.STATE_NORMALIZING, "normalizing"),
        (DatasetAudio.STATE_EMBEDDING, "embedding"),
        (DatasetAudio.STATE_READY, "ready"),
        (DatasetAudio.STATE_FAILED, "failed"),
    ],
)
async def test_every_state_of_audio_has_its_word(gateway: Running, client: httpx2.AsyncClient, state: Any, status: str) -> None:
    dataset = (await new_dataset(client))["id"]
    audio = gateway.world.audio[(await new_audio(client, dataset))["audio_id"]]
    audio.state, audio.duration_ms = state, 61_000
    page = (await client.get(f"{ROOT}/datasets/{dataset}/audio")).json()
    assert [(row["processing_status"], row["duration_ms"]) for row in page["items"]] == [(status, 61_000)]
    assert (page["total"], page["has_more"]) == (1, False)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"filename": ""}, "filename"),
        ({"filename": "x" * 256}, "filename"),
        ({"content_type": ""}, "content_type"),
        ({"content_type": "audio/wav\r\nx: y"}, "content_type"),
        ({"file_size": 0}, "file_size"),
        ({"file_size": -1}, "file_size"),
        ({"file_size": 500 * 2**20 + 1}, "file_size"),
        ({"file_size": "5"}, "file_size"),
        ({"file_size": 1.5}, "file_size"),
        ({"file_size": True}, "file_size"),
    ],
)
@pytest.mark.parametrize("place_of", [f"/datasets/{UNKNOWN}/audio", f"/inference-jobs/{UNKNOWN}/files"])
async def test_announcement_out_of_range_is_422_at_its_place(
    client: httpx2.AsyncClient, place_of: str, fields: dict[str, Any], place: str
) -> None:
    for root in BOTH:
        assert_fields(await client.post(f"{root}{place_of}/upload-url", json={**FILE, **fields}), ["body", place])


async def test_largest_file_is_announced(client: httpx2.AsyncClient) -> None:
    dataset = (await new_dataset(client))["id"]
    await made(client, f"{ROOT}/datasets/{dataset}/audio/upload-url", {**FILE, "file_size": 500 * 2**20}, 200)


@pytest.mark.parametrize("root", BOTH)
async def test_download_url_serves_the_bytes_without_a_key(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    dataset = (await new_dataset(client, root))["id"]
    form = await new_audio(client, dataset, root)
    await post_form(client, form)
    shown = (await client.get(f"{root}/datasets/{dataset}/audio/{form['audio_id']}/download-url")).json()
    assert set(shown) == {"download_url", "expires_in"}
    assert shown["expires_in"] == 600
    assert shown["download_url"].startswith(f"{gateway.url}/api/v1/media/")
    async with httpx2.AsyncClient(verify=False) as browser:
        for url in (shown["download_url"], shown["download_url"].replace("/api/v1/", f"{ROOT}/")):
            assert (await browser.get(url)).content == AUDIO


async def test_addresses_of_an_object_store_are_shown_as_they_are(gateway: Running, client: httpx2.AsyncClient) -> None:
    dataset = (await new_dataset(client))["id"]
    gateway.world.bucket_url = "https://bucket.example.com/recordings"
    try:
        form = await new_audio(client, dataset)
        shown = (await client.get(f"{ROOT}/datasets/{dataset}/audio/{form['audio_id']}/download-url")).json()
    finally:
        gateway.world.bucket_url = ""
    assert form["upload_url"] == "https://bucket.example.com/recordings"
    assert shown["download_url"].startswith("https://bucket.example.com/recordings/")


async def test_deleted_audio_answers_204_and_is_gone(client: httpx2.AsyncClient) -> None:
    dataset = (await new_dataset(client))["id"]
    path = f"{ROOT}/datasets/{dataset}/audio/{(await new_audio(client, dataset))['audio_id']}"
    assert (await client.delete(path)).status_code == 204
    assert_detail(await client.get(path), 404)
    assert_detail(await client.delete(path), 404)


@pytest.mark.parametrize("root", BOTH)
async def test_audio_of_a_finished_transcription_joins_a_dataset(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    dataset = (await new_dataset(client, root))["id"]
    job_id = (await submit(client)).json()["job_id"]
    path = f"{root}/datasets/{dataset}/audio/from-job"
    assert_detail(await client.post(path, json={"job_id": job_id}), 400)
    await gateway.world.finish(job_id, TRANSCRIPT)
    copied = await made(client, path, {"job_id": job_id})
    assert set(copied) == AUDIO_ROW
    assert (copied["dataset_id"], copied["processing_status"], copied["original_filename"]) == (dataset, "normalizing", "talk.wav")
    assert copied["duration_ms"] == 1000


@pytest.mark.parametrize("state", [Job.STATE_FAILED, Job.STATE_CANCELLED])
async def test_transcription_that_brought_nothing_is_400_and_one_without_its_audio_404(
    gateway: Running, client: httpx2.AsyncClient, state: Any
) -> None:
    dataset = (await new_dataset(client))["id"]
    path, job_id = f"{ROOT}/datasets/{dataset}/audio/from-job", (await submit(client)).json()["job_id"]
    await gateway.world.update(job_id, state=state)
    assert_detail(await client.post(path, json={"job_id": job_id}), 400)
    await gateway.world.update(job_id, state=Job.STATE_DONE)
    del gateway.world.media[gateway.world.jobs[job_id].media_id]
    assert_detail(await client.post(path, json={"job_id": job_id}), 404)


@pytest.mark.parametrize(("path", "name"), [("confirm", "audio_id"), ("from-job", "job_id")])
async def test_body_id_that_is_no_uuid_is_422_and_unknown_404(client: httpx2.AsyncClient, path: str, name: str) -> None:
    dataset = (await new_dataset(client))["id"]
    for body in ({}, {name: "1"}, {name: 5}, {name: UNKNOWN + "0"}):
        assert_fields(await client.post(f"{ROOT}/datasets/{dataset}/audio/{path}", json=body), ["body", name])
    assert_detail(await client.post(f"{ROOT}/datasets/{dataset}/audio/{path}", json={name: UNKNOWN.upper()}), 404)
