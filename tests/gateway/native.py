"""What the tests of the native contract send, and what they ask of an error."""

from typing import Any

import httpx2

from steno.jobs.v1.transcript_pb2 import Segment, Transcript, Word

AUDIO = b"RIFF" + bytes(range(256)) * 40
TRANSCRIPT = Transcript(
    text="Good morning. Hello.",
    language="en",
    speech_detected=True,
    speech_ratio=0.5,
    engine="local",
    model="m",
    speakers=["SPEAKER_00", "SPEAKER_01"],
    segments=[
        Segment(
            id=0,
            start_offset_ms=0,
            end_offset_ms=1200,
            speaker="SPEAKER_00",
            text="Good morning.",
            words=[Word(start_offset_ms=0, end_offset_ms=500, text="Good"), Word(start_offset_ms=500, end_offset_ms=1200, text="morning.")],
        ),
        Segment(id=1, start_offset_ms=1500, end_offset_ms=2000, speaker="SPEAKER_01", text="Hello."),
    ],
)


async def submit(client: httpx2.AsyncClient, content: bytes = AUDIO, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return await client.post("/api/v1/transcribe", files={"file": ("talk.wav", content)}, data=fields, headers=headers or {})


def assert_error(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert isinstance(body["error"], str)
    assert body["error"]
    assert body["detail"]
    assert response.headers["x-request-id"]
    return body
