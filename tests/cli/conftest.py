"""A small server that plays the gateway, and the command line run against it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from services.cli import main
from tests.cli.detection import Detection, running_detection

ROOT = Path(__file__).parents[2]
KEY = "sk_test_of_the_command_line"
JOB_ID = "01890000-0000-7000-8000-000000000001"


def job(status: str, **more: Any) -> dict[str, Any]:
    """A job's row."""
    progress = {"queued": 0.0, "processing": 0.5}.get(status, 1.0)
    return {"job_id": JOB_ID, "status": status, "progress": progress, "filename": "meeting.wav", "created_at": 1776620389.79, **more}


def event(number: int, row: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"id: {number}\nevent: progress\ndata: {json.dumps(row)}\n\n".encode()


async def cut(start: bytes) -> AsyncIterator[bytes]:
    """A body that stops before the length that its headers promise."""
    yield start


@dataclass
class Gateway:
    """Answers as told, and remembers what it was asked."""

    url: str = ""
    submits: deque[Response] = field(default_factory=deque)
    streams: deque[Any] = field(default_factory=deque)
    rows: deque[dict[str, Any]] = field(default_factory=lambda: deque([job("done", speech_detected=True)]))
    result: Callable[[], Response] = lambda: Response("Hello there.", media_type="text/plain")
    requests: list[Request] = field(default_factory=list)
    forms: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    body_bytes: int = 0
    discard: bool = False
    status_refusal: Response | None = None
    followed: threading.Event = field(default_factory=threading.Event)

    def seen(self, method: str, path: str) -> list[Request]:
        """The requests of one kind."""
        return [request for request in self.requests if request.method == method and request.url.path == f"/api/v1{path}"]

    async def transcribe(self, request: Request) -> Response:
        self.requests.append(request)
        if self.discard:
            async for chunk in request.stream():
                self.body_bytes += len(chunk)
        else:
            async with request.form() as form:
                upload: Any = form["file"]
                fields = {name: value for name, value in form.items() if name != "file"}
                self.forms.append({**fields, "filename": upload.filename, "content": await upload.read()})
        return self.submits.popleft() if self.submits else JSONResponse(job("queued"), 202)

    async def events(self, request: Request) -> Response:
        self.requests.append(request)
        self.followed.set()
        answer = self.streams.popleft() if self.streams else Response(status_code=204)
        if isinstance(answer, Response):
            return answer
        return StreamingResponse(answer, media_type="text/event-stream")

    async def status(self, request: Request) -> Response:
        self.requests.append(request)
        if self.status_refusal is not None:
            return self.status_refusal
        row = self.rows.popleft() if len(self.rows) > 1 else self.rows[0]
        return JSONResponse(row)

    async def transcript(self, request: Request) -> Response:
        self.requests.append(request)
        return self.result()

    async def anything(self, request: Request) -> Response:
        """Keys, /me, lists: whatever answer was set for the method and path."""
        self.requests.append(request)
        self.bodies.append(await request.json() if await request.body() else None)
        answers: dict[tuple[str, str], Response] = request.app.state.answers
        return answers[request.method, request.url.path.removeprefix("/api/v1")]


class Server(NamedTuple):
    gateway: Gateway
    answers: dict[tuple[str, str], Response]


@pytest.fixture
def server() -> Iterator[Server]:
    """The server, listening."""
    gateway = Gateway()
    routes = [
        Route("/api/v1/transcribe", gateway.transcribe, methods=["POST"]),
        Route("/api/v1/jobs/{job_id}/events", gateway.events),
        Route("/api/v1/jobs/{job_id}/result", gateway.transcript),
        Route("/api/v1/jobs/{job_id}", gateway.status, methods=["GET"]),
        Route("/api/v1/{path:path}", gateway.anything, methods=["GET", "POST", "DELETE"]),
    ]
    app = Starlette(routes=routes)
    app.state.answers = {}
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gateway.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        program = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(program.serve([listener])), name="gateway")
        thread.start()
        try:
            yield Server(gateway, app.state.answers)
        finally:
            program.should_exit = True
            thread.join(10)


@pytest.fixture
def gateway(server: Server) -> Gateway:
    """What plays the gateway."""
    return server.gateway


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def steno(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command line in this process."""
    monkeypatch.setenv("STENO_URL", gateway.url)
    monkeypatch.setenv("STENO_API_KEY", KEY)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["steno", *arguments])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        return Outcome(status, *capsys.readouterr())

    return run


def start(url: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command line as a process of its own."""
    environment = {**os.environ, "STENO_URL": url, "STENO_API_KEY": KEY, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}
    return subprocess.Popen([sys.executable, "-P", "-m", "services.cli", *arguments], env=environment, **options)


@pytest.fixture
def spawn(gateway: Gateway) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the command line as a process of its own."""
    return lambda *arguments, **options: start(gateway.url, *arguments, **options)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Some bytes to send: what plays the gateway does not look at them."""
    path = tmp_path / "meeting.wav"
    path.write_bytes(os.urandom(300_000))
    return path


@pytest.fixture
def detection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Detection]:
    """The server; the command line knows its address."""
    with running_detection() as found:
        monkeypatch.setenv("STENO_URL", found.url)
        yield found


@pytest.fixture
def datasets(steno: Callable[..., Outcome], detection: Detection, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs `steno datasets` against it."""
    monkeypatch.setenv("STENO_URL", detection.url)
    return lambda *arguments: steno("datasets", *map(str, arguments))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, two of them with Audacity's labels."""
    found = tmp_path / "calls"
    (found / "deep").mkdir(parents=True)
    for name in ("a.wav", "b.mp3", "deep/c.flac"):
        (found / name).write_bytes(os.urandom(1000))
    (found / "a.txt").write_text("1.25\t1.30\tclick\n\\\t10\t20\n2.0\t4.0\thum\n")
    (found / "deep" / "c.txt").write_text("0.5\t0.6\tclick\n")
    (found / "notes.txt").write_text("nothing of a recording")
    (found / ".hidden.wav").write_bytes(b"RIFF")
    return found
