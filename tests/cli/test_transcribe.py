"""`steno transcribe` against a server that plays the gateway."""

import asyncio
import os
import pty
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from starlette.responses import Response, StreamingResponse

from tests.cli.answers import error
from tests.cli.conftest import JOB_ID, KEY, Gateway, Outcome, cut, event, job

Steno = Callable[..., Outcome]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


async def _stream(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionResetError


async def _endless() -> AsyncIterator[bytes]:
    yield event(1, job("processing"))
    await asyncio.sleep(60)


def test_recording_arrives_whole_and_transcript_is_printed(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.streams.append(_stream(event(1, job("queued")), event(2, job("processing")), event(3, job("done"))))
    outcome = steno("transcribe", str(recording), "--language", "en", "--no-diarize", "--speakers", "3", "--strict")
    assert outcome == Outcome(0, "Hello there.\n", "")
    assert gateway.forms == [
        {
            "source": "api",
            "language": "en",
            "diarize": "false",
            "word_timestamps": "true",
            "speaker_count": "3",
            "strict": "true",
            "filename": "meeting.wav",
            "content": recording.read_bytes(),
        }
    ]
    assert gateway.seen("POST", "/transcribe")[0].headers["x-api-key"] == KEY
    assert gateway.seen("GET", f"/jobs/{JOB_ID}/result")[0].query_params["format"] == "txt"


def test_broken_event_stream_is_resumed_where_it_broke(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.rows = deque([job("processing"), job("done")])
    gateway.streams.append(_broken(event(7, job("queued")), event(8, job("processing"))))
    gateway.streams.append(_stream(event(9, job("done"))))
    assert steno("transcribe", str(recording)).status == 0
    asked = gateway.seen("GET", f"/jobs/{JOB_ID}/events")
    assert [request.headers.get("last-event-id") for request in asked] == [None, "8"]


def test_job_is_polled_while_no_stream_is_to_be_had(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.rows = deque([job("queued"), job("processing"), job("done")])
    gateway.streams.extend(error(503, "OVERLOADED", "Too many streams.") for _ in range(5))
    outcome = steno("transcribe", str(recording))
    assert (outcome.status, outcome.out) == (0, "Hello there.\n")


def test_refusal_is_told_with_its_code(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.submits.append(error(401, "INVALID_API_KEY", "The API key is unknown."))
    assert steno("transcribe", str(recording)) == Outcome(1, "", "The API key is unknown. (INVALID_API_KEY)\n")
    assert len(gateway.seen("POST", "/transcribe")) == 1


def test_busy_server_gets_the_same_request_again(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.submits.append(error(503, "OVERLOADED", "Come back.", **{"retry-after": "1"}))
    assert steno("transcribe", str(recording)).status == 0
    first, second = gateway.seen("POST", "/transcribe")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert [form["content"] for form in gateway.forms] == [recording.read_bytes()] * 2


def test_lost_answer_is_asked_for_again_under_the_same_key(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.submits.append(StreamingResponse(cut(b'{"job'), 202, {"content-length": "500"}))
    assert steno("transcribe", str(recording), "--idempotency-key", "meeting-1").status == 0
    keys = [request.headers["idempotency-key"] for request in gateway.seen("POST", "/transcribe")]
    assert keys == ["meeting-1", "meeting-1"]


def test_failed_job_ends_with_its_reason(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.rows = deque([job("failed", error="The audio cannot be decoded.", error_code="MEDIA_UNPROCESSABLE")])
    outcome = steno("transcribe", str(recording))
    assert (outcome.status, outcome.out) == (1, "")
    assert "The audio cannot be decoded. (MEDIA_UNPROCESSABLE)" in outcome.err


def test_recording_without_speech_is_no_failure(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.rows = deque([job("done", speech_detected=False)])
    gateway.result = lambda: Response("", media_type="text/plain")
    outcome = steno("transcribe", str(recording))
    assert (outcome.status, outcome.out) == (0, "")
    assert "no speech" in outcome.err


def test_detached_transcription_prints_only_the_id(steno: Steno, gateway: Gateway, recording: Path) -> None:
    assert steno("transcribe", str(recording), "--detach") == Outcome(0, f"{JOB_ID}\n", "")
    assert not gateway.seen("GET", f"/jobs/{JOB_ID}/events")


def test_output_file_holds_the_transcript(steno: Steno, gateway: Gateway, recording: Path, tmp_path: Path) -> None:
    gateway.result = lambda: Response(b"PK\x03\x04 a document")
    target = tmp_path / "meeting.docx"
    assert steno("transcribe", str(recording), "--format", "docx", "--output", str(target)) == Outcome(0, "", "")
    assert target.read_bytes() == b"PK\x03\x04 a document"


def test_broken_download_leaves_the_old_file(steno: Steno, gateway: Gateway, recording: Path, tmp_path: Path) -> None:
    gateway.result = lambda: StreamingResponse(cut(b"Hel"), 200, {"content-length": "500"})
    target = tmp_path / "meeting.txt"
    target.write_text("before")
    assert steno("transcribe", str(recording), "--output", str(target)).status == 1
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meeting.txt", "meeting.wav"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("missing.wav",), "cannot read missing.wav"),
        (("{recording}", "--output", "nowhere/meeting.txt"), "there is no folder nowhere"),
        (("{recording}", "--output", "{recording}", "--detach"), "--detach"),
    ],
)
def test_hopeless_order_is_refused_before_the_upload(
    steno: Steno, gateway: Gateway, recording: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    outcome = steno("transcribe", *(part.format(recording=recording) for part in arguments))
    assert outcome.status in (1, 2)
    assert sentence in outcome.err
    assert not gateway.requests


def test_document_is_not_poured_over_a_terminal(spawn: Spawn, gateway: Gateway, recording: Path) -> None:
    leader, follower = pty.openpty()
    process = spawn("transcribe", str(recording), "--format", "docx", stdout=follower, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=30)
    os.close(follower)
    os.close(leader)
    assert process.returncode == 2
    assert b"--output" in err
    assert not gateway.requests


def test_standard_input_is_sent(spawn: Spawn, gateway: Gateway, recording: Path) -> None:
    process = spawn("transcribe", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(recording.read_bytes(), timeout=30)
    assert (process.returncode, out, err) == (0, b"Hello there.\n", b"")
    assert gateway.forms[0]["content"] == recording.read_bytes()
    assert gateway.seen("POST", "/transcribe")[0].headers["transfer-encoding"] == "chunked"


def test_interrupted_wait_says_that_the_job_goes_on(spawn: Spawn, gateway: Gateway, recording: Path) -> None:
    gateway.rows = deque([job("processing")])
    gateway.streams.append(_endless())
    process = spawn("transcribe", str(recording), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert gateway.followed.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert f"steno jobs result {JOB_ID}".encode() in err


def test_bar_is_drawn_on_a_terminal(spawn: Spawn, gateway: Gateway, recording: Path) -> None:
    gateway.streams.append(_stream(event(1, job("processing")), event(2, job("done"))))
    leader, follower = pty.openpty()
    process = spawn("transcribe", str(recording), stdout=subprocess.PIPE, stderr=follower)
    out, _ = process.communicate(timeout=30)
    os.close(follower)
    drawn = os.read(leader, 100_000)
    os.close(leader)
    assert (process.returncode, out) == (0, b"Hello there.\n")
    assert b"Uploading" in drawn


def _peak_bytes(process: "subprocess.Popen[bytes]") -> int:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def test_large_upload_takes_no_memory(spawn: Spawn, gateway: Gateway, tmp_path: Path) -> None:
    gateway.discard = True
    small, large = tmp_path / "small.wav", tmp_path / "large.wav"
    small.write_bytes(b"RIFF")
    with large.open("wb") as file:
        file.truncate(96 * 1024**2)
    peaks = [_peak_bytes(spawn("transcribe", str(path), "--detach", stdout=subprocess.DEVNULL)) for path in (small, large)]
    assert gateway.body_bytes > 96 * 1024**2
    assert peaks[1] - peaks[0] < 16 * 1024**2


def test_missing_key_says_where_keys_come_from(steno: Steno, monkeypatch: pytest.MonkeyPatch, recording: Path) -> None:
    monkeypatch.delenv("STENO_API_KEY")
    outcome = steno("transcribe", str(recording))
    assert outcome.status == 1
    assert "STENO_API_KEY" in outcome.err
    assert "steno up" in outcome.err


def test_absent_server_is_told_with_what_to_do(
    steno: Steno, monkeypatch: pytest.MonkeyPatch, recording: Path, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("STENO_URL", f"http://127.0.0.1:{unused_tcp_port}")
    outcome = steno("transcribe", str(recording))
    assert outcome.status == 1
    assert "steno up" in outcome.err


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://127.0.0.1", "http://"])
def test_unusable_address_is_named(steno: Steno, monkeypatch: pytest.MonkeyPatch, recording: Path, url: str) -> None:
    monkeypatch.setenv("STENO_URL", url)
    outcome = steno("transcribe", str(recording))
    assert outcome.status == 1
    assert "STENO_URL" in outcome.err


def test_answer_of_something_else_is_no_traceback(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.submits.append(Response("<html>A proxy</html>", 404, media_type="text/html"))
    outcome = steno("transcribe", str(recording))
    assert outcome.status == 1
    assert "is it a Steno server?" in outcome.err


def test_job_deleted_meanwhile_ends_the_wait(steno: Steno, gateway: Gateway, recording: Path) -> None:
    gateway.streams.append(error(404, "NOT_FOUND", "There is nothing here."))
    gateway.status_refusal = error(404, "NOT_FOUND", "There is nothing here.")
    assert steno("transcribe", str(recording)) == Outcome(1, "", "There is nothing here. (NOT_FOUND)\n")
