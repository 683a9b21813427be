"""A small server that plays the Hugging Face hub: listings, redirects to a store, ranges, refusals, and breaking off."""

import asyncio
import hashlib
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

LARGE_BYTES = 20_000


@dataclass
class Repository:
    """Files by path. commit: what every revision of `revisions` means. listed_sizes: lies about sizes."""

    files: dict[str, bytes]
    commit: str = "a" * 40
    revisions: tuple[str, ...] = ("main",)
    licence: str = "mit"
    token: str = ""
    gated: bool = False
    listed_sizes: dict[str, int] = field(default_factory=dict)

    def has(self, revision: str) -> bool:
        """Whether it has the revision."""
        return revision in (*self.revisions, self.commit)


class Asked(NamedTuple):
    """One request for content."""

    method: str
    path: str
    range: str
    authorization: str
    user_agent: str


@dataclass
class Hub:
    """Repositories by id, and how to misbehave. cuts: after so many bytes the next weights break off, or hang where negative."""

    url: str = ""
    store: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    cuts: deque[int] = field(default_factory=deque)
    ignore_ranges: bool = False
    spoil: set[str] = field(default_factory=set)
    busy: int = 0
    bare: bool = False
    hanging: threading.Event = field(default_factory=threading.Event)

    def fetched(self, name: str) -> list[Asked]:
        """The requests for a file's content, at the store where it is large."""
        return [asked for asked in self.asked if asked.method == "GET" and asked.path.endswith(f"/{name}")]

    async def info(self, request: Request) -> Response:
        """`/api/models/{id}` and `/api/models/{id}/revision/{revision}`."""
        found = self._find(request)
        if isinstance(found, Response):
            return found
        blobs = request.query_params.get("blobs") == "true" and not self.bare
        siblings = [_sibling(found, path, content, blobs) for path, content in found.files.items()]
        document = {"id": _id(request), "sha": found.commit, "siblings": siblings, "cardData": {"license": found.licence}, "tags": []}
        return JSONResponse(document)

    async def resolve(self, request: Request) -> Response:
        """Content, or the way to it where it is large."""
        found = self._find(request)
        if isinstance(found, Response):
            return found
        if found.gated:
            return _refusal(403, "GatedRepo", "Access to this model is restricted.")
        path = request.path_params["path"]
        if path not in found.files:
            return _refusal(404, "EntryNotFound", "Entry not found")
        content = found.files[path]
        headers = {"x-repo-commit": found.commit, "etag": f'"{_git_digest(content)}"'}
        if len(content) < LARGE_BYTES:
            self._note(request)
            return self._content(request, content, headers)
        told = {"x-repo-commit": found.commit, "x-linked-etag": f'"{_sha256(content)}"', "x-linked-size": str(len(content))}
        return Response(status_code=302, headers={**told, "location": f"{self.store}/store/{_id(request)}/{path}"})

    async def stored(self, request: Request) -> Response:
        """Large content, on a host of its own with tags of its own."""
        self._note(request)
        if self.busy:
            self.busy -= 1
            return Response(status_code=503)
        content = self.repositories[_id(request)].files[request.path_params["path"]]
        return self._content(request, content, {"etag": '"of-the-store"'})

    def _find(self, request: Request) -> Repository | Response:
        found = self.repositories.get(_id(request))
        allowed = found is not None and (not found.token or request.headers.get("authorization") == f"Bearer {found.token}")
        if found is None or not allowed:
            return _refusal(401, "RepoNotFound", "Invalid username or password.")
        if not found.has(request.path_params.get("revision", "main")):
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        return found

    def _note(self, request: Request) -> None:
        values = (request.headers.get(name, "") for name in ("range", "authorization", "user-agent"))
        self.asked.append(Asked(request.method, request.url.path, *values))

    def _content(self, request: Request, content: bytes, headers: Mapping[str, str]) -> Response:
        name = request.path_params["path"]
        if name in self.spoil:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = request.headers.get("range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not self.ignore_ranges else 0
        body = content[start:]
        headers = {**headers, "content-length": str(len(body)), "accept-ranges": "bytes"}
        status = 200
        if start:
            status, headers["content-range"] = 206, f"bytes {start}-{len(content) - 1}/{len(content)}"
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        cut = self.cuts.popleft() if self.cuts and name.endswith(".safetensors") else len(body)
        return StreamingResponse(self._body(body, cut), status, headers)

    async def _body(self, body: bytes, cut: int) -> AsyncIterator[bytes]:
        yield body[: abs(cut)]
        if cut < 0:
            self.hanging.set()
            await asyncio.Event().wait()


def _id(request: Request) -> str:
    return f"{request.path_params['owner']}/{request.path_params['name']}"


def _sibling(repository: Repository, path: str, content: bytes, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    size = repository.listed_sizes.get(path, len(content))
    told = {"rfilename": path, "size": size, "blobId": _git_digest(content)}
    return told | ({"lfs": {"size": size, "sha256": _sha256(content), "pointerSize": 134}} if len(content) >= LARGE_BYTES else {})


def _refusal(status: int, code: str, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status, headers={"x-error-code": code, "x-error-message": sentence})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a folder, as a repository has them."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@contextmanager
def open_hub() -> Iterator[Hub]:
    """The hub, listening until the block ends."""
    hub = Hub()
    one = "{owner}/{name}"
    routes = [
        Route(f"/api/models/{one}", hub.info),
        Route(f"/api/models/{one}/revision/{{revision}}", hub.info),
        Route(f"/{one}/resolve/{{revision}}/{{path:path}}", hub.resolve, methods=["GET", "HEAD"]),
        Route(f"/store/{one}/{{path:path}}", hub.stored, methods=["GET", "HEAD"]),
    ]
    config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # Another host for whoever minds what is sent where.
        hub.url, hub.store = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        program = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(program.serve([listener])), name="hub")
        thread.start()
        try:
            yield hub
        finally:
            program.should_exit = True
            thread.join(10)
