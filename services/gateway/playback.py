"""Playback from storage's data plane: its signed path is shown below the public root, its bytes are relayed."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.gateway.domain import Reason, Refusal

_PIECE_BYTES = 256 * 1024
_ASKED = frozenset({b"range", b"if-range", b"if-none-match"})
_ANSWERED = ("content-type", "content-length", "content-range", "accept-ranges", "etag", "content-disposition")
_RELAYED = frozenset({200, 206, 304, 416})
_QUERY = re.compile(r"[A-Za-z0-9_=&.-]{1,512}")


def public_path(url: str) -> str:
    """The signed URL's path and query below the public API's version."""
    address = urlsplit(url)
    return f"/v1{address.path}?{address.query}"


def signed_query(request: Request) -> str:
    """The query of a signed URL. Raises Refusal for what cannot be one."""
    if not _QUERY.fullmatch(request.url.query):
        raise Refusal(Reason.NOT_FOUND)
    return request.url.query


@dataclass(frozen=True)
class Playback:
    """Relays signed reads of media. The signature is the permission: no key is asked for."""

    http: httpx2.AsyncClient
    data_url: str

    async def relay(self, request: Request, media_id: str) -> Response:
        """The bytes, a range of them, or 404 for whatever the data plane refuses. Raises Refusal."""
        url = f"{self.data_url.rstrip('/')}/media/{media_id}?{signed_query(request)}"
        # As bytes, because the client takes no other letters in text than those of ASCII.
        headers = [(name, value) for name, value in request.headers.raw if name in _ASKED]
        asked = self.http.build_request(request.method, url, headers=[*headers, (b"accept-encoding", b"identity")])
        try:
            answer = await self.http.send(asked, stream=True)
        except httpx2.HTTPError as error:
            raise Refusal(Reason.BACKEND_UNREACHABLE) from error
        if answer.status_code not in _RELAYED:
            await answer.aclose()
            raise Refusal(Reason.NOT_FOUND if answer.status_code < 500 else Reason.BACKEND_ERROR)
        return _Relay(answer)


class _Relay(StreamingResponse):
    def __init__(self, answer: httpx2.Response) -> None:
        headers = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
        headers.setdefault("content-disposition", "attachment")
        headers |= {"cache-control": "private, no-store", "content-security-policy": "default-src 'none'; sandbox"}
        super().__init__(answer.aiter_raw(_PIECE_BYTES), answer.status_code, headers)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()
