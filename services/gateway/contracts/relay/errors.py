"""Errors of the Relay contract: a sentence, or a list of fields at fault."""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from services.gateway.contracts.native import errors as native
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
        "UPLOAD_INCOMPLETE": Answer(400, "BAD_REQUEST", "The upload has not arrived yet: POST the whole file with its form first."),
    },
)


# Fields of the mesh that have another name here.
_FIELDS: Mapping[str, str] = {"start_offset_ms": "start_ms", "end_offset_ms": "end_ms", "size_bytes": "file_size"}
# What a service says of a refusal that its sentence leaves open; never an id, or what is not there would not look like what is others'.
_NAMED = ("artifact_type",)


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    loc: list[str | int]
    msg: str
    type: str


class RelayError(BaseModel):
    """The body of every refusal; the list comes with 422."""

    detail: str | list[FieldProblem]


class BesideNativeError(RelayError):
    """The same with what native clients read."""

    error: str
    code: str


def relay_errors() -> ContractErrors:
    """The Relay contract's refusals."""
    return ContractErrors(ANSWERS, _FAILED, _body, RelayError, when_to_come_back)


def beside_native_errors() -> ContractErrors:
    """The same statuses and details with the native contract's codes, for the native prefix."""
    answers = {reason: replace(answer, code=native.ANSWERS[reason].code) for reason, answer in ANSWERS.items()}
    return ContractErrors(answers, Answer(500, "BACKEND_ERROR"), _body_beside_native, BesideNativeError, when_to_come_back)


def _body(told: Told) -> Mapping[str, Json]:
    if told.status != 422:
        return {"detail": _sentence(told)}
    kind = "uuid_parsing" if told.reason == Reason.BAD_ID else "value_error"
    return {"detail": [{"loc": _place(told), "msg": told.sentence, "type": kind}]}


def _body_beside_native(told: Told) -> Mapping[str, Json]:
    return {"error": _sentence(told), "code": told.code, **_body(told)}


def _sentence(told: Told) -> str:
    """With what the refusal is about, where the service named it."""
    named = [told.metadata[name] for name in _NAMED if name in told.metadata]
    return f"{told.sentence.removesuffix('.')}: {', '.join(named)}." if named else told.sentence


def _place(told: Told) -> list[Json]:
    """From the outermost: body, field, position, field."""
    if told.reason == Reason.BAD_ID:
        return ["path", "id"]
    parts = [part for part in told.field.split(".") if part]
    return ["body", *(int(part) if part.isdecimal() and part.isascii() else _FIELDS.get(part, part) for part in parts)]
