"""Errors of the native contract: one table from reason to status and code."""

from collections.abc import Mapping
from functools import partial

from pydantic import BaseModel, ConfigDict

from services.gateway.domain import Json, Reason
from services.gateway.refusals import Answer, ContractErrors, Told
from services.gateway.units import hours

_FAILED = Answer(502, "BACKEND_ERROR")
_UNREACHABLE = Answer(502, "BACKEND_UNREACHABLE")
_NOT_FOUND = Answer(404, "NOT_FOUND")
_BAD_MIME = Answer(415, "BAD_MIME")
_OVERLOADED = Answer(503, "OVERLOADED")
_INVALID_KEY = Answer(401, "INVALID_API_KEY")
_FORBIDDEN = Answer(403, "FORBIDDEN")
_TOO_LARGE = Answer(413, "FILE_TOO_LARGE")
_BAD_LANGUAGE = Answer(422, "BAD_LANGUAGE")
_BAD_KEY = Answer(400, "BAD_IDEMPOTENCY_KEY")
_KEY_REUSED = Answer(422, "IDEMPOTENCY_KEY_REUSED")
_BAD_REQUEST = Answer(400, "BAD_REQUEST")
_BAD_FIELD = Answer(422, "BAD_FIELD")

ANSWERS: dict[str, Answer] = {
    Reason.MISSING_API_KEY: Answer(401, "MISSING_API_KEY"),
    Reason.INVALID_API_KEY: _INVALID_KEY,
    Reason.INVALID_TOKEN: Answer(401, "INVALID_TOKEN"),
    Reason.FORBIDDEN: _FORBIDDEN,
    Reason.BAD_ID: Answer(400, "BAD_ID"),
    Reason.BAD_REQUEST: _BAD_REQUEST,
    Reason.BAD_FIELD: _BAD_FIELD,
    Reason.BAD_FORMAT: Answer(400, "BAD_FORMAT"),
    Reason.BAD_SOURCE: Answer(422, "BAD_SOURCE"),
    Reason.BAD_LANGUAGE: _BAD_LANGUAGE,
    Reason.BAD_IDEMPOTENCY_KEY: _BAD_KEY,
    Reason.IDEMPOTENCY_KEY_REUSED: _KEY_REUSED,
    Reason.NO_FILE: Answer(400, "NO_FILE"),
    Reason.FILE_TOO_LARGE: _TOO_LARGE,
    Reason.NOT_FOUND: _NOT_FOUND,
    Reason.MODEL_NOT_FOUND: _NOT_FOUND,
    Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED"),
    Reason.NOT_READY: Answer(409, "NOT_READY"),
    Reason.JOB_FAILED: Answer(409, "JOB_FAILED"),
    Reason.JOB_CANCELLED: Answer(409, "JOB_CANCELLED"),
    Reason.AUDIO_EXPIRED: Answer(410, "AUDIO_EXPIRED"),
    Reason.AUDIO_MISSING: Answer(410, "AUDIO_MISSING"),
    Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED"),
    Reason.OVERLOADED: _OVERLOADED,
    Reason.STORE_FULL: _OVERLOADED,
    Reason.BACKEND_ERROR: _FAILED,
    Reason.BACKEND_UNREACHABLE: _UNREACHABLE,
    "ACCESS_DENIED": _FORBIDDEN,
    "INSUFFICIENT_SCOPE": _FORBIDDEN,
    "AUTHENTICATION_REQUIRED": Answer(401, "AUTHENTICATION_REQUIRED"),
    "INVALID_GUEST_TOKEN": Answer(401, "INVALID_GUEST_TOKEN"),
    "SERVICE_UNAVAILABLE": _UNREACHABLE,
    "INVALID_FIELD": _BAD_FIELD,
    "INVALID_PAGE_TOKEN": _BAD_REQUEST,
    "INVALID_URL": Answer(400, "BAD_URL"),
    "API_KEY_NOT_FOUND": _NOT_FOUND,
    "CHECKOUT_NOT_FOUND": _NOT_FOUND,
    "JOB_NOT_FOUND": _NOT_FOUND,
    "NO_CREDITS": Answer(402, "NO_CREDITS"),
    "UPLOAD_LIMIT_EXCEEDED": Answer(402, "NO_CREDITS"),
    "UNKNOWN_CREDIT_PACK": Answer(422, "UNKNOWN_CREDIT_PACK"),
    "PAYMENTS_DISABLED": Answer(409, "PAYMENTS_DISABLED"),
    "PAYMENT_PROVIDER_FAILED": Answer(502, "PAYMENT_PROVIDER_FAILED"),
    "INVALID_PAYMENT_EVENT": Answer(400, "INVALID_PAYMENT_EVENT"),
    "EMPTY_MEDIA": Answer(400, "EMPTY_FILE"),
    "UNSUPPORTED_MEDIA": _BAD_MIME,
    "BROKEN_MEDIA": _BAD_MIME,
    "MEDIA_TOO_LARGE": _TOO_LARGE,
    "NO_SPEECH": _BAD_FIELD,
    "MEDIA_TOO_LONG": Answer(413, "DURATION_TOO_LONG"),
    "UPLOAD_INCOMPLETE": Answer(409, "UPLOAD_INCOMPLETE"),
    "INVALID_IDEMPOTENCY_KEY": _BAD_KEY,
    "IDEMPOTENCY_KEY_REUSED": _KEY_REUSED,
    "INVALID_LANGUAGE": _BAD_LANGUAGE,
    "MEDIA_TAKEN": Answer(409, "MEDIA_TAKEN"),
    "JOB_ALREADY_ENDED": Answer(409, "JOB_ALREADY_ENDED"),
    "DATASET_NOT_FOUND": _NOT_FOUND,
    "AUDIO_NOT_FOUND": _NOT_FOUND,
    "ANNOTATION_SET_NOT_FOUND": _NOT_FOUND,
    "ANNOTATION_NOT_FOUND": _NOT_FOUND,
    "TRAINING_JOB_NOT_FOUND": _NOT_FOUND,
    "INFERENCE_JOB_NOT_FOUND": _NOT_FOUND,
    "FILE_NOT_FOUND": _NOT_FOUND,
    "ANNOTATION_SET_PUBLISHED": Answer(400, "ANNOTATION_SET_PUBLISHED"),
    "ANNOTATION_SET_EMPTY": Answer(400, "ANNOTATION_SET_EMPTY"),
    "ANNOTATION_SET_NOT_PUBLISHED": Answer(400, "ANNOTATION_SET_NOT_PUBLISHED"),
    "ARTIFACT_TYPE_IN_USE": Answer(400, "ARTIFACT_TYPE_IN_USE"),
    "UNKNOWN_ARTIFACT_TYPE": Answer(400, "UNKNOWN_ARTIFACT_TYPE"),
    "AUDIO_IN_USE": Answer(400, "AUDIO_IN_USE"),
    "AUDIO_NOT_READY": Answer(400, "AUDIO_NOT_READY"),
    "TOO_LITTLE_AUDIO": Answer(400, "TOO_LITTLE_AUDIO"),
    "TOO_FEW_ANNOTATIONS": Answer(400, "TOO_FEW_ANNOTATIONS"),
    "MODEL_INACTIVE": Answer(400, "MODEL_INACTIVE"),
    "MODEL_IN_USE": Answer(400, "MODEL_IN_USE"),
}


