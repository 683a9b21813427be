"""JSON documents of issuers, fetched within narrow limits."""

import json
from typing import Any

from services.gateway.identity.signing_keys import FETCH_SECONDS, FetchJson
from services.mesh.egress.egress import Egress
from services.mesh.egress.limits import FetchLimits
from services.mesh.egress.reply import ReplyTooLarge

MAX_DOCUMENT_BYTES = 256 * 1024
# No redirects: an issuer's addresses are configuration. No floor: the operator chose them, not a client.
ISSUER_LIMITS = FetchLimits(
    resolve_seconds=FETCH_SECONDS,
    connect_seconds=FETCH_SECONDS,
    idle_seconds=FETCH_SECONDS,
    total_seconds=FETCH_SECONDS,
    max_redirects=0,
    floor_seconds=0.0,
)


def fetching(egress: Egress) -> FetchJson:
    """Reads documents through this way out."""

    async def fetch(url: str) -> tuple[Any, str]:
        try:
            async with egress.stream(url, max_bytes=MAX_DOCUMENT_BYTES, headers={"Accept": "application/json"}) as reply:
                body = b"".join([piece async for piece in reply.pieces()])
        except ReplyTooLarge as error:
            raise ValueError("too large") from error
        return json.loads(body), reply.headers.get("cache-control", "")

    return fetch
