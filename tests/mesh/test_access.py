"""What a method's rule asks of its caller, and what a refusal tells every client."""

from dataclasses import replace

import pytest
from google.rpc import error_details_pb2, status_pb2

from services.mesh.errors import InsufficientScope, Overloaded
from services.mesh.identity import Caller, CallerKind, Scope
from services.mesh.interceptors import Rule, check_access
from services.mesh.status import to_status
from steno.access.v1 import access_pb2

WORKSPACE_KEY = Caller(CallerKind.KEY, "gateway", "w", "workspace")


def test_error_that_says_when_to_come_back_says_so_to_every_client() -> None:
    status = to_status(Overloaded(retry_after_seconds="2"))
    details = status_pb2.Status.FromString(status.trailing_metadata[0][1]).details
    retry = error_details_pb2.RetryInfo()
    assert [detail.TypeName() for detail in details] == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"]
    assert details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 2


@pytest.mark.parametrize(
    ("rule", "scopes", "allowed"),
    [
        (Rule(access_pb2.ACCESS_IDENTIFIED, None), ("admin",), True),
        (Rule(access_pb2.ACCESS_IDENTIFIED, Scope.WRITE), ("admin",), False),
        (Rule(access_pb2.ACCESS_IDENTIFIED, Scope.WRITE), ("write",), True),
    ],
)
def test_whoever_is_identified_needs_the_scope_that_a_method_names(rule: Rule, scopes: tuple[str, ...], allowed: bool) -> None:
    check_access(Caller(CallerKind.SERVICE, "jobs"), rule)
    try:
        check_access(replace(WORKSPACE_KEY, scopes=scopes), rule)
        refused = False
    except InsufficientScope:
        refused = True
    assert refused is not allowed
