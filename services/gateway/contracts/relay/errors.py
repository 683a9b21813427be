"""Errors of the Relay contract: a sentence, or a list of fields at fault."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.refusals import Answer, ContractErrors, Told

_RETRY_SECONDS = 5
_BAD_REQUEST = Answer(400, "BAD_REQUEST")
_UNAUTHORIZED = Answer(401, "UNAUTHORIZED")
_FORBIDDEN = Answer(403, "FORBIDDEN")
_NOT_FOUND = Answer(404, "NOT_FOUND")
_INVALID = Answer(422, "VALUE_ERROR")
_FAILED = Answer(500, "SERVER_ERROR")

_BAD_REQUESTS = (
    Reason.BAD_REQUEST,
    Reason.BAD_FORMAT,
    Reason.BAD_SOURCE,
    Reason.BAD_IDEMPOTENCY_KEY,
    Reason.IDEMPOTENCY_KEY_REUSED,
    Reason.FILE_TOO_LARGE,
    Reason.NOT_READY,
    Reason.JOB_FAILED,
    Reason.JOB_CANCELLED,
    "INVALID_PAGE_TOKEN",
    "INVALID_URL",
    "INVALID_IDEMPOTENCY_KEY",
    "EMPTY_MEDIA",
    "UNSUPPORTED_MEDIA",
    "BROKEN_MEDIA",
    "MEDIA_TOO_LARGE",
    "MEDIA_TOO_LONG",
    "MEDIA_TAKEN",
    "UPLOAD_INCOMPLETE",
    "JOB_ALREADY_ENDED",
    "NO_SPEECH",
    "NO_CREDITS",
    "UPLOAD_LIMIT_EXCEEDED",
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
_NOT_THERE = (
    Reason.NOT_FOUND,
    Reason.MODEL_NOT_FOUND,
    Reason.AUDIO_EXPIRED,
    Reason.AUDIO_MISSING,
    "JOB_NOT_FOUND",
    "API_KEY_NOT_FOUND",
    "CHECKOUT_NOT_FOUND",
)
_INVALID_FIELDS = (Reason.BAD_FIELD, Reason.BAD_LANGUAGE, Reason.NO_FILE, "INVALID_FIELD", "INVALID_LANGUAGE")
_BUSY = (Reason.OVERLOADED, Reason.STORE_FULL)
_FAULTS = (Reason.BACKEND_ERROR, Reason.BACKEND_UNREACHABLE, "SERVICE_UNAVAILABLE", "PAYMENT_PROVIDER_FAILED")

ANSWERS: dict[str, Answer] = {
    **dict.fromkeys(_BAD_REQUESTS, _BAD_REQUEST),
    **dict.fromkeys(_UNKNOWN_CALLERS, _UNAUTHORIZED),
    **dict.fromkeys((Reason.FORBIDDEN, "ACCESS_DENIED", "INSUFFICIENT_SCOPE"), _FORBIDDEN),
    **dict.fromkeys(_NOT_THERE, _NOT_FOUND),
    Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED"),
    **dict.fromkeys(_INVALID_FIELDS, _INVALID),
    Reason.BAD_ID: Answer(422, "UUID_PARSING"),
    Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED"),
    **dict.fromkeys((*_BUSY, *_FAULTS), _FAILED),
}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    loc: list[str]
    msg: str
    type: str


class RelayError(BaseModel):
    """The body of every refusal; the list comes with 422."""

    detail: str | list[FieldProblem]


def relay_errors() -> ContractErrors:
    """The Relay contract's refusals."""
    return ContractErrors(ANSWERS, _FAILED, _body, RelayError, _headers)


def _body(told: Told) -> Mapping[str, Json]:
    if told.status != 422:
        return {"detail": told.sentence}
    place: list[Json] = ["path", "id"] if told.reason == Reason.BAD_ID else ["body", *filter(None, [told.field])]
    return {"detail": [{"loc": place, "msg": told.sentence, "type": told.code.lower()}]}


def _headers(told: Told) -> Mapping[str, str]:
    """The contract has no 503, but a busy server still says when to come back."""
    return {"retry-after": str(told.retry_after_seconds or _RETRY_SECONDS)} if told.reason in _BUSY else {}
