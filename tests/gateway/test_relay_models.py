"""Relay's trained models."""

from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import Running
from tests.gateway.relay import BOTH, ROOT, UNKNOWN, assert_detail, assert_fields

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCORES = {"precision": 0.9, "recall": 0.8, "f1_score": 0.85}


@pytest.mark.parametrize("root", BOTH)
async def test_model_has_its_documented_fields(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    detector = gateway.world.new_detector(client.headers["x-api-key"])
    assert (await client.get(f"{root}/models/{detector.id}")).json() == {
        "id": detector.id,
        "name": "clicks",
        "description": None,
        "artifact_types": ["click"],
        "training_job_id": detector.training_job_id,
        "eval_metrics": {**SCORES, "per_class": {"click": {**SCORES, "support": 40}}},
        "is_active": True,
        "created_at": detector.create_time.ToJsonString(),
    }


@pytest.mark.parametrize("root", BOTH)
async def test_list_is_narrowed_by_activity(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    secret = client.headers["x-api-key"]
    on, off = gateway.world.new_detector(secret).id, gateway.world.new_detector(secret, is_active=False).id
    for query, expected in {"": [off, on], "?is_active=true": [on], "?is_active=False": [off], "?is_active=": [off, on]}.items():
        page = (await client.get(f"{root}/models{query}")).json()
        assert set(page) == {"items", "total", "page", "page_size", "has_more"}
        assert ([row["id"] for row in page["items"]], page["total"]) == (expected, len(expected)), query


@pytest.mark.parametrize("query", ["is_active=maybe", "is_active=1", "is_active=true&is_active=false"])
async def test_unknown_activity_is_400(client: httpx2.AsyncClient, query: str) -> None:
    assert_detail(await client.get(f"{ROOT}/models?{query}"), 400)


@pytest.mark.parametrize("root", BOTH)
async def test_patch_changes_what_it_names_and_nothing_else(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    path = f"{root}/models/{gateway.world.new_detector(client.headers['x-api-key']).id}"
    named = (await client.patch(path, json={"name": "ticks", "description": "Finds ticks."})).json()
    assert (named["name"], named["description"], named["is_active"]) == ("ticks", "Finds ticks.", True)
    switched = (await client.patch(path, json={"is_active": False})).json()
    assert switched == {**named, "is_active": False}
    assert (await client.patch(path, json={"description": None})).json() == {**switched, "description": None}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "x" * 256}, ["name"]),
        ({"name": None}, ["name"]),
        ({"description": "x" * 2001}, ["description"]),
        ({"is_active": "no"}, ["is_active"]),
        ({"is_active": 0}, ["is_active"]),
        ({}, []),
    ],
)
async def test_change_out_of_range_is_422(client: httpx2.AsyncClient, fields: dict[str, Any], place: list[str | int]) -> None:
    assert_fields(await client.patch(f"{ROOT}/models/{UNKNOWN}", json=fields), ["body", *place])


@pytest.mark.parametrize("root", BOTH)
async def test_deleted_model_answers_204_and_is_gone(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    path = f"{root}/models/{gateway.world.new_detector(client.headers['x-api-key']).id}"
    response = await client.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    assert_detail(await client.get(path), 404)
