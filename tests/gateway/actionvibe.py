"""What the tests of the ActionVibe contract send, and what they ask of an error."""

from typing import Any

import httpx2

from tests.gateway.native import AUDIO

SPELLINGS = ["/api/", "/api-", "/actionvibe/api/", "/actionvibe/api-"]
UNKNOWN = "35f4be54-aa3e-4adc-85b7-b44f284d1fc3"


async def upload(
    client: httpx2.AsyncClient, content: bytes = AUDIO, *, start: str = "/api/", headers: dict[str, str] | None = None, **fields: Any
) -> Any:
    return await client.post(f"{start}transcriptions", files={"file": ("meeting.mp3", content)}, data=fields, headers=headers or {})


async def uploaded(client: httpx2.AsyncClient, **fields: Any) -> str:
    response = await upload(client, **fields)
    assert response.status_code == 201, response.text
    job_id: str = response.json()["transcription_id"]
    return job_id


def assert_code(response: httpx2.Response, status: int, code: str) -> str:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body.get("code")) == (status, code), body
    assert set(body) == {"error", "code"}
    assert isinstance(body["error"], str)
    assert body["error"]
    assert response.headers["x-request-id"]
    return body["error"]
