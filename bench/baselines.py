"""What the mesh is compared with: plain servers, each in a process of its own. `python -m bench.baselines FOLDER PORT`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import uvicorn
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.servers import free_port

_START_SECONDS = 20.0
_PIECE_BYTES = 256 * 1024
ROW_FILE = "row.json"


@dataclass(frozen=True)
class Plain:
    """A running plain server."""

    url: str
    pid: int
    ready_seconds: float


def make_app(folder: Path) -> ASGIApp:
    """Uploads end in a file of the folder, unsynced unless the query says so; a row is what `row.json` there holds."""
    stored = json.loads((folder / ROW_FILE).read_text()) if (folder / ROW_FILE).exists() else {}

    async def row(request: Request) -> Response:
        return JSONResponse({**stored, "job_id": request.path_params["job_id"]})

    async def healthy(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def callback(request: Request) -> Response:
        with (folder / "callback.bin").open("wb") as file:
            await _parse(request, file)
        return JSONResponse({}, 201)

    async def form(request: Request) -> Response:
        async with request.form() as fields:
            upload = fields["file"]
            assert not isinstance(upload, str)
            with (folder / "form.bin").open("wb") as file:
                while piece := await upload.read(_PIECE_BYTES):
                    file.write(piece)
        return JSONResponse({}, 201)

    async def put(request: Request) -> Response:
        with (folder / "put.bin").open("wb") as file:
            async for piece in request.stream():
                file.write(piece)
            if "synced" in request.query_params:
                file.flush()
                os.fsync(file.fileno())
        return JSONResponse({}, 201)

    async def download(request: Request) -> Response:
        path = folder / "put.bin"
        return StreamingResponse(_pieces(path), headers={"content-length": str(path.stat().st_size)})

    return Starlette(
        routes=[
            Route("/healthz", healthy),
            Route("/jobs/{job_id}", row),
            Route("/callback", callback, methods=["POST"]),
            Route("/form", form, methods=["POST"]),
            Route("/put", put, methods=["PUT"]),
            Route("/put", download, methods=["GET"]),
        ]
    )


async def _parse(request: Request, file: IO[bytes]) -> None:
    """The body's one part, written as the parser hands it out."""
    _, options = parse_options_header(request.headers["content-type"])

    def on_part_data(data: bytes, start: int, end: int) -> None:
        file.write(data[start:end])

    parser = MultipartParser(options[b"boundary"], {"on_part_data": on_part_data})
    async for piece in request.stream():
        parser.write(piece)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


@contextmanager
def running_plain(folder: Path) -> Iterator[Plain]:
    """The plain server, listening, until left."""
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "bench.baselines", str(folder), str(port)])
    try:
        _wait_listening(process.pid, port)
        yield Plain(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(timeout=_START_SECONDS)


def _wait_listening(pid: int, port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        listening = (connection.laddr.port for connection in psutil.Process(pid).net_connections() if connection.status == "LISTEN")
        if port in listening:
            return
        time.sleep(0.02)
    raise TimeoutError("the plain server does not listen")


def main() -> None:
    """Serve until stopped."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    uvicorn.run(make_app(folder), host="127.0.0.1", port=port, access_log=False, log_level="error")


if __name__ == "__main__":
    main()
