"""The documents are made from the routes, valid, and complete; the page asks nobody else for anything."""

import json
import re
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import pytest_asyncio
import schemathesis
from schemathesis.core.result import Ok

from tests.gateway.conftest import Running

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    loaded: dict[str, Any] = answer.json()
    return loaded


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, node) for path, item in document["paths"].items() for method, node in item.items()]


async def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    loaded = schemathesis.openapi.from_dict(document)
    found = list(loaded.get_all_operations())
    assert all(isinstance(result, Ok) for result in found)
    assert len(found) == len(_operations(document)) > 10
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


async def test_every_operation_tells_its_answers_and_refusals(document: dict[str, Any]) -> None:
    names = [node["operationId"] for _, _, node in _operations(document)]
    assert len(names) == len(set(names))
    for path, method, node in _operations(document):
        statuses = {int(status) for status in node["responses"]}
        assert any(status < 300 for status in statuses), (path, method)
        assert not node["security"] or 401 in statuses, (path, method)
        assert all(response["description"] for response in node["responses"].values()), (path, method)


async def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert names
    assert names <= set(document["components"]["schemas"])


async def test_every_documented_path_is_served(gateway: Running, document: dict[str, Any]) -> None:
    """Without a key a documented operation refuses the key or the head, never the address or the method."""
    async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as nobody:
        for path, method, node in _operations(document):
            address = re.sub(r"\{\w+\}", "01980000-0000-7000-8000-000000000000", path)
            answer = await nobody.request(method.upper(), address)
            expected = {401} if node["security"] else {int(status) for status in node["responses"]}
            assert answer.status_code in expected, (method, path, answer.text)


async def test_the_page_asks_nobody_else_for_anything(client: httpx2.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert link.startswith(("docs/", "data:")), link
        if link.startswith("docs/"):
            part = await client.get(f"/{link}")
            assert part.status_code == 200
            assert part.headers["content-type"].startswith(("text/javascript", "text/css"))
    assert "//" not in (await client.get("/docs/start.js")).text


async def test_an_unchanged_document_is_not_sent_twice(client: httpx2.AsyncClient) -> None:
    first = await client.get("/openapi.json")
    again = await client.get("/openapi.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
