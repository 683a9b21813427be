"""Errors of the ActionVibe contract: one table from reason to status and code."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.meanings import Meaning, answers_of
from services.gateway.refusals import Answer, ContractErrors, Told, sentence_with_field, when_to_come_back
from services.gateway.sentences import SENTENCES

_INVALID = Answer(400, "INVALID_REQUEST")
# A malformed id and somebody else's transcription are told apart by nobody.
_NOT_FOUND = Answer(404, "NOT_FOUND", SENTENCES["JOB_NOT_FOUND"])
_FAILED = Answer(500, "SERVER_ERROR")

ANSWERS = answers_of(
    {
        Meaning.UNKNOWN_CALLER: Answer(401, "UNAUTHORIZED"),
        Meaning.FORBIDDEN: Answer(403, "FORBIDDEN"),
        Meaning.MALFORMED: _INVALID,
        Meaning.BAD_FIELD: _INVALID,
        Meaning.BAD_CHOICE: _INVALID,
        Meaning.BAD_FILE: Answer(400, "UNSUPPORTED_FILE_TYPE"),
        Meaning.TOO_LARGE: Answer(400, "FILE_TOO_LARGE"),
        Meaning.CONFLICT: _INVALID,
        Meaning.NO_CREDIT: Answer(400, "MONTHLY_LIMIT_EXCEEDED"),
        Meaning.NOT_THERE: _NOT_FOUND,
        Meaning.BUSY: _FAILED,
        Meaning.FAULT: _FAILED,
    },
    {
        Reason.BAD_ID: _NOT_FOUND,
        Reason.NO_FILE: Answer(400, "NO_FILE_PROVIDED"),
        Reason.MISSING_API_KEY: Answer(401, "UNAUTHORIZED", "Send your API token as Authorization: Bearer."),
        Reason.NOT_FOUND: Answer(404, "NOT_FOUND"),
        Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED"),
        Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED"),
    },
)


class ActionVibeError(BaseModel):
    """The body of every refusal."""

    error: str
    code: str


def actionvibe_errors() -> ContractErrors:
    """The ActionVibe contract's refusals."""
    return ContractErrors(ANSWERS, _FAILED, _body, ActionVibeError, when_to_come_back)


def _body(told: Told) -> Mapping[str, Json]:
    return {"error": sentence_with_field(told), "code": told.code}
