"""Reading request fields: everything out of range is refused by name."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from services.mesh.errors import InvalidField, InvalidPageToken
from services.mesh.ids import is_id

LONGEST_NAME = 100
LARGEST_AMOUNT_MS = 10**13
"""Three centuries of audio: far from where sums of 64-bit integers end."""
DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE = 100, 1000
MOST_SCOPES = 32
_REFERENCE = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_SCOPE = re.compile(r"[a-z][a-z0-9_.:-]{0,62}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def name(value: str) -> str:
    """A name for people: 1 to 100 characters, none of them a control character."""
    if not 1 <= len(value) <= LONGEST_NAME or any(ord(character) < ord(" ") for character in value):
        raise InvalidField("A name has 1 to 100 characters.", field="name")
    return value


def identifier(value: str, field: str) -> str:
    """A UUIDv7."""
    if not is_id(value):
        raise InvalidField("Not an id.", field=field)
    return value


def reference(value: str) -> str:
    """An operator's reference: 1 to 100 of A-Z a-z 0-9 _ . : -."""
    if not _REFERENCE.fullmatch(value):
        raise InvalidField("A reference has 1 to 100 of A-Z a-z 0-9 _ . : -.", field="id")
    return value


def scopes(values: list[str]) -> list[str]:
    """Scopes of a key: at most 32 different words."""
    if len(values) > MOST_SCOPES or not all(map(_SCOPE.fullmatch, values)):
        raise InvalidField("Scopes are at most 32 words of a-z 0-9 _ . : -.", field="scopes")
    return sorted(set(values))


def amount(value_ms: int, field: str, *, least: int = 1) -> int:
    """An amount of audio in milliseconds."""
    if not least <= value_ms <= LARGEST_AMOUNT_MS:
        raise InvalidField(f"Must be {least} to {LARGEST_AMOUNT_MS}.", field=field)
    return value_ms


def time(value: Timestamp, field: str) -> datetime:
    """A time that Python and both databases can hold."""
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidField("Not a time.", field=field) from error


def page_size(value: int) -> int:
    """How many items a page has; 0 asks for 100."""
    if not 0 <= value <= LARGEST_PAGE_SIZE:
        raise InvalidField(f"Must be 0 to {LARGEST_PAGE_SIZE}.", field="page_size")
    return value or DEFAULT_PAGE_SIZE


def page_token(moment: datetime, item_id: str) -> str:
    """The place after an item of a list that is ordered by time and id."""
    place = json.dumps([(moment - _EPOCH) // _MICROSECOND, item_id])
    return base64.urlsafe_b64encode(place.encode()).decode()


def page_place(token: str) -> tuple[datetime, str] | None:
    """What `page_token` put in; None for the first page. Raises InvalidPageToken."""
    if not token:
        return None
    try:
        microseconds, item_id = json.loads(base64.urlsafe_b64decode(token.encode()))
        place = _EPOCH + _MICROSECOND * int(microseconds), str(item_id)
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
        raise InvalidPageToken from error
    if "\0" in place[1]:
        raise InvalidPageToken
    return place
