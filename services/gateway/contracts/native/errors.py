"""Errors of the native contract: one table from reason to status, code and sentence."""

from dataclasses import dataclass

import grpc
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

from services.gateway.domain import Json, Reason, Refusal
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger

_logger = get_logger("gateway.native")
_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """How a reason is told."""

    status: int
    code: str
    sentence: str


_FAILED = Answer(502, "BACKEND_ERROR", "The transcription backend failed to answer this request. It is safe to try again.")
_UNREACHABLE = Answer(502, "BACKEND_UNREACHABLE", "The transcription backend cannot be reached. Try again soon.")
_NOT_FOUND = Answer(404, "NOT_FOUND", "There is nothing here for this API key.")
_BAD_MIME = Answer(415, "BAD_MIME", "The file is not audio or video that can be transcribed.")
_OVERLOADED = Answer(503, "OVERLOADED", "The server has its hands full. Try again in a moment.")
_INVALID_KEY = Answer(401, "INVALID_API_KEY", "The API key is unknown, revoked or expired.")
_FORBIDDEN = Answer(403, "FORBIDDEN", "This API key may not do that.")
_TOO_LARGE = Answer(413, "FILE_TOO_LARGE", "The file is larger than allowed.")
_BAD_LANGUAGE = Answer(422, "BAD_LANGUAGE", "The language is not a two-letter ISO 639-1 code in lower case.")
_BAD_KEY = Answer(
    400, "BAD_IDEMPOTENCY_KEY", "An Idempotency-Key is sent once and has 1 to 255 letters, digits or characters of _ . : / and -."
)
_BAD_REQUEST = Answer(400, "BAD_REQUEST", "The request is malformed.")
_BAD_FIELD = Answer(422, "BAD_FIELD", "A field has a value that is not allowed.")

ANSWERS: dict[str, Answer] = {
    Reason.MISSING_API_KEY: Answer(401, "MISSING_API_KEY", "Send your API key in the X-API-Key header."),
    Reason.INVALID_API_KEY: _INVALID_KEY,
    Reason.FORBIDDEN: _FORBIDDEN,
    Reason.BAD_ID: Answer(400, "BAD_ID", "The id is not a UUID."),
    Reason.BAD_REQUEST: _BAD_REQUEST,
    Reason.BAD_FIELD: _BAD_FIELD,
    Reason.BAD_FORMAT: Answer(400, "BAD_FORMAT", "The format is one of txt, json, srt, vtt and docx."),
    Reason.BAD_SOURCE: Answer(422, "BAD_SOURCE", "The source is one of upload, url, recording and api."),
    Reason.BAD_LANGUAGE: _BAD_LANGUAGE,
    Reason.BAD_IDEMPOTENCY_KEY: _BAD_KEY,
    Reason.IDEMPOTENCY_KEY_REUSED: Answer(422, "IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key belongs to a request with other content."),
    Reason.NO_FILE: Answer(400, "NO_FILE", "The form has no file."),
    Reason.FILE_TOO_LARGE: _TOO_LARGE,
    Reason.NOT_FOUND: _NOT_FOUND,
    Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED", "This method is not allowed here."),
    Reason.NOT_READY: Answer(409, "NOT_READY", "The job has not ended yet."),
    Reason.JOB_FAILED: Answer(409, "JOB_FAILED", "The job failed and has no transcript."),
    Reason.JOB_CANCELLED: Answer(409, "JOB_CANCELLED", "The job was cancelled and has no transcript."),
    Reason.AUDIO_EXPIRED: Answer(410, "AUDIO_EXPIRED", "The audio was deleted at the end of its retention; the transcript is kept."),
    Reason.AUDIO_MISSING: Answer(410, "AUDIO_MISSING", "The audio is no longer stored."),
    Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED", "This API key submits too fast. Slow down and try again."),
    Reason.OVERLOADED: _OVERLOADED,
    Reason.STORE_FULL: _OVERLOADED,
    Reason.BACKEND_ERROR: _FAILED,
    Reason.BACKEND_UNREACHABLE: _UNREACHABLE,
    "ACCESS_DENIED": _FORBIDDEN,
    "SERVICE_UNAVAILABLE": _UNREACHABLE,
    "INVALID_FIELD": _BAD_FIELD,
    "INVALID_PAGE_TOKEN": _BAD_REQUEST,
    "API_KEY_NOT_FOUND": _NOT_FOUND,
    "JOB_NOT_FOUND": _NOT_FOUND,
    "NO_CREDITS": Answer(402, "NO_CREDITS", "The workspace has not enough credit for this audio."),
    "EMPTY_MEDIA": Answer(400, "EMPTY_FILE", "The file is empty."),
    "UNSUPPORTED_MEDIA": _BAD_MIME,
    "BROKEN_MEDIA": _BAD_MIME,
    "MEDIA_TOO_LARGE": _TOO_LARGE,
    "MEDIA_TOO_LONG": Answer(413, "DURATION_TOO_LONG", "The audio is longer than allowed."),
    "INVALID_IDEMPOTENCY_KEY": _BAD_KEY,
    "INVALID_LANGUAGE": _BAD_LANGUAGE,
    "MEDIA_TAKEN": Answer(409, "MEDIA_TAKEN", "Another job was made from this upload. Send the file again."),
    "JOB_ALREADY_ENDED": Answer(409, "JOB_ALREADY_ENDED", "The job has ended already."),
}
# Faults between services: a client can do nothing about them but try again.
INTERNAL_REASONS = frozenset(
    {
        "INTERNAL",
        "MISSING_CREDENTIALS",
        "INVALID_CALLER_TOKEN",
        "WORKSPACE_NOT_FOUND",
        "UNKNOWN_PLAN",
        "HOLD_NOT_FOUND",
        "HOLD_ALREADY_SETTLED",
        "HOLD_ALREADY_RELEASED",
        "MEDIA_NOT_FOUND",
        "ARTEFACT_NOT_FOUND",
        "UPLOAD_INCOMPLETE",
        "INVALID_SIGNATURE",
        "JOB_LEASED",
        "STALE_FENCE",
        "ATTEMPTS_EXHAUSTED",
        "TRANSCRIPTION_FAILED",
        "MEDIA_UNPROCESSABLE",
        "LANGUAGE_NOT_SUPPORTED",
        "ENGINE_UNAVAILABLE",
        "BLOB_MISSING",
    }
)
_FIELD_OF = {"INVALID_LANGUAGE": "language", Reason.BAD_LANGUAGE: "language", Reason.BAD_SOURCE: "source"}