class NativeError(BaseModel):
    """The body of every refusal; some codes add fields."""

    model_config = ConfigDict(extra="allow")

    error: str
    code: str
    detail: str | list[dict[str, str | list[str]]]


def native_errors(upgrade_url: str) -> ContractErrors:
    """The native contract's refusals. upgrade_url: where a caller without credit is sent."""
    return ContractErrors(ANSWERS, _FAILED, partial(_body, upgrade_url=upgrade_url), NativeError)


def _body(told: Told, upgrade_url: str) -> Mapping[str, Json]:
    detail: Json = told.sentence
    if told.field and told.status == 422:
        detail = [{"loc": ["body", told.field], "msg": told.sentence, "type": told.code.lower()}]
    extra = dict(told.extra)
    if told.status == 402:
        extra |= {"credits": _credits(told), "upgrade_url": upgrade_url}
    return {"error": told.sentence, "code": told.code, "detail": detail, **extra}


def _credits(told: Told) -> Json:
    """The snapshot that the refusal carried, in hours of audio; guests are not told what the workspace has."""
    told_ms = {name: int(told.metadata[f"{name}_ms"]) for name in ("available", "required") if f"{name}_ms" in told.metadata}
    return {f"{name}_hours": hours(milliseconds) for name, milliseconds in told_ms.items()}
