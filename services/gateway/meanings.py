"""Reasons that mean the same to a client: a contract without a code for each of them answers the meaning."""

from collections.abc import Mapping
from enum import StrEnum, auto

from services.gateway.domain import Reason
from services.gateway.refusals import Answer


class Meaning(StrEnum):
    """What a client can make of a refusal."""

    UNKNOWN_CALLER = auto()
    FORBIDDEN = auto()
    MALFORMED = auto()
    BAD_FIELD = auto()
    BAD_CHOICE = auto()
    BAD_FILE = auto()
    TOO_LARGE = auto()
    CONFLICT = auto()
    NO_CREDIT = auto()
    NOT_THERE = auto()
    BUSY = auto()
    FAULT = auto()


MEANINGS: Mapping[Meaning, tuple[str, ...]] = {
    Meaning.UNKNOWN_CALLER: (
        Reason.MISSING_API_KEY,
        Reason.INVALID_API_KEY,
        Reason.INVALID_TOKEN,
        Reason.INVALID_GUEST_TOKEN,
        Reason.AUTHENTICATION_REQUIRED,
    ),
    Meaning.FORBIDDEN: (Reason.FORBIDDEN, "ACCESS_DENIED", "INSUFFICIENT_SCOPE"),
    Meaning.MALFORMED: (
        Reason.BAD_REQUEST,
        Reason.BAD_IDEMPOTENCY_KEY,
        "INVALID_IDEMPOTENCY_KEY",
        "INVALID_PAGE_TOKEN",
        "INVALID_URL",
        "INVALID_PAYMENT_EVENT",
        "UNKNOWN_CREDIT_PACK",
    ),
    Meaning.BAD_FIELD: (Reason.BAD_FIELD, Reason.BAD_LANGUAGE, "INVALID_FIELD", "INVALID_LANGUAGE"),
    Meaning.BAD_CHOICE: (Reason.BAD_FORMAT, Reason.BAD_SOURCE, "NO_SPEECH", "UNKNOWN_ARTIFACT_TYPE"),
    Meaning.BAD_FILE: ("EMPTY_MEDIA", "UNSUPPORTED_MEDIA", "BROKEN_MEDIA"),
    Meaning.TOO_LARGE: (Reason.FILE_TOO_LARGE, "MEDIA_TOO_LARGE", "MEDIA_TOO_LONG"),
    Meaning.CONFLICT: (
        Reason.IDEMPOTENCY_KEY_REUSED,
        Reason.NOT_READY,
        Reason.JOB_FAILED,
        Reason.JOB_CANCELLED,
        "MEDIA_TAKEN",
        "UPLOAD_INCOMPLETE",
        "JOB_ALREADY_ENDED",
        "PAYMENTS_DISABLED",
        "ANNOTATION_SET_PUBLISHED",
        "ANNOTATION_SET_EMPTY",
        "ANNOTATION_SET_NOT_PUBLISHED",
        "ARTIFACT_TYPE_IN_USE",
        "AUDIO_IN_USE",
        "AUDIO_NOT_READY",
        "TOO_LITTLE_AUDIO",
        "TOO_FEW_ANNOTATIONS",
        "MODEL_INACTIVE",
        "MODEL_IN_USE",
    ),
    Meaning.NO_CREDIT: ("NO_CREDITS", "UPLOAD_LIMIT_EXCEEDED"),
    Meaning.NOT_THERE: (
        Reason.MODEL_NOT_FOUND,
        Reason.AUDIO_EXPIRED,
        Reason.AUDIO_MISSING,
        "JOB_NOT_FOUND",
        "API_KEY_NOT_FOUND",
        "CHECKOUT_NOT_FOUND",
        "DATASET_NOT_FOUND",
        "AUDIO_NOT_FOUND",
        "ANNOTATION_SET_NOT_FOUND",
        "ANNOTATION_NOT_FOUND",
        "TRAINING_JOB_NOT_FOUND",
        "INFERENCE_JOB_NOT_FOUND",
        "FILE_NOT_FOUND",
    ),
    Meaning.BUSY: (Reason.OVERLOADED, Reason.STORE_FULL),
    Meaning.FAULT: (Reason.BACKEND_ERROR, Reason.BACKEND_UNREACHABLE, "SERVICE_UNAVAILABLE", "PAYMENT_PROVIDER_FAILED"),
}


def answers_of(by_meaning: Mapping[Meaning, Answer], by_reason: Mapping[str, Answer]) -> dict[str, Answer]:
    """A contract's table: the answer of each meaning for all of its reasons, save those that have one of their own."""
    told = {reason: answer for meaning, answer in by_meaning.items() for reason in MEANINGS[meaning]}
    return {**told, **by_reason}
