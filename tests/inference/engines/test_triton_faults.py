"""Triton's statuses are told apart: what is gone, full, not ready, dead, wrong, and what may be asked again."""

import grpc
import pytest

from services.inference.engines.triton.faults import Fault, classify

REFUSED_CONNECTION = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:8001: Failed to connect to remote host: Connection refused"
)
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("code", "message", "fault", "reached"),
    [
        (UNAVAILABLE, REFUSED_CONNECTION, Fault.GONE, False),
        (UNAVAILABLE, "DNS resolution failed for triton:8001", Fault.GONE, False),
        (UNAVAILABLE, "Stream removed (Socket closed)", Fault.GONE, True),
        (UNAVAILABLE, "keepalive watchdog timeout", Fault.GONE, True),
        (UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size", Fault.FULL, False),
        (UNAVAILABLE, "Request timeout expired", Fault.FULL, False),
        (UNAVAILABLE, "Request for unknown model: 'whisper' version 1 is not at ready state", Fault.UNREADY, False),
        (UNAVAILABLE, "This protocol is restricted, expecting header 'triton-grpc-protocol-key'", Fault.REFUSED, False),
        (UNAVAILABLE, "explicit model load / unload is not allowed if polling is enabled", Fault.REFUSED, False),
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'whisper' has no available versions", Fault.UNREADY, False),
        (grpc.StatusCode.INTERNAL, "Stub process 'whisper_0' is not healthy.", Fault.DEAD, True),
        (grpc.StatusCode.INTERNAL, "Failed to process the request(s) for model 'whisper_0', message: ValueError", Fault.FAILED, True),
        (grpc.StatusCode.UNKNOWN, "unexpected", Fault.FAILED, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", Fault.LATE, True),
        (grpc.StatusCode.INVALID_ARGUMENT, "temperature lies between 0 and 1", Fault.REFUSED, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max", Fault.REFUSED, True),
        (grpc.StatusCode.CANCELLED, "CANCELLED", Fault.GONE, True),
    ],
)
def test_status_and_message_say_what_went_wrong(code: grpc.StatusCode, message: str, fault: Fault, reached: bool) -> None:
    failure = classify(code, message)
    assert (failure.fault, failure.reached) == (fault, reached)
    assert message in str(failure)
