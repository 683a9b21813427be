"""Lists with numbered pages."""

from collections.abc import Sequence

from starlette.responses import JSONResponse, Response

from services.gateway.contracts.relay.rows import Row
from services.gateway.domain import Json
from services.gateway.pages import PageQuery


def page_of(page: PageQuery, items: Sequence[Row], total: int) -> Response:
    """One page of a list. total: rows on every page together."""
    body: dict[str, Json] = {"items": list(items), "total": total, "page": page.number, "page_size": page.size}
    return JSONResponse({**body, "has_more": bool(items) and page.skip + len(items) < total})
