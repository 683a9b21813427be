"""The ASGI application of the data plane."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from services.mesh.edge.limits import welcome
from services.mesh.errors import Internal, MeshError, Overloaded
from services.mesh.telemetry import get_logger
from services.storage import forms
from services.storage.blobs.blobs import BlobMissing
from services.storage.data_plane.download import send_download
from services.storage.data_plane.form import receive_form
from services.storage.data_plane.http import Disconnected, Headers, Message, Receive, Send, read_headers, send_error, send_json
from services.storage.data_plane.upload import receive_upload
from services.storage.domain import not_found
from services.storage.signing import Grant, is_data_path
from services.storage.usecases.depot import Depot

Scope = dict[str, Any]
DataPlane = Callable[[Scope, Receive, Send], Awaitable[None]]
_ALLOWED = "GET, HEAD, PUT"
_RETRY_AFTER: Headers = [(b"retry-after", b"2")]
_CLOSE: Headers = [(b"connection", b"close")]


def make_data_plane(depot: Depot, most_transfers: int) -> DataPlane:
    """The application; at most so many transfers at once."""
    transfers: set[int] = set()

    async def data_plane(scope: Scope, receive: Receive, send: Send) -> None:
        if len(transfers) >= most_transfers:
            await _refuse(Overloaded(), scope, send)
            return
        transfers.add(id(scope))
        try:
            await _answer(depot, scope, receive, send)
        finally:
            transfers.discard(id(scope))

    return data_plane


async def _answer(depot: Depot, scope: Scope, receive: Receive, send: Send) -> None:
    """One request. After the head is out, an error can only cut the connection."""
    watched = _Watched(send)
    with suppress(Disconnected):
        try:
            await _route(depot, scope, receive, watched)
        except Exception as error:
            if watched.started:
                raise
            await _refuse(_known(error, scope), scope, send)


async def _refuse(error: MeshError, scope: Scope, send: Send) -> None:
    """The error; what is left of a body is the connection's to drop."""
    headers = _RETRY_AFTER if isinstance(error, Overloaded) else []
    await send_error(send, error, [*headers, *(_CLOSE if scope["method"] in ("PUT", "POST") else [])])


async def _route(depot: Depot, scope: Scope, receive: Receive, send: Send) -> None:
    method, path = scope["method"], scope["raw_path"].decode("latin-1")
    if path == forms.PATH and method == "POST":
        await receive_form(depot, read_headers(scope), receive, send, partial(welcome, scope))
        return
    if not is_data_path(path):
        await send_json(send, 404, {"error": "Nothing is here.", "code": "NOT_FOUND"}, _CLOSE)
        return
    if method not in ("GET", "HEAD", "PUT"):
        await send_json(send, 405, {"error": "Not a method of the data plane.", "code": "METHOD_NOT_ALLOWED"}, _allow())
        return
    grant = depot.signer.verify(method, path, scope["query_string"].decode("latin-1"), datetime.now(UTC))
    welcome(scope)
    await _transfer(depot, grant, scope, receive, send)


async def _transfer(depot: Depot, grant: Grant, scope: Scope, receive: Receive, send: Send) -> None:
    headers = read_headers(scope)
    try:
        if grant.method == "PUT":
            await receive_upload(depot, grant, headers, receive, send)
        else:
            await send_download(depot, grant, scope["method"], headers, send)
    except BlobMissing as error:
        # Deleted between the row and the read, or lost: the row's next reader sees which.
        get_logger("storage.data_plane").warning("blob missing", object_id=grant.object_id)
        raise not_found(grant.kind, grant.object_id) from error


def _allow() -> Headers:
    return [(b"allow", _ALLOWED.encode()), *_CLOSE]


def _known(error: Exception, scope: Scope) -> MeshError:
    """The error itself, if it is the mesh's; the unexpected is logged and told to nobody."""
    if isinstance(error, Disconnected):
        raise error
    if isinstance(error, MeshError):
        return error
    get_logger("storage.data_plane").error("transfer failed", method=scope["method"], exc_info=error)
    return Internal()


class _Watched:
    """A `send` that remembers whether the head is out."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self._send(message)
