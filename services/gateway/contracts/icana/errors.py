"""Errors of the Icana contract: a status and one sentence."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.refusals import Answer, ContractErrors, Told
from services.gateway.sentences import SENTENCES

_RETRY_SECONDS = 5
_BAD_REQUEST = Answer(400, "BAD_REQUEST")
_UNAUTHORIZED = Answer(401, "UNAUTHORIZED")
_NO_CREDIT = Answer(402, "PAYMENT_REQUIRED")
_FORBIDDEN = Answer(403, "FORBIDDEN")
_NOT_FOUND = Answer(404, "NOT_FOUND", SENTENCES["JOB_NOT_FOUND"])
_FAILED = Answer(500, "SERVER_ERROR")

_BAD_REQUESTS = (
    Reason.BAD_REQUEST,
    Reason.BAD_FIELD,
    Reason.BAD_FORMAT,
    Reason.BAD_SOURCE,
    Reason.BAD_LANGUAGE,
    Reason.BAD_IDEMPOTENCY_KEY,
    Reason.IDEMPOTENCY_KEY_REUSED,
    Reason.NO_FILE,
    Reason.FILE_TOO_LARGE,
    Reason.NOT_READY,
    Reason.JOB_FAILED,
    Reason.JOB_CANCELLED,
    "INVALID_FIELD",
    "INVALID_PAGE_TOKEN",
    "INVALID_URL",
    "INVALID_IDEMPOTENCY_KEY",
    "INVALID_LANGUAGE",
    "EMPTY_MEDIA",
    "UNSUPPORTED_MEDIA",
    "BROKEN_MEDIA",
    "MEDIA_TOO_LARGE",
    "MEDIA_TOO_LONG",
    "MEDIA_TAKEN",
    "UPLOAD_INCOMPLETE",
    "JOB_ALREADY_ENDED",
    "NO_SPEECH",
    "UNKNOWN_CREDIT_PACK",
    "PAYMENTS_DISABLED",
    "INVALID_PAYMENT_EVENT",
)
_UNKNOWN_CALLERS = (
    Reason.MISSING_API_KEY,
    Reason.INVALID_API_KEY,
    Reason.INVALID_TOKEN,
    "INVALID_GUEST_TOKEN",
    "AUTHENTICATION_REQUIRED",
)
# A malformed id and somebody else's job are told apart by nobody.
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
    **dict.fromkeys(_BAD_REQUESTS, _BAD_REQUEST),
    **dict.fromkeys(_UNKNOWN_CALLERS, _UNAUTHORIZED),
    **dict.fromkeys(("NO_CREDITS", "UPLOAD_LIMIT_EXCEEDED"), _NO_CREDIT),
    **dict.fromkeys((Reason.FORBIDDEN, "ACCESS_DENIED", "INSUFFICIENT_SCOPE"), _FORBIDDEN),
    **dict.fromkeys(_NOT_THERE, _NOT_FOUND),
    Reason.NOT_FOUND: Answer(404, "NOT_FOUND"),
    Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED"),
    Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED"),
    **dict.fromkeys((*_BUSY, *_FAULTS), _FAILED),
}
# Clients compare this one with the published words.
_RATE_LIMITED = "Rate limit exceeded. Please retry later."


class IcanaError(BaseModel):
    """The body of every refusal."""

    detail: str


def icana_errors() -> ContractErrors:
    """The Icana contract's refusals."""
    return ContractErrors(ANSWERS, _FAILED, _body, IcanaError, _headers)


def _body(told: Told) -> Mapping[str, Json]:
    if told.status == 429:
        return {"detail": _RATE_LIMITED}
    about = f"{told.field}: " if told.field and told.field not in told.sentence else ""
    return {"detail": about + told.sentence}


def _headers(told: Told) -> Mapping[str, str]:
    """The contract has no 503, but a busy server still says when to come back."""
    return {"retry-after": str(told.retry_after_seconds or _RETRY_SECONDS)} if told.reason in _BUSY else {}
