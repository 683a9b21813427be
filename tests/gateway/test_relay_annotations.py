"""Relay's annotation sets and annotations."""

from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import Running
from tests.gateway.relay import BOTH, ROOT, UNKNOWN, assert_detail, assert_fields, label, made, new_audio, new_dataset, new_draft

pytestmark = pytest.mark.asyncio(loop_scope="session")
SET = {
    "id",
    "dataset_id",
    "version",
    "status",
    "total_annotations",
    "total_positive_duration_ms",
    "annotations_by_type",
    "created_at",
    "published_at",
}
ANNOTATION = {"id", "annotation_set_id", "audio_file_id", "artifact_type", "start_ms", "end_ms", "confidence", "extra_data"}


@pytest.mark.parametrize("root", BOTH)
async def test_sets_are_drafts_with_versions_made_without_a_body(client: httpx2.AsyncClient, root: str) -> None:
    dataset = (await new_dataset(client, root))["id"]
    path = f"{root}/datasets/{dataset}/annotation-sets"
    first, second = await made(client, path), await made(client, path)
    assert set(first) == SET
    assert (first["version"], second["version"], first["status"], first["published_at"]) == (1, 2, "draft", None)
    assert (first["dataset_id"], first["total_annotations"], first["annotations_by_type"]) == (dataset, 0, {})
    listed = (await client.get(path)).json()
    assert set(listed) == {"items", "total"}
    assert (listed["total"], [row["version"] for row in listed["items"]]) == (2, [2, 1])


async def test_list_has_every_set_however_many_there_are(client: httpx2.AsyncClient) -> None:
    path = f"{ROOT}/datasets/{(await new_dataset(client))['id']}/annotation-sets"
    assert (await client.get(path)).json() == {"items": [], "total": 0}
    for _ in range(101):
        await made(client, path)
    listed = (await client.get(path)).json()
    assert (listed["total"], [row["version"] for row in listed["items"]]) == (101, list(range(101, 0, -1)))


@pytest.mark.parametrize("root", BOTH)
async def test_annotation_answers_201_with_its_defaults_and_stands_in_its_set(client: httpx2.AsyncClient, root: str) -> None:
    path, audio_id = await new_draft(client, root)
    annotation = await made(client, f"{path}/annotations", label(audio_id))
    assert set(annotation) == ANNOTATION
    assert {name: annotation[name] for name in ("audio_file_id", "artifact_type", "start_ms", "end_ms")} == label(audio_id)
    assert (annotation["confidence"], annotation["extra_data"]) == (1.0, {})
    assert annotation["annotation_set_id"] == path.rpartition("/")[2]
    found = (await client.get(path)).json()
    assert set(found) == SET | {"annotations"}
    assert found["annotations"] == [annotation]


async def test_extra_data_comes_back_as_it_was_sent(client: httpx2.AsyncClient) -> None:
    path, audio_id = await new_draft(client)
    extra = {"by": "Zoë", "count": 5, "ratio": 0.25, "big": 2**53, "ok": True, "none": None, "list": [1, [], {"a": {}}]}
    annotation = await made(client, f"{path}/annotations", label(audio_id, extra_data=extra))
    assert annotation["extra_data"] == extra
    assert isinstance(annotation["extra_data"]["count"], int)


@pytest.mark.parametrize("root", BOTH)
async def test_bulk_answers_how_many_and_all_of_them_in_their_order(client: httpx2.AsyncClient, root: str) -> None:
    path, audio_id = await new_draft(client, root)
    asked = [label(audio_id, start_ms=start, end_ms=start + 50, artifact_type=("click", "hum")[start % 2]) for start in range(5)]
    answer = await made(client, f"{path}/annotations/bulk", {"annotations": asked})
    assert set(answer) == {"created", "annotations"}
    assert answer["created"] == 5
    assert [row["start_ms"] for row in answer["annotations"]] == [0, 1, 2, 3, 4]
    assert [row["start_ms"] for row in (await client.get(path)).json()["annotations"]] == [0, 1, 2, 3, 4]


