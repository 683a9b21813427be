"""What the tests of the Relay contract send, and what they ask of an error."""

from typing import Any

import httpx2

ROOT = "/relay/api/v1"
BOTH = ["/relay/api/v1", "/api/v1"]
UNKNOWN = "35f4be54-aa3e-4adc-85b7-b44f284d1fc3"
AUDIO = b"RIFF" + bytes(range(256)) * 8
TYPES = [{"name": "click", "description": "A short tick.", "color": "#00FF00"}, {"name": "hum"}]
FILE = {"filename": "talk.wav", "content_type": "audio/wav", "file_size": len(AUDIO)}


async def made(client: httpx2.AsyncClient, path: str, body: Any = None, status: int = 201) -> dict[str, Any]:
    """The answer to a POST that succeeds."""
    response = await (client.post(path) if body is None else client.post(path, json=body))
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def new_dataset(client: httpx2.AsyncClient, root: str = ROOT, **fields: Any) -> dict[str, Any]:
    return await made(client, f"{root}/datasets", {"name": "talks", "artifact_types": TYPES, **fields})


async def new_audio(client: httpx2.AsyncClient, dataset: str, root: str = ROOT) -> dict[str, Any]:
    """An announced file: where it is posted, and its id."""
    return await made(client, f"{root}/datasets/{dataset}/audio/upload-url", FILE, 200)


async def post_form(client: httpx2.AsyncClient, form: dict[str, Any], content: bytes = AUDIO) -> httpx2.Response:
    """What a client does with an announcement: no key, every field, then the file."""
    async with httpx2.AsyncClient(verify=False, timeout=20) as browser:
        return await browser.post(form["upload_url"], data=form["fields"], files={"file": ("talk.wav", content, "audio/wav")})


async def new_draft(client: httpx2.AsyncClient, root: str = ROOT) -> tuple[str, str]:
    """The path of a draft in a dataset with one file, and the file's id."""
    dataset = (await new_dataset(client, root))["id"]
    audio_id = (await new_audio(client, dataset, root))["audio_id"]
    draft = await made(client, f"{root}/datasets/{dataset}/annotation-sets")
    return f"{root}/datasets/{dataset}/annotation-sets/{draft['id']}", audio_id


def label(audio_id: str, **fields: Any) -> dict[str, Any]:
    return {"audio_file_id": audio_id, "artifact_type": "click", "start_ms": 100, "end_ms": 250, **fields}


def assert_detail(response: httpx2.Response, status: int) -> str:
    """A refusal in one sentence, in the words of the contract that the path belongs to."""
    body = response.json()
    assert response.status_code == status, body
    assert isinstance(body["detail"], str)
    assert body["detail"]
    _assert_names(response, body)
    sentence: str = body["detail"]
    return sentence


def assert_fields(response: httpx2.Response, place: list[str | int]) -> None:
    """A 422 that names one place."""
    body = response.json()
    assert response.status_code == 422, body
    (problem,) = body["detail"]
    assert set(problem) == {"loc", "msg", "type"}
    assert problem["loc"] == place
    assert problem["msg"]
    assert problem["type"]
    _assert_names(response, body)


def _assert_names(response: httpx2.Response, body: dict[str, Any]) -> None:
    beside_native = response.request.url.path.startswith("/api/v1")
    assert set(body) == ({"detail", "error", "code"} if beside_native else {"detail"})
    if beside_native:
        assert isinstance(body["error"], str)
        assert body["code"] == body["code"].upper()
