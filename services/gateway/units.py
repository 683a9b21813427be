"""Audio time and moments as the contracts count them."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

_MS_PER_MINUTE = 60_000
_CENTI = Decimal("0.01")


def hours(milliseconds: int) -> float:
    """Credit in hours of audio."""
    return round(milliseconds / 3_600_000, 6)


def minutes(milliseconds: int) -> float:
    """Audio time in minutes, to two decimals, ties to the even one."""
    return float((Decimal(milliseconds) / _MS_PER_MINUTE).quantize(_CENTI, ROUND_HALF_EVEN))


def seconds(milliseconds: int) -> float:
    """Audio time in seconds, to the millisecond."""
    return round(milliseconds / 1000, 3)


def timestamp(time: datetime) -> Timestamp:
    """An aware time as the mesh sends it."""
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC))
    return stamp


def rfc3339_second(message: Message, field: str) -> str | None:
    """A time of a message in RFC 3339, UTC and whole seconds, for clients that expect no fraction; None when absent."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return Timestamp(seconds=stamp.seconds).ToJsonString()
