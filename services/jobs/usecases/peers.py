"""Calls to the services that jobs depends on."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from services.mesh.errors import ServiceUnavailable
from services.mesh.status import RemoteError

NO_ANSWER = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


@contextmanager
def reaching(service: str) -> Iterator[None]:
    """Refusals pass through; no answer becomes ServiceUnavailable with the service's name."""
    try:
        yield
    except RemoteError as error:
        if error.code in NO_ANSWER:
            raise ServiceUnavailable(service=service) from error
        raise
