"""Uploads that clients make by themselves: the signed PUT of storage's data plane, shown and relayed at the public root."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.addresses import TrustedProxies
from services.gateway.data_plane import SignedPut
from services.gateway.domain import Reason, Refusal
from services.gateway.limits import Slots
from services.gateway.playback import signed_query
from services.gateway.requests import content_length
from services.gateway.uploads import too_large
from services.mesh import fault, semconv

# What the data plane refuses because of the URL: unsigned, outdated, used up. All look alike from outside.
_OF_THE_URL = dict.fromkeys((400, 403, 404, 409), Reason.NOT_FOUND)


@dataclass(frozen=True)
class DirectUploads:
    """Relays signed PUTs of media. The signature is the permission: no key is asked for."""

    data_url: str
    slots: Slots
    proxies: TrustedProxies
    max_size_bytes: int
    stall_seconds: float
    answer_seconds: float
    trust: ssl.SSLContext | None = None

    def public_url(self, url: str) -> str:
        """A signed URL as clients reach it: below the public root when it leads to the data plane."""
        address, data_plane = urlsplit(url), urlsplit(self.data_url)
        if address.netloc != data_plane.netloc:
            return url
        return f"/api/v1/uploads/{address.path.rpartition('/')[2]}?{address.query}"

    async def relay(self, request: Request, media_id: str) -> Response:
        """204 once storage has the whole body. Raises Refusal: NOT_FOUND whatever is wrong with the URL."""
        url = f"{self.data_url.rstrip('/')}/media/{media_id}?{signed_query(request)}"
        self._check_head(request)
        await self.send(request, url, self.max_size_bytes, _OF_THE_URL)
        return Response(status_code=204)

    async def send(self, request: Request, url: str, most_bytes: int, refusals: Mapping[int, Reason], form_type: str = "") -> None:
        """The body to the data plane. refusals: what its statuses mean. form_type: the Content-Type of a form. Raises Refusal."""
        with self.slots.taken(self.proxies.client_address(request.scope)):
            put = await SignedPut.open(url, stall_seconds=self.stall_seconds, refusals=refusals, form_type=form_type, trust=self.trust)
            try:
                await self._pass_on(request, put, most_bytes)
            finally:
                await put.close()

    def _check_head(self, request: Request) -> None:
        if content_length(request) > self.max_size_bytes:
            raise too_large(self.max_size_bytes)
        if request.headers.get("content-encoding", "identity") != "identity" or "content-range" in request.headers:
            raise Refusal(Reason.BAD_REQUEST, "Send the whole file as it is: no Content-Encoding and no Content-Range.")

    async def _pass_on(self, request: Request, put: SignedPut, most_bytes: int) -> None:
        size_bytes = 0
        async for piece in request.stream():
            size_bytes += len(piece)
            if size_bytes > most_bytes:
                raise too_large(most_bytes)
            if piece:
                await put.write(piece)
        fault.point("gateway.relay.before_finish")
        await put.finish(self.answer_seconds)
        fault.point("gateway.relay.before_reply")
        semconv.HTTP_UPLOAD_BYTES.inc(size_bytes)
