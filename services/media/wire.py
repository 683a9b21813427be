"""The messages between a service, its fork server and a child: bounded lines of plain JSON, never pickle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from services.media.limits import Limits

LINE_BYTES = 64 * 1024
REQUEST_DESCRIPTORS = 16

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Request:
    """One run: descriptors travel beside it as lifeline, channel, inputs, outputs."""

    function: str
    arguments: dict[str, Json]
    limits: Limits
    inputs: int
    outputs: int


def encode(message: Mapping[str, Json]) -> bytes:
    """One line. Raises ValueError when it is longer than a line may be."""
    line = json.dumps(message, allow_nan=False).encode() + b"\n"
    if len(line) > LINE_BYTES:
        raise ValueError("the message is longer than a line may be")
    return line


def decode(line: bytes) -> dict[str, Json]:
    """The object in a line that a child wrote. Raises ValueError on anything else."""
    try:
        message = json.loads(line, parse_constant=refuse_constant)
    except RecursionError as error:
        raise ValueError("the message is nested too deeply") from error
    if not isinstance(message, dict) or len(message) != 1:
        raise ValueError("the message is not an object with one field")
    return message


def refuse_constant(name: str) -> NoReturn:
    """NaN and the infinities are no JSON."""
    raise ValueError(f"{name} is not JSON")


def encode_request(request: Request) -> bytes:
    """One line for the fork server."""
    return encode(asdict(request))


def decode_request(line: bytes) -> Request:
    """The request in a line from the service, which is trusted."""
    fields = json.loads(line)
    return Request(**{**fields, "limits": Limits(**fields["limits"])})
