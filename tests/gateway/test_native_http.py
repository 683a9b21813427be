"""What every path of the native contract does alike."""

import httpx2
import pytest

from tests.gateway.native import assert_error

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
        ("GET", "/api/v1/jobs/claim", "POST"),
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


async def test_browsers_of_any_origin_get_and_post_without_credentials(client: httpx2.AsyncClient) -> None:
    preflight = await client.options(
        "/api/v1/transcribe",
        headers={"origin": "null", "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"},
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-methods"] == "GET, POST"
    assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
    asked = {"origin": "null", "access-control-request-method": "POST", "access-control-request-headers": "x-stainless-lang"}
    assert "x-stainless-lang" in (await client.options("/v1/audio/transcriptions", headers=asked)).headers["access-control-allow-headers"]
    for path in ("/api/v1/me", "/api/v1/jobs/1"):
        answer = await client.get(path, headers={"origin": "https://somewhere.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"X-Idempotent-Replay", "Retry-After", "Content-Range", "Content-Disposition"} <= set(exposed)
        assert "access-control-allow-credentials" not in answer.headers


async def test_request_id_is_kept_when_sound_and_made_otherwise(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"x-request-id": "abc-1"})).headers["x-request-id"] == "abc-1"
    assert len((await client.get("/healthz", headers={"x-request-id": "a b<"})).headers["x-request-id"]) == 32


async def test_metrics_count_requests_by_route(client: httpx2.AsyncClient) -> None:
    await client.get("/api/v1/me")
    assert 'steno_http_seconds_count{method="GET",route="native/me",status="200"}' in (await client.get("/metrics")).text
