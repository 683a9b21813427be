"""From whatever a handler raises to a contract's error: one table per contract from reason to status and code."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

from services.gateway.domain import Json, Reason, Refusal
from services.gateway.sentences import FIELD_OF, SENTENCES
from services.mesh.errors import InsufficientScope, InvalidUrl
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger

_logger = get_logger("gateway.refusals")
_RETRY_SECONDS = 5
# Statuses that say when to come back.
WORTH_REPEATING = (429, 502, 503)
# Sentences of other services that are meant for clients; the rest is said in the gateway's own words.
_TOLD_AS_IT_IS = frozenset({"INVALID_FIELD", "MEDIA_TOO_LONG", "INVALID_URL"})

# Faults between services, and ends of jobs that no request is refused for: a client can do nothing about them but try again.
INTERNAL_REASONS = frozenset(
    {
        "INTERNAL",
        "MISSING_CREDENTIALS",
        "INVALID_CALLER_TOKEN",
        "CERTIFICATE_REFUSED",
        "SERVICE_NOT_ALLOWED",
        "WORKSPACE_NOT_FOUND",
        "USER_NOT_FOUND",
        "UNKNOWN_PLAN",
        "HOLD_NOT_FOUND",
        "HOLD_ALREADY_SETTLED",
        "HOLD_ALREADY_RELEASED",
        "MEDIA_NOT_FOUND",
        "ARTEFACT_NOT_FOUND",
        "INVALID_SIGNATURE",
        "JOB_LEASED",
        "STALE_FENCE",
        "ATTEMPTS_EXHAUSTED",
        "UPLOAD_EXPIRED",
        "TRANSCRIPTION_FAILED",
        "TRANSCRIPT_INCOMPLETE",
        "HOLD_LOST",
        "MEDIA_UNPROCESSABLE",
        "LANGUAGE_NOT_SUPPORTED",
        "TASK_NOT_SUPPORTED",
        "ENGINE_UNAVAILABLE",
        "BLOB_MISSING",
        "FETCH_BLOCKED",
        "FETCH_FAILED",
        "LICENCE_NOT_ALLOWED",
        "SITE_NOT_SUPPORTED",
        "TRAINING_FAILED",
        "DETECTION_FAILED",
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a reason is told; an empty sentence means the one that all contracts share."""

    status: int
    code: str
    sentence: str = ""


@dataclass(frozen=True)
class Told:
    """A refusal in a contract's terms. metadata: what the refusing service said beside its reason."""

    reason: str
    status: int
    code: str
    sentence: str
    field: str = ""
    extra: Mapping[str, Json] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    retry_after_seconds: int = 0


BodyOf = Callable[[Told], Mapping[str, Json]]
HeadersOf = Callable[[Told], Mapping[str, str]]


def no_headers(told: Told) -> Mapping[str, str]:
    """Most contracts add no header to a refusal."""
    return {}


def _shown(metadata: Mapping[str, str], scope: Scope) -> Mapping[str, str]:
    """What a service said beside its reason; not what a workspace has left, to guests whom it pays for."""
    client = scope.get("state", {}).get("client")
    paid_for = client is not None and client.guest and not client.caller.wallet_id
    return {name: value for name, value in metadata.items() if not (paid_for and name == "available_ms")}


def when_to_come_back(told: Told) -> Mapping[str, str]:
    """For contracts without a 503: a busy server answers 500 there, and still says when to come back."""
    busy = told.reason in (Reason.OVERLOADED, Reason.STORE_FULL)
    return {"retry-after": str(told.retry_after_seconds or _RETRY_SECONDS)} if busy else {}


def sentence_with_field(told: Told) -> str:
    """For contracts whose refusals name no field: the sentence says which one it is about."""
    about = f"{told.field}: " if told.field and told.field not in told.sentence else ""
    return about + told.sentence


@dataclass(frozen=True)
class ContractErrors:
    """Renders whatever a contract's handler raises.

    answers: by reason of the mesh and of the gateway. internal: for faults between services and for the unexpected.
    model: schema of a refusal's body, for the documents.
    """

    answers: Mapping[str, Answer]
    internal: Answer
    body_of: BodyOf
    model: type[BaseModel]
    headers_of: HeadersOf = no_headers

    def render(self, scope: Scope, error: Exception) -> JSONResponse:
        """The contract's error object with its status."""
        told = self.tell(scope, error)
        headers = dict(self.headers_of(told))
        if told.status in WORTH_REPEATING:
            headers["retry-after"] = str(told.retry_after_seconds or _RETRY_SECONDS)
        if isinstance(error, HTTPException):
            headers.update(error.headers or {})
        return JSONResponse(dict(self.body_of(told)), told.status, headers)

    def answer(self, reason: str) -> Answer:
        """How a reason is told here."""
        return self.answers.get(reason, self.internal)

    def tell(self, scope: Scope, error: Exception) -> Told:
        """The refusal in this contract's terms; what nobody foresaw is logged once."""
        if isinstance(error, Refusal):
            return self._refusal(error)
        if isinstance(error, RemoteError):
            return self._remote(error, scope)
        if isinstance(error, InsufficientScope | InvalidUrl):
            return self._told(error.reason(), self.answer(error.reason()), field=FIELD_OF.get(error.reason(), ""))
        if isinstance(error, HTTPException):
            return self._http(error)
        _logger.error("request failed", path=scope["path"][:200], exc_info=error)
        return self._told("INTERNAL", self.internal)

    def _refusal(self, error: Refusal) -> Told:
        answer = self.answer(error.reason)
        name = error.field or FIELD_OF.get(error.reason, "")
        return self._told(error.reason, answer, error.message, field=name, extra=error.extra, retry_after_seconds=error.retry_after_seconds)

    def _remote(self, error: RemoteError, scope: Scope) -> Told:
        reason = error.reason_name
        late = error.code is grpc.StatusCode.DEADLINE_EXCEEDED
        answer = self.internal if late else self.answer(reason)
        if answer.status >= 500:
            _logger.warning("backend failed", code=error.code.name, reason=reason, error=error.message)
        name = FIELD_OF.get(reason) or error.metadata.get("field", "").rpartition(".")[2]
        message = error.message if reason in _TOLD_AS_IT_IS else ""
        known = reason if reason in self.answers and not late else "INTERNAL"
        return self._told(known, answer, message, field=name, metadata=_shown(error.metadata, scope))

    def _http(self, error: HTTPException) -> Told:
        """What Starlette's router raises: no such path, no such method."""
        reason = {404: Reason.NOT_FOUND, 405: Reason.METHOD_NOT_ALLOWED}.get(error.status_code, Reason.BAD_REQUEST)
        sentence = "There is nothing at this address." if reason is Reason.NOT_FOUND else ""
        return self._told(reason, self.answer(reason), sentence)

    def _told(
        self,
        reason: str,
        answer: Answer,
        message: str = "",
        *,
        field: str = "",
        extra: Mapping[str, Json] | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_seconds: int = 0,
    ) -> Told:
        sentence = message or answer.sentence or SENTENCES.get(reason, SENTENCES["INTERNAL"])
        return Told(reason, answer.status, answer.code, sentence, field, extra or {}, metadata or {}, retry_after_seconds)
