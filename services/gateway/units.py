"""Audio time and moments as the contracts count them."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def hours(milliseconds: int) -> float:
    """Credit in hours of audio."""
    return round(milliseconds / 3_600_000, 6)


def seconds(milliseconds: int) -> float:
    """Audio time in seconds, to the millisecond."""
    return round(milliseconds / 1000, 3)


def timestamp(time: datetime) -> Timestamp:
    """An aware time as the mesh sends it."""
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC))
    return stamp