async def test_bulk_takes_a_thousand_and_no_more(client: httpx2.AsyncClient) -> None:
    path, audio_id = await new_draft(client)
    asked = [label(audio_id, extra_data={"note": "x" * 400})] * 1000
    assert (await made(client, f"{path}/annotations/bulk", {"annotations": asked}))["created"] == 1000
    for refused in ([], [label(audio_id)] * 1001):
        assert_fields(await client.post(f"{path}/annotations/bulk", json={"annotations": refused}), ["body", "annotations"])


async def test_bulk_with_one_bad_annotation_adds_none(client: httpx2.AsyncClient) -> None:
    path, audio_id = await new_draft(client)
    asked = [label(audio_id), label(audio_id, end_ms=100)]
    assert_fields(await client.post(f"{path}/annotations/bulk", json={"annotations": asked}), ["body", "annotations", 1, "end_ms"])
    assert (await client.get(path)).json()["annotations"] == []


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"start_ms": -1}, "start_ms"),
        ({"start_ms": 1.5}, "start_ms"),
        ({"start_ms": "100"}, "start_ms"),
        ({"start_ms": 250}, "end_ms"),
        ({"start_ms": 251}, "end_ms"),
        ({"end_ms": 100}, "end_ms"),
        ({"end_ms": 10**12}, "end_ms"),
        ({"confidence": -0.01}, "confidence"),
        ({"confidence": 1.01}, "confidence"),
        ({"confidence": "1"}, "confidence"),
        ({"audio_file_id": "1"}, "audio_file_id"),
        ({"artifact_type": ""}, "artifact_type"),
        ({"artifact_type": "x" * 101}, "artifact_type"),
        ({"extra_data": []}, "extra_data"),
        ({"extra_data": {"a": 2**53 + 1}}, "extra_data"),
        ({"extra_data": {"a\0": 1}}, "extra_data"),
        ({"extra_data": {"a": ["\0"]}}, "extra_data"),
        ({"extra_data": {"a": [[[[[[[[]]]]]]]]}}, "extra_data"),
    ],
)
@pytest.mark.parametrize("root", BOTH)
async def test_annotation_out_of_range_is_422_at_its_place(
    client: httpx2.AsyncClient, root: str, fields: dict[str, Any], place: str
) -> None:
    path, audio_id = await new_draft(client, root)
    assert_fields(await client.post(f"{path}/annotations", json=label(audio_id, **fields)), ["body", place])
    changed = await client.patch(f"{path}/annotations/{UNKNOWN}", json=label(audio_id, **fields))
    assert_fields(changed, ["body", place])


async def test_number_beyond_json_is_422(client: httpx2.AsyncClient) -> None:
    path, audio_id = await new_draft(client)
    body = f'{{"audio_file_id": "{audio_id}", "artifact_type": "click", "start_ms": 0, "end_ms": 5, "extra_data": {{"a": 1e999}}}}'
    answer = await client.post(f"{path}/annotations", content=body, headers={"content-type": "application/json"})
    assert_fields(answer, ["body", "extra_data"])


@pytest.mark.parametrize("name", ["audio_file_id", "artifact_type", "start_ms", "end_ms"])
async def test_annotation_without_a_field_is_422(client: httpx2.AsyncClient, name: str) -> None:
    path, audio_id = await new_draft(client)
    body = {field: value for field, value in label(audio_id).items() if field != name}
    assert_fields(await client.post(f"{path}/annotations", json=body), ["body", name])


@pytest.mark.parametrize("confidence", [0, 0.5, 1])
async def test_ends_of_the_ranges_are_taken(client: httpx2.AsyncClient, confidence: float) -> None:
    path, audio_id = await new_draft(client)
    annotation = await made(client, f"{path}/annotations", label(audio_id, start_ms=0, end_ms=1, confidence=confidence))
    assert (annotation["start_ms"], annotation["end_ms"], annotation["confidence"]) == (0, 1, confidence)


