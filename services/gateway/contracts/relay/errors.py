"""Errors of the Relay contract: a sentence, or a list of fields at fault."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.gateway.domain import Json, Reason
from services.gateway.meanings import Meaning, answers_of
from services.gateway.refusals import Answer, ContractErrors, Told, when_to_come_back

_BAD_REQUEST = Answer(400, "BAD_REQUEST")
_NOT_FOUND = Answer(404, "NOT_FOUND")
_INVALID = Answer(422, "VALUE_ERROR")
_FAILED = Answer(500, "SERVER_ERROR")

ANSWERS = answers_of(
    {
        Meaning.UNKNOWN_CALLER: Answer(401, "UNAUTHORIZED"),
        Meaning.FORBIDDEN: Answer(403, "FORBIDDEN"),
        Meaning.MALFORMED: _BAD_REQUEST,
        Meaning.BAD_FIELD: _INVALID,
        Meaning.BAD_CHOICE: _BAD_REQUEST,
        Meaning.BAD_FILE: _BAD_REQUEST,
        Meaning.TOO_LARGE: _BAD_REQUEST,
        Meaning.CONFLICT: _BAD_REQUEST,
        Meaning.NO_CREDIT: _BAD_REQUEST,
        Meaning.NOT_THERE: _NOT_FOUND,
        Meaning.BUSY: _FAILED,
        Meaning.FAULT: _FAILED,
    },
    {
        Reason.BAD_ID: Answer(422, "UUID_PARSING"),
        Reason.NO_FILE: _INVALID,
        Reason.NOT_FOUND: _NOT_FOUND,
        Reason.METHOD_NOT_ALLOWED: Answer(405, "METHOD_NOT_ALLOWED"),
        Reason.RATE_LIMITED: Answer(429, "RATE_LIMITED"),
    },
)


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
    return ContractErrors(ANSWERS, _FAILED, _body, RelayError, when_to_come_back)


def _body(told: Told) -> Mapping[str, Json]:
    if told.status != 422:
        return {"detail": told.sentence}
    place: list[Json] = ["path", "id"] if told.reason == Reason.BAD_ID else ["body", *filter(None, [told.field])]
    return {"detail": [{"loc": place, "msg": told.sentence, "type": told.code.lower()}]}
