"""Errors of the Icana contract: a status and one sentence."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.meanings import Meaning, answers_of
from services.gateway.refusals import Answer, ContractErrors, Told, sentence_with_field, when_to_come_back
from services.gateway.sentences import SENTENCES

_BAD_REQUEST = Answer(400, "BAD_REQUEST")
# A malformed id and somebody else's job are told apart by nobody.
_NOT_FOUND = Answer(404, "NOT_FOUND", SENTENCES["JOB_NOT_FOUND"])
_FAILED = Answer(500, "SERVER_ERROR")

ANSWERS = answers_of(
    {
        Meaning.UNKNOWN_CALLER: Answer(401, "UNAUTHORIZED"),
        Meaning.FORBIDDEN: Answer(403, "FORBIDDEN"),
        Meaning.MALFORMED: _BAD_REQUEST,
        Meaning.BAD_FIELD: _BAD_REQUEST,
        Meaning.BAD_CHOICE: _BAD_REQUEST,
        Meaning.BAD_FILE: _BAD_REQUEST,
        Meaning.TOO_LARGE: _BAD_REQUEST,
        Meaning.CONFLICT: _BAD_REQUEST,
        Meaning.NO_CREDIT: Answer(402, "PAYMENT_REQUIRED"),
        Meaning.NOT_THERE: _NOT_FOUND,
        Meaning.BUSY: _FAILED,
        Meaning.FAULT: _FAILED,
    },
    {
        Reason.BAD_ID: _NOT_FOUND,
        Reason.NO_FILE: _BAD_REQUEST,
        Reason.NOT_FOUND: Answer(404, "NOT_FOUND"),
        Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED"),
        Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED"),
    },
)
# Clients compare this one with the published words.
_RATE_LIMITED = "Rate limit exceeded. Please retry later."


class IcanaError(BaseModel):
    """The body of every refusal."""

    detail: str


def icana_errors() -> ContractErrors:
    """The Icana contract's refusals."""
    return ContractErrors(ANSWERS, _FAILED, _body, IcanaError, when_to_come_back)


def _body(told: Told) -> Mapping[str, Json]:
    if told.status == 429:
        return {"detail": _RATE_LIMITED}
    return {"detail": sentence_with_field(told)}