@dataclass(frozen=True, slots=True)
class NativeErrors:
    """Renders whatever a native handler raises."""

    upgrade_url: str

    def render(self, scope: Scope, error: Exception) -> JSONResponse:
        """The contract's error object with its status."""
        if isinstance(error, Refusal):
            return self._refusal(error)
        if isinstance(error, RemoteError):
            return self._remote(error)
        if isinstance(error, HTTPException):
            return _http(error)
        _logger.error("request failed", path=scope["path"][:200], exc_info=error)
        return _response(_FAILED)

    def _refusal(self, error: Refusal) -> JSONResponse:
        answer = ANSWERS[error.reason]
        field = error.field or _FIELD_OF.get(error.reason, "")
        return _response(answer, error.message, field=field, extra=error.extra, retry_after_seconds=error.retry_after_seconds)

    def _remote(self, error: RemoteError) -> JSONResponse:
        answer = ANSWERS.get(error.reason_name, _FAILED)
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            answer = _FAILED
        if answer.status >= 500:
            _logger.warning("backend failed", code=error.code.name, reason=error.reason_name, error=error.message)
        if error.reason_name == "NO_CREDITS":
            return _response(answer, extra={"credits": _credits(error), "upgrade_url": self.upgrade_url})
        field = _FIELD_OF.get(error.reason_name) or error.metadata.get("field", "").rpartition(".")[2]
        message = error.message if error.reason_name in ("INVALID_FIELD", "MEDIA_TOO_LONG") else ""
        return _response(answer, message, field=field)


def _http(error: HTTPException) -> JSONResponse:
    """What Starlette's router raises: no such path, no such method."""
    reason = {404: Reason.NOT_FOUND, 405: Reason.METHOD_NOT_ALLOWED}.get(error.status_code, Reason.BAD_REQUEST)
    sentence = "There is nothing at this address." if reason is Reason.NOT_FOUND else ""
    response = _response(ANSWERS[reason], sentence)
    response.headers.update(error.headers or {})
    return response


def _response(
    answer: Answer, message: str = "", *, field: str = "", extra: dict[str, Json] | None = None, retry_after_seconds: int = 0
) -> JSONResponse:
    sentence = message or answer.sentence
    detail: Json = sentence
    if field and answer.status == 422:
        detail = [{"loc": ["body", field], "msg": sentence, "type": answer.code.lower()}]
    body = {"error": sentence, "code": answer.code, "detail": detail, **(extra or {})}
    headers = {}
    if answer.status in (429, 503):
        headers["retry-after"] = str(retry_after_seconds or _RETRY_SECONDS)
    return JSONResponse(body, answer.status, headers)


def _credits(error: RemoteError) -> Json:
    """The snapshot that the refusal carried, in hours of audio."""
    return {f"{name}_hours": hours(int(error.metadata.get(f"{name}_ms", "0"))) for name in ("available", "required")}


def hours(milliseconds: int) -> float:
    """Credit as the contract counts it."""
    return round(milliseconds / 3_600_000, 6)
