"""Errors of the OpenAI contract: always an object with message, type, param and code."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.refusals import Answer, ContractErrors, Told

_INVALID = Answer(400, "invalid_value")
_MALFORMED = Answer(400, "invalid_request")
_BAD_FILE = Answer(400, "invalid_file_format")
_NO_KEY = Answer(401, "invalid_api_key")
_FORBIDDEN = Answer(403, "permission_denied")
_NOT_FOUND = Answer(404, "not_found")
_TOO_LARGE = Answer(413, "file_too_large")
_QUOTA = Answer(429, "insufficient_quota")
_FAILED = Answer(500, "server_error")
_UNREACHABLE = Answer(503, "service_unavailable")
_OVERLOADED = Answer(503, "overloaded")

ANSWERS: dict[str, Answer] = {
    Reason.MISSING_API_KEY: Answer(401, "invalid_api_key", "Send your API key as Authorization: Bearer sk_…"),
    Reason.INVALID_API_KEY: _NO_KEY,
    Reason.INVALID_TOKEN: _NO_KEY,
    Reason.INVALID_GUEST_TOKEN: _NO_KEY,
    Reason.AUTHENTICATION_REQUIRED: _NO_KEY,
    Reason.FORBIDDEN: _FORBIDDEN,
    "ACCESS_DENIED": _FORBIDDEN,
    "INSUFFICIENT_SCOPE": _FORBIDDEN,
    Reason.BAD_REQUEST: _MALFORMED,
    Reason.BAD_ID: _MALFORMED,
    Reason.BAD_IDEMPOTENCY_KEY: _MALFORMED,
    "INVALID_IDEMPOTENCY_KEY": _MALFORMED,
    "INVALID_PAGE_TOKEN": _MALFORMED,
    "INVALID_URL": _MALFORMED,
    "INVALID_PAYMENT_EVENT": _MALFORMED,
    "UNKNOWN_CREDIT_PACK": _MALFORMED,
    Reason.BAD_FIELD: _INVALID,
    "INVALID_FIELD": _INVALID,
    Reason.BAD_FORMAT: _INVALID,
    Reason.BAD_SOURCE: _INVALID,
    Reason.BAD_LANGUAGE: Answer(400, "invalid_language_format"),
    "INVALID_LANGUAGE": Answer(400, "invalid_language_format"),
    "NO_SPEECH": _INVALID,
    Reason.NO_FILE: Answer(400, "missing_required_parameter"),
    "EMPTY_MEDIA": _BAD_FILE,
    "UNSUPPORTED_MEDIA": _BAD_FILE,
    "BROKEN_MEDIA": _BAD_FILE,
    "UPLOAD_INCOMPLETE": _BAD_FILE,
    Reason.FILE_TOO_LARGE: _TOO_LARGE,
    "MEDIA_TOO_LARGE": _TOO_LARGE,
    "MEDIA_TOO_LONG": Answer(413, "audio_too_long"),
    Reason.NOT_FOUND: _NOT_FOUND,
    Reason.AUDIO_EXPIRED: _NOT_FOUND,
    Reason.AUDIO_MISSING: _NOT_FOUND,
    "JOB_NOT_FOUND": _NOT_FOUND,
    "API_KEY_NOT_FOUND": _NOT_FOUND,
    "CHECKOUT_NOT_FOUND": _NOT_FOUND,
    Reason.MODEL_NOT_FOUND: Answer(404, "model_not_found", "There is no model of this name."),
    Reason.METHOD_NOT_ALLOWED: Answer(405, "method_not_allowed"),
    Reason.IDEMPOTENCY_KEY_REUSED: Answer(409, "conflict"),
    "MEDIA_TAKEN": Answer(409, "conflict"),
    "JOB_ALREADY_ENDED": Answer(409, "conflict"),
    "PAYMENTS_DISABLED": Answer(409, "conflict"),
    Reason.JOB_CANCELLED: Answer(409, "job_cancelled"),
    Reason.RATE_LIMITED: Answer(429, "rate_limit_exceeded"),
    "NO_CREDITS": _QUOTA,
    "UPLOAD_LIMIT_EXCEEDED": _QUOTA,
    Reason.JOB_FAILED: Answer(500, "job_failed"),
    Reason.BACKEND_ERROR: _FAILED,
    "PAYMENT_PROVIDER_FAILED": _FAILED,
    Reason.NOT_READY: Answer(503, "not_ready", "The transcript is not ready yet. Send the same request again to wait for the same job."),
    Reason.OVERLOADED: _OVERLOADED,
    Reason.STORE_FULL: _OVERLOADED,
    Reason.BACKEND_UNREACHABLE: _UNREACHABLE,
    "SERVICE_UNAVAILABLE": _UNREACHABLE,
}
_FILE_REASONS = (Reason.NO_FILE, "EMPTY_MEDIA", "UNSUPPORTED_MEDIA", "BROKEN_MEDIA", "MEDIA_TOO_LONG", "MEDIA_TOO_LARGE")
PARAMS: Mapping[str, str] = {
    **dict.fromkeys((*_FILE_REASONS, Reason.FILE_TOO_LARGE, "UPLOAD_INCOMPLETE"), "file"),
    Reason.MODEL_NOT_FOUND: "model",
}
# Asking again cannot change these, and the official clients would upload the file two more times to find out.
_FINAL = frozenset({"NO_CREDITS", "UPLOAD_LIMIT_EXCEEDED", Reason.JOB_FAILED, Reason.JOB_CANCELLED})
_TOO_MANY = 429
_SERVER_FAULTS = 500


class ErrorObject(BaseModel):
    """What is wrong, and with which parameter."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """The body of every refusal."""

    error: ErrorObject


def openai_errors() -> ContractErrors:
    """The OpenAI contract's refusals."""
    return ContractErrors(ANSWERS, _FAILED, _body, OpenAIError, _headers)


def _body(told: Told) -> Mapping[str, Json]:
    code = told.code.lower()
    param = told.field or PARAMS.get(told.reason)
    return {"error": {"message": told.sentence, "type": _type(told.status, code), "param": param, "code": code or None}}


def _type(status: int, code: str) -> str:
    if status >= _SERVER_FAULTS:
        return "server_error"
    return code if status == _TOO_MANY else "invalid_request_error"


def _headers(told: Told) -> Mapping[str, str]:
    return {"x-should-retry": "false"} if told.reason in _FINAL else {}