async def test_undeclared_type_is_400_that_names_it_and_foreign_audio_404(client: httpx2.AsyncClient) -> None:
    path, audio_id = await new_draft(client)
    told = assert_detail(await client.post(f"{path}/annotations", json=label(audio_id, artifact_type="pop")), 400)
    assert "pop" in told
    other = (await new_audio(client, (await new_dataset(client))["id"]))["audio_id"]
    assert_detail(await client.post(f"{path}/annotations", json=label(other)), 404)


@pytest.mark.parametrize("root", BOTH)
async def test_patch_changes_what_it_names_and_nothing_else(client: httpx2.AsyncClient, root: str) -> None:
    path, audio_id = await new_draft(client, root)
    annotation = await made(client, f"{path}/annotations", label(audio_id, confidence=0.5, extra_data={"a": 1}))
    place = f"{path}/annotations/{annotation['id']}"
    moved = await client.patch(place, json={"start_ms": 0, "end_ms": 90})
    assert (moved.status_code, moved.json()) == (200, {**annotation, "start_ms": 0, "end_ms": 90})
    changed = (await client.patch(place, json={"confidence": 0, "extra_data": {}, "artifact_type": "hum"})).json()
    assert changed == {**moved.json(), "confidence": 0, "extra_data": {}, "artifact_type": "hum"}
    assert_fields(await client.patch(place, json={}), ["body"])


@pytest.mark.parametrize("root", BOTH)
async def test_deleted_annotation_answers_204_and_is_gone(client: httpx2.AsyncClient, root: str) -> None:
    path, audio_id = await new_draft(client, root)
    place = f"{path}/annotations/{(await made(client, f'{path}/annotations', label(audio_id)))['id']}"
    assert (await client.delete(place)).status_code == 204
    assert_detail(await client.delete(place), 404)
    assert (await client.get(path)).json()["annotations"] == []


@pytest.mark.parametrize("root", BOTH)
async def test_published_set_has_its_statistics_and_refuses_every_change_with_400(client: httpx2.AsyncClient, root: str) -> None:
    path, audio_id = await new_draft(client, root)
    assert_detail(await client.post(f"{path}/publish"), 400)
    annotation = await made(client, f"{path}/annotations", label(audio_id))
    await made(client, f"{path}/annotations", label(audio_id, artifact_type="hum", start_ms=0, end_ms=1000))
    published = await made(client, f"{path}/publish", status=200)
    assert (published["status"], published["total_annotations"], published["total_positive_duration_ms"]) == ("published", 2, 1150)
    assert published["annotations_by_type"] == {"click": 1, "hum": 1}
    assert published["published_at"].endswith("Z")
    place = f"{path}/annotations/{annotation['id']}"
    refused = [
        await client.post(f"{path}/annotations", json=label(audio_id)),
        await client.post(f"{path}/annotations/bulk", json={"annotations": [label(audio_id)]}),
        await client.patch(place, json={"start_ms": 0}),
        await client.delete(place),
        await client.post(f"{path}/publish"),
        await client.delete(path),
    ]
    for response in refused:
        assert "published" in assert_detail(response, 400)
    assert len((await client.get(path)).json()["annotations"]) == 2


async def test_deleted_draft_answers_204_and_is_gone(client: httpx2.AsyncClient) -> None:
    path, _ = await new_draft(client)
    assert (await client.delete(path)).status_code == 204
    assert_detail(await client.get(path), 404)


async def test_set_of_another_dataset_is_404(gateway: Running, client: httpx2.AsyncClient) -> None:
    path, _ = await new_draft(client)
    other = (await new_dataset(client))["id"]
    assert_detail(await client.get(f"{ROOT}/datasets/{other}/annotation-sets/{path.rpartition('/')[2]}"), 404)
