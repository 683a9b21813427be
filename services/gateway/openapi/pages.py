"""GET /openapi.json, and the page at /docs with everything that it loads."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.gateway.contract import Contract
from services.gateway.endpoint import open_route
from services.gateway.openapi.document import make_document
from services.gateway.operation import JSON_TYPE

_STATIC = files("services.gateway.openapi").joinpath("static")
_PAGE_FILES = {
    "/docs": ("index.html", "text/html; charset=utf-8"),
    "/docs/start.js": ("start.js", "text/javascript"),
    "/docs/swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript"),
    "/docs/swagger-ui.css": ("swagger-ui.css", "text/css"),
}
# Swagger UI sets styles on elements and draws with data: images; nothing comes from another host.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Page:
    """Bytes that stay the same for as long as the process lives."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self._content = content
        self._headers = {
            "content-type": media_type,
            "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "cache-control": "no-cache",
            "content-security-policy": _POLICY,
        }

    async def __call__(self, request: Request) -> Response:
        if self._headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"etag": self._headers["etag"]})
        return Response(self._content, headers=self._headers)


def page_routes(contracts: Sequence[Contract]) -> list[Route]:
    """The document and the page; made once."""
    document = json.dumps(make_document(contracts, version("steno")), ensure_ascii=False, separators=(",", ":"))
    pages = {path: _Page(_STATIC.joinpath(name).read_bytes(), media_type) for path, (name, media_type) in _PAGE_FILES.items()}
    pages["/openapi.json"] = _Page(document.encode(), JSON_TYPE)
    return [open_route(path, page) for path, page in pages.items()]
