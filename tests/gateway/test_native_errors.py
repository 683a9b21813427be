"""The native contract's error table."""

import grpc
import pytest
from starlette.exceptions import HTTPException

from services.gateway.contracts.native.errors import ANSWERS, native_errors
from services.gateway.domain import Reason, Refusal
from services.mesh.status import RemoteError

ERRORS = native_errors(upgrade_url="/shop")
SCOPE = {"type": "http", "path": "/x"}


def test_only_the_laws_statuses_are_5xx() -> None:
    assert {answer.status for answer in ANSWERS.values() if answer.status >= 500} == {502, 503}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RemoteError(grpc.StatusCode.INTERNAL, "INTERNAL", "secret path"), 502, b"BACKEND_ERROR"),
        (RemoteError(grpc.StatusCode.DEADLINE_EXCEEDED, "SERVICE_UNAVAILABLE", "x"), 502, b"BACKEND_ERROR"),
        (RemoteError(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", "ipv4:10.0.0.1"), 502, b"BACKEND_UNREACHABLE"),
        (RemoteError(grpc.StatusCode.UNKNOWN, "NEVER_HEARD_OF", "x"), 502, b"BACKEND_ERROR"),
        (RemoteError(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "x"), 503, b"OVERLOADED"),
        (ZeroDivisionError("/etc/secret"), 502, b"BACKEND_ERROR"),
        (HTTPException(418, "x" * 1000), 400, b"BAD_REQUEST"),
    ],
)
def test_faults_tell_nothing_of_the_inside(error: Exception, status: int, code: bytes) -> None:
    response = ERRORS.render(SCOPE, error)
    assert response.status_code == status
    body = bytes(response.body)
    assert b'"code":"' + code + b'"' in body
    assert not any(inside in body for inside in (b"secret", b"/etc", b"10.0.0.1", b"xxxx", b"Traceback"))


def test_field_errors_of_other_services_name_the_field() -> None:
    error = RemoteError(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "A prompt is short.", field="config.prompt")
    assert b'"loc":["body","prompt"]' in bytes(ERRORS.render(SCOPE, error).body)


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.STORE_FULL, Reason.RATE_LIMITED])
def test_come_back_later_says_when(reason: Reason) -> None:
    assert ERRORS.render(SCOPE, Refusal(reason, retry_after_seconds=7)).headers["retry-after"] == "7"
    assert int(ERRORS.render(SCOPE, Refusal(reason)).headers["retry-after"]) > 0
