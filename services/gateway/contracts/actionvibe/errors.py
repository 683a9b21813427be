"""Errors of the ActionVibe contract: one table from reason to status and code."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.refusals import Answer, ContractErrors, Told
from services.gateway.sentences import SENTENCES

_RETRY_SECONDS = 5
_INVALID = Answer(400, "INVALID_REQUEST")
_UNSUPPORTED = Answer(400, "UNSUPPORTED_FILE_TYPE")
_TOO_LARGE = Answer(400, "FILE_TOO_LARGE")
_LIMIT = Answer(400, "MONTHLY_LIMIT_EXCEEDED")
_UNAUTHORIZED = Answer(401, "UNAUTHORIZED")
_FORBIDDEN = Answer(403, "FORBIDDEN")
_NOT_FOUND = Answer(404, "NOT_FOUND", SENTENCES["JOB_NOT_FOUND"])
_FAILED = Answer(500, "SERVER_ERROR")

_INVALID_REQUESTS = (
    Reason.BAD_REQUEST,
    Reason.BAD_FIELD,
    Reason.BAD_FORMAT,
    Reason.BAD_SOURCE,
    Reason.BAD_LANGUAGE,
    Reason.BAD_IDEMPOTENCY_KEY,
    Reason.IDEMPOTENCY_KEY_REUSED,
    Reason.NOT_READY,
    Reason.JOB_FAILED,
    Reason.JOB_CANCELLED,
    "INVALID_FIELD",
    "INVALID_PAGE_TOKEN",
    "INVALID_URL",
    "INVALID_IDEMPOTENCY_KEY",
    "INVALID_LANGUAGE",
    "MEDIA_TAKEN",
    "UPLOAD_INCOMPLETE",
    "JOB_ALREADY_ENDED",
    "NO_SPEECH",
    "UNKNOWN_CREDIT_PACK",
    "PAYMENTS_DISABLED",
    "INVALID_PAYMENT_EVENT",
)
_UNKNOWN_CALLERS = (Reason.INVALID_API_KEY, Reason.INVALID_TOKEN, "INVALID_GUEST_TOKEN", "AUTHENTICATION_REQUIRED")
# A malformed id and somebody else's transcription are told apart by nobody.
_NOT_THERE = (
    Reason.BAD_ID,
    Reason.MODEL_NOT_FOUND,
    Reason.AUDIO_EXPIRED,
    Reason.AUDIO_MISSING,
    "JOB_NOT_FOUND",
    "API_KEY_NOT_FOUND",
    "CHECKOUT_NOT_FOUND",
)
_BUSY = (Reason.OVERLOADED, Reason.STORE_FULL)
_FAULTS = (Reason.BACKEND_ERROR, Reason.BACKEND_UNREACHABLE, "SERVICE_UNAVAILABLE", "PAYMENT_PROVIDER_FAILED")

ANSWERS: dict[str, Answer] = {
    **dict.fromkeys(_INVALID_REQUESTS, _INVALID),
    Reason.NO_FILE: Answer(400, "NO_FILE_PROVIDED"),
    **dict.fromkeys(("EMPTY_MEDIA", "UNSUPPORTED_MEDIA", "BROKEN_MEDIA"), _UNSUPPORTED),
    **dict.fromkeys((Reason.FILE_TOO_LARGE, "MEDIA_TOO_LARGE", "MEDIA_TOO_LONG"), _TOO_LARGE),
    **dict.fromkeys(("NO_CREDITS", "UPLOAD_LIMIT_EXCEEDED"), _LIMIT),
    Reason.MISSING_API_KEY: Answer(401, "UNAUTHORIZED", "Send your API token as Authorization: Bearer."),
    **dict.fromkeys(_UNKNOWN_CALLERS, _UNAUTHORIZED),
    **dict.fromkeys((Reason.FORBIDDEN, "ACCESS_DENIED", "INSUFFICIENT_SCOPE"), _FORBIDDEN),
    **dict.fromkeys(_NOT_THERE, _NOT_FOUND),
    Reason.NOT_FOUND: Answer(404, "NOT_FOUND"),
    Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED"),
    Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED"),
    **dict.fromkeys((*_BUSY, *_FAULTS), _FAILED),
}


class ActionVibeError(BaseModel):
    """The body of every refusal."""

    error: str
    code: str


def actionvibe_errors() -> ContractErrors:
    """The ActionVibe contract's refusals."""
    return ContractErrors(ANSWERS, _FAILED, _body, ActionVibeError, _headers)


def _body(told: Told) -> Mapping[str, Json]:
    about = f"{told.field}: " if told.field and told.field not in told.sentence else ""
    return {"error": about + told.sentence, "code": told.code}


def _headers(told: Told) -> Mapping[str, str]:
    """The contract has no 503, but a busy server still says when to come back."""
    return {"retry-after": str(told.retry_after_seconds or _RETRY_SECONDS)} if told.reason in _BUSY else {}
