"""What the gateway itself refuses, and who its clients are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.mesh.identity import Caller, CallerKind
from steno.billing.v1.workspace_pb2 import Plan

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class Reason(StrEnum):
    """Reasons of the gateway's own; each contract's table gives them a status and a code, as it does those of the mesh."""

    MISSING_API_KEY = "MISSING_API_KEY"
    INVALID_API_KEY = "INVALID_API_KEY"
    INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105 - a reason
    INVALID_GUEST_TOKEN = "INVALID_GUEST_TOKEN"  # noqa: S105 - a reason
    AUTHENTICATION_REQUIRED = "AUTHENTICATION_REQUIRED"
    FORBIDDEN = "FORBIDDEN"
    BAD_ID = "BAD_ID"
    BAD_REQUEST = "BAD_REQUEST"
    BAD_FIELD = "BAD_FIELD"
    BAD_FORMAT = "BAD_FORMAT"
    BAD_SOURCE = "BAD_SOURCE"
    BAD_LANGUAGE = "BAD_LANGUAGE"
    BAD_IDEMPOTENCY_KEY = "BAD_IDEMPOTENCY_KEY"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    NO_FILE = "NO_FILE"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    NOT_FOUND = "NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_READY = "NOT_READY"
    JOB_FAILED = "JOB_FAILED"
    JOB_CANCELLED = "JOB_CANCELLED"
    AUDIO_EXPIRED = "AUDIO_EXPIRED"
    AUDIO_MISSING = "AUDIO_MISSING"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    STORE_FULL = "STORE_FULL"
    BACKEND_ERROR = "BACKEND_ERROR"
    BACKEND_UNREACHABLE = "BACKEND_UNREACHABLE"


class Refusal(Exception):
    """The gateway does not serve this request.

    field: the form or JSON field at fault. extra: fields that the contract puts beside the error.
    """

    def __init__(
        self, reason: Reason, message: str = "", *, field: str = "", extra: Mapping[str, Json] | None = None, retry_after_seconds: int = 0
    ) -> None:
        super().__init__(message or reason.value)
        self.reason = reason
        self.message = message
        self.field = field
        self.extra = dict(extra or {})
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent the request: the caller shown to the mesh and what it is entitled to. email: proven, None without one."""

    caller: Caller
    tier: str
    tier_level: int
    retention_days: int
    plan: Plan = field(compare=False)
    email: str | None = None

    @property
    def guest(self) -> bool:
        """Whether nobody signed in: the key names an application only."""
        return self.caller.kind is CallerKind.GUEST

    @property
    def signed_in(self) -> bool:
        """Whether the request comes from somebody: a workspace by its key, or a user."""
        return not self.guest

    @property
    def manages_workspace(self) -> bool:
        """Whether it acts as the workspace itself, as its keys and its members do."""
        return self.caller.owner == "workspace"
