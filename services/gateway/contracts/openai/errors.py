"""Errors of the OpenAI contract: always an object with message, type, param and code."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.meanings import Meaning, answers_of
from services.gateway.refusals import Answer, ContractErrors, Told

_INVALID = Answer(400, "invalid_value")
_BAD_FILE = Answer(400, "invalid_file_format")
_BAD_LANGUAGE = Answer(400, "invalid_language_format")
_NOT_FOUND = Answer(404, "not_found")
_FAILED = Answer(500, "server_error")
_UNREACHABLE = Answer(503, "service_unavailable")

ANSWERS = answers_of(
    {
        Meaning.UNKNOWN_CALLER: Answer(401, "invalid_api_key"),
        Meaning.FORBIDDEN: Answer(403, "permission_denied"),
        Meaning.MALFORMED: Answer(400, "invalid_request"),
        Meaning.BAD_FIELD: _INVALID,
        Meaning.BAD_CHOICE: _INVALID,
        Meaning.BAD_FILE: _BAD_FILE,
        Meaning.TOO_LARGE: Answer(413, "file_too_large"),
        Meaning.CONFLICT: Answer(409, "conflict"),
        Meaning.NO_CREDIT: Answer(429, "insufficient_quota"),
        Meaning.NOT_THERE: _NOT_FOUND,
        Meaning.BUSY: Answer(503, "overloaded"),
        Meaning.FAULT: _FAILED,
    },
    {
        Reason.MISSING_API_KEY: Answer(401, "invalid_api_key", "Send your API key as Authorization: Bearer sk_…"),
        Reason.BAD_ID: Answer(400, "invalid_request"),
        Reason.BAD_LANGUAGE: _BAD_LANGUAGE,
        "INVALID_LANGUAGE": _BAD_LANGUAGE,
        Reason.NO_FILE: Answer(400, "missing_required_parameter"),
        "UPLOAD_INCOMPLETE": _BAD_FILE,
        "MEDIA_TOO_LONG": Answer(413, "audio_too_long"),
        Reason.NOT_FOUND: _NOT_FOUND,
        Reason.MODEL_NOT_FOUND: Answer(404, "model_not_found", "There is no model of this name."),
        Reason.METHOD_NOT_ALLOWED: Answer(405, "method_not_allowed"),
        Reason.JOB_CANCELLED: Answer(409, "job_cancelled"),
        Reason.RATE_LIMITED: Answer(429, "rate_limit_exceeded"),
        Reason.JOB_FAILED: Answer(500, "job_failed"),
        Reason.NOT_READY: Answer(
            503, "not_ready", "The transcript is not ready yet. Send the same request again to wait for the same job."
        ),
        Reason.BACKEND_UNREACHABLE: _UNREACHABLE,
        "SERVICE_UNAVAILABLE": _UNREACHABLE,
    },
)
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
