"""Ready media of every workspace, page by page."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.mesh.errors import InvalidPageToken
from services.storage.domain import Span, page_size
from services.storage.store import objects
from services.storage.store.tables import Media
from services.storage.usecases.depot import Depot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT = struct.Struct(">q16s")


@dataclass(frozen=True, slots=True)
class Page:
    """Some media, and where the list goes on; an empty token ends it."""

    media: Sequence[Media]
    next_page_token: str


async def list_media(depot: Depot, begin: datetime, before: datetime, size: int, token: str) -> Page:
    """A page of what was announced from `begin` on and before `before`. Raises InvalidField, InvalidPageToken."""
    size = page_size(size)
    # No id is empty, so this place is before everything announced at `begin`.
    span = Span(read_token(token) if token else (begin, ""), before)
    async with depot.database.reading() as session:
        rows = await objects.list_ready_media(session, span, size + 1)
    more = len(rows) > size
    return Page(rows[:size], write_token(rows[size - 1]) if more else "")


def write_token(last: Media) -> str:
    """The token of the page after this media."""
    micros = (last.create_time - _EPOCH) // timedelta(microseconds=1)
    return urlsafe_b64encode(_LAYOUT.pack(micros, UUID(last.id).bytes)).decode().rstrip("=")


def read_token(token: str) -> tuple[datetime, str]:
    """The place that a token names. Raises InvalidPageToken."""
    try:
        micros, place = _LAYOUT.unpack(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return _EPOCH + timedelta(microseconds=micros), str(UUID(bytes=place))
    except (Base64Error, struct.error, ValueError, OverflowError) as error:
        raise InvalidPageToken from error
