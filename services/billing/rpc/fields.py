"""Reading request fields: everything out of range is refused by name."""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.billing.domain import InvalidPaymentEvent
from services.mesh.errors import InvalidField, InvalidPageToken
from services.mesh.ids import is_id

LONGEST_NAME = 100
LARGEST_AMOUNT_MS = 10**13
"""Three centuries of audio: far from where sums of 64-bit integers end."""
DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE = 100, 1000
MOST_SCOPES = 32
LONGEST_TTL = timedelta(hours=1)
LONGEST_EMAIL = 254
LONGEST_URL = 2048
LARGEST_PAYMENT_EVENT_BYTES = 64 * 1024
_REFERENCE = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]+")
_URL = re.compile(r"[!-~]+")
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
        raise InvalidField(f"The {field} is not an id.", field=field)
    return value


def reference(value: str) -> str:
    """An operator's reference: 1 to 100 of A-Z a-z 0-9 _ . : -."""
    if not _REFERENCE.fullmatch(value):
        raise InvalidField("A reference has 1 to 100 of A-Z a-z 0-9 _ . : -.", field="id")
    return value


def scopes(values: Sequence[str]) -> Sequence[str]:
    """Scopes of a key: at most 32."""
    if len(values) > MOST_SCOPES:
        raise InvalidField(f"At most {MOST_SCOPES} scopes.", field="scopes")
    return values


def email(value: str) -> str:
    """An e-mail address, in lower case: its form is checked no further than storing it needs."""
    if not _EMAIL.fullmatch(value) or len(value) > LONGEST_EMAIL or not value.isprintable():
        raise InvalidField("Not an e-mail address.", field="email")
    return value.lower()


def web_url(value: str, field: str) -> str:
    """An absolute http(s) URL without credentials."""
    try:
        parts = urlsplit(value)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError as error:
        raise InvalidField("Not an http(s) URL.", field=field) from error
    if not fit or len(value) > LONGEST_URL or not _URL.fullmatch(value):
        raise InvalidField("Not an http(s) URL.", field=field)
    return value


def payment_event(payload: bytes) -> bytes:
    """What a payment provider sends: at most 64 KiB."""
    if len(payload) > LARGEST_PAYMENT_EVENT_BYTES:
        raise InvalidPaymentEvent("The payment event is too large.")
    return payload


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


def ttl(value: Duration, field: str) -> timedelta:
    """How long a hold stands unless renewed: more than nothing, at most an hour."""
    if not 0 <= value.seconds <= LONGEST_TTL.total_seconds() or not timedelta() < value.ToTimedelta() <= LONGEST_TTL:
        raise InvalidField("Must be more than 0 and at most an hour.", field=field)
    return value.ToTimedelta()


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
