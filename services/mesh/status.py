"""Errors ↔ gRPC status: one table, always with google.rpc.ErrorInfo."""

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.mesh.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    MeshError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

DOMAIN = "steno"
# The key of an error's data that becomes a google.rpc.RetryInfo too.
RETRY_AFTER = "retry_after_seconds"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

CODES: dict[type[MeshError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    Aborted: grpc.StatusCode.ABORTED,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Internal: grpc.StatusCode.INTERNAL,
}


class RemoteError(MeshError):
    """Another service refused or failed the call."""

    def __init__(self, code: grpc.StatusCode, reason_name: str, message: str, **metadata: str) -> None:
        super().__init__(message, **metadata)
        self.code = code
        self.reason_name = reason_name

    def __str__(self) -> str:
        known = "".join(f" {name}={value}" for name, value in self.metadata.items())
        return f"{self.code.name} {self.reason_name}: {self.message}{known}"


def code_of(error: MeshError) -> grpc.StatusCode:
    """The status of an error's meaning; a remote error keeps the one it came with."""
    if isinstance(error, RemoteError):
        return error.code
    meaning = next(base for base in type(error).__mro__ if base in CODES)
    return CODES[meaning]


def reason_of(error: MeshError) -> str:
    """UPPER_SNAKE reason; a remote error keeps the one it came with."""
    return error.reason_name if isinstance(error, RemoteError) else error.reason()


def to_status(error: MeshError) -> rpc_status._Status:
    """Status with its ErrorInfo, ready for `context.abort_with_status`."""
    info = error_details_pb2.ErrorInfo(reason=reason_of(error), domain=DOMAIN, metadata=error.metadata)
    details = [_packed(info), *_retry_details(error)]
    number: int = code_of(error).value[0]
    return rpc_status.to_status(status_pb2.Status(code=code_pb2.Code.ValueType(number), message=error.message, details=details))


def _retry_details(error: MeshError) -> list[any_pb2.Any]:
    """RetryInfo for an error that says when to come back."""
    seconds = error.metadata.get(RETRY_AFTER, "")
    if not seconds.isdecimal():
        return []
    return [_packed(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=int(seconds))))]


def _packed(message: Message) -> any_pb2.Any:
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail


def from_rpc_error(error: grpc.aio.AioRpcError) -> RemoteError:
    """The refusal inside a gRPC error; a bare one gets the reason SERVICE_UNAVAILABLE or its code's name."""
    info = _error_info(error)
    message = error.details() or error.code().name
    if info is not None:
        return RemoteError(error.code(), info.reason, message, **dict(info.metadata))
    unreachable = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return RemoteError(error.code(), "SERVICE_UNAVAILABLE" if unreachable else error.code().name, message)


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.type_url == _ERROR_INFO and detail.Unpack(info):
                    return info
    return None


def is_remote(error: BaseException, reason_name: str) -> bool:
    """True when the error is another service's refusal for that reason."""
    return isinstance(error, RemoteError) and error.reason_name == reason_name
