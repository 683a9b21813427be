"""The ActionVibe contract's operations, at both spellings of every path."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.gateway.contract import Contract
from services.gateway.contracts.actionvibe import schemas
from services.gateway.contracts.actionvibe.errors import actionvibe_errors
from services.gateway.contracts.actionvibe.tokens import Tokens
from services.gateway.contracts.actionvibe.transcriptions import Transcriptions
from services.gateway.contracts.actionvibe.usage import UsageReport
from services.gateway.domain import Reason
from services.gateway.operation import FORM_TYPE, Answer, Body, Operation, RateKind
from services.mesh.identity import Scope

PREFIXES = ("", "/actionvibe")
NAMES = ("transcriptions", "transcription", "transcriptions-list", "tokens", "usage")
OWNED = (*(f"{start}{name}" for start in ("/api/", "/api-") for name in NAMES), "/actionvibe")
_MEDIA = ("EMPTY_MEDIA", "UNSUPPORTED_MEDIA", "MEDIA_TOO_LARGE", "MEDIA_TOO_LONG")
_UPLOAD = (Reason.BAD_REQUEST, Reason.NO_FILE, Reason.BAD_FIELD, Reason.BAD_LANGUAGE, *_MEDIA, "NO_CREDITS", Reason.OVERLOADED)
_OF_JOB = (Reason.BAD_ID, "JOB_NOT_FOUND", "AUTHENTICATION_REQUIRED")


@dataclass(frozen=True)
class ActionVibe:
    """The ActionVibe contract over its parts."""

    transcriptions: Transcriptions
    tokens: Tokens
    usage: UsageReport

    def contract(self) -> Contract:
        """What it can do, and where."""
        operations = [spelled for operation in self._operations() for spelled in _both_spellings(operation)]
        return Contract("actionvibe", "ActionVibe", PREFIXES, operations, actionvibe_errors(), owns=OWNED)

    def _operations(self) -> Sequence[Operation]:
        return [*self._transcriptions(), *self._lists(), *self._account()]

    def _transcriptions(self) -> Sequence[Operation]:
        one = {200: Answer("The transcription.", schemas.Transcription)}
        return [
            Operation(
                "POST",
                "/api/transcriptions",
                "actionvibe_upload",
                "Transcribe a file",
                self.transcriptions.upload,
                {
                    201: Answer("The transcription is accepted.", schemas.Uploaded),
                    200: Answer("The same request made it before.", schemas.Uploaded, headers={"X-Idempotent-Replay": "true"}),
                },
                _UPLOAD,
                Body(schemas.ActionVibeFields, FORM_TYPE, "file"),
                headers=schemas.ActionVibeHeaders,
                rate=RateKind.UPLOADS,
                precheck=self.transcriptions.submissions.precheck,
            ),
            Operation(
                "GET",
                "/api/transcription/{transcription_id}",
                "actionvibe_transcription",
                "A transcription with its content",
                self.transcriptions.of_path,
                one,
                _OF_JOB,
            ),
            Operation(
                "GET",
                "/api/transcription",
                "actionvibe_transcription_by_query",
                "The same, its id in the query",
                self.transcriptions.of_query,
                one,
                (Reason.BAD_REQUEST, *_OF_JOB),
                query=schemas.IdQuery,
            ),
        ]

    def _lists(self) -> Iterator[Operation]:
        """The list is also what GET answers at the path of uploads."""
        for path, name in (("/api/transcriptions-list", "actionvibe_list"), ("/api/transcriptions", "actionvibe_transcriptions")):
            yield Operation(
                "GET",
                path,
                name,
                "The workspace's transcriptions, newest first",
                self.transcriptions.list,
                {200: Answer("A page of transcriptions.", schemas.TranscriptionList)},
                (Reason.BAD_REQUEST,),
                query=schemas.TranscriptionsQuery,
            )

    def _account(self) -> Sequence[Operation]:
        return [
            Operation(
                "POST",
                "/api/tokens",
                "actionvibe_tokens",
                "Make, list and end API tokens",
                self.tokens.manage,
                {200: Answer("What the action answers.", schemas.TokenAnswer)},
                (Reason.BAD_REQUEST, Reason.BAD_FIELD, Reason.FORBIDDEN, Reason.BAD_ID, "API_KEY_NOT_FOUND"),
                Body(schemas.TokenCall),
                scope=Scope.ADMIN,
                rate=RateKind.TOKENS,
            ),
            Operation(
                "GET",
                "/api/usage",
                "actionvibe_usage",
                "Usage of the workspace",
                self.usage.usage,
                {200: Answer("Figures and limits.", schemas.ActionVibeUsage)},
                (Reason.BAD_REQUEST,),
                query=schemas.UsageQuery,
            ),
        ]


def _both_spellings(operation: Operation) -> Iterator[Operation]:
    yield operation
    yield replace(operation, path=operation.path.replace("/api/", "/api-", 1), name=f"{operation.name}_function")
