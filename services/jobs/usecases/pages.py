"""Page tokens: where a list goes on, sealed to the list it belongs to."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final
from uuid import UUID

from services.jobs.store.listing import Place, Query
from services.mesh.errors import InvalidField, InvalidPageToken
from steno.jobs.v1.job_pb2 import Job

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT: Final = struct.Struct(">q16s8s")


def write_token(query: Query, create_time: datetime, job_id: str) -> str:
    """The token of the page after that job."""
    micros = (create_time - _EPOCH) // timedelta(microseconds=1)
    place = UUID(job_id).bytes
    return urlsafe_b64encode(_LAYOUT.pack(micros, place, _seal(query, micros, place))).decode().rstrip("=")


def read_token(query: Query, token: str) -> Query:
    """The query, going on from the token. Raises InvalidPageToken for one of another list."""
    if not token:
        return query
    try:
        micros, place, seal = _LAYOUT.unpack(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        after = Place(_EPOCH + timedelta(microseconds=micros), str(UUID(bytes=place)))
    except (Base64Error, struct.error, ValueError, OverflowError) as error:
        raise InvalidPageToken() from error
    if seal != _seal(query, micros, place):
        raise InvalidPageToken()
    return replace(query, after=after)


def check_states(states: Iterable[int]) -> tuple[int, ...]:
    """The states asked for, each once. Raises InvalidField for one that does not exist."""
    chosen = tuple(sorted(set(states)))
    if any(state not in Job.State.values() or state == Job.STATE_UNSPECIFIED for state in chosen):
        raise InvalidField("states holds an unknown state.", field="states")
    return chosen


def check_skip(skip: int) -> int:
    """Raises InvalidField below 0."""
    if skip < 0:
        raise InvalidField("skip is 0 or more.", field="skip")
    return skip


def _seal(query: Query, micros: int, place: bytes) -> bytes:
    """Not a secret: a token only says where to go on in a list that is the caller's anyway."""
    scope = "\0".join([query.workspace_id, query.owner, *map(str, query.states)])
    return blake2b(scope.encode() + struct.pack(">q", micros) + place, digest_size=8).digest()
