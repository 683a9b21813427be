"""The OpenAI contract's operations."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.contract import Contract
from services.gateway.contracts.openai import schemas
from services.gateway.contracts.openai.audio import Audio
from services.gateway.contracts.openai.models import ModelNames
from services.gateway.domain import Reason
from services.gateway.operation import FORM_TYPE, Answer, Body, Operation, RateKind
from services.gateway.refusals import ContractErrors

PREFIXES = ("/v1", "/openai/v1")
_TEXTS = ("text/plain", "text/vtt")
_JOB = {"X-Steno-Job-Id": "The job behind the answer, to be read at /api/v1/jobs/{id}."}
_SUBMIT = (
    Reason.NO_FILE,
    Reason.BAD_FIELD,
    Reason.BAD_LANGUAGE,
    Reason.MODEL_NOT_FOUND,
    Reason.FILE_TOO_LARGE,
    "EMPTY_MEDIA",
    "UNSUPPORTED_MEDIA",
    "MEDIA_TOO_LONG",
    "MEDIA_TAKEN",
    "NO_CREDITS",
    "UPLOAD_LIMIT_EXCEEDED",
    Reason.JOB_FAILED,
    Reason.JOB_CANCELLED,
    Reason.NOT_READY,
)


@dataclass(frozen=True)
class OpenAI:
    """The OpenAI contract over its parts."""

    audio: Audio
    models: ModelNames
    errors: ContractErrors

    def contract(self) -> Contract:
        """What it can do, and where."""
        return Contract("openai", "OpenAI audio", PREFIXES, [*self._audio(), *self._models()], self.errors)

    def _audio(self) -> Sequence[Operation]:
        return [
            Operation(
                "POST",
                "/audio/transcriptions",
                "create_transcription",
                "Transcribe a file and wait for the transcript",
                self.audio.transcribe,
                {200: Answer("The transcript.", schemas.TranscriptionAnswer, (*_TEXTS, "text/event-stream"), _JOB)},
                _SUBMIT,
                Body(schemas.TranscriptionFields, FORM_TYPE, "file"),
                rate=RateKind.UPLOADS,
                precheck=self.audio.precheck,
            ),
            Operation(
                "POST",
                "/audio/translations",
                "create_translation",
                "Translate a file into English and wait for the text",
                self.audio.translate,
                {200: Answer("The translation.", schemas.TranslationAnswer, _TEXTS, _JOB)},
                _SUBMIT,
                Body(schemas.TranslationFields, FORM_TYPE, "file"),
                rate=RateKind.UPLOADS,
                precheck=self.audio.precheck,
            ),
        ]

    def _models(self) -> Sequence[Operation]:
        return [
            Operation(
                "GET",
                "/models",
                "list_models",
                "The deployed models and the names that stand for them",
                self.models.list_models,
                {200: Answer("Every name worth choosing from.", schemas.ModelList)},
            ),
            Operation(
                "GET",
                "/models/{model:path}",
                "retrieve_model",
                "A model that submits may name",
                self.models.retrieve_model,
                {200: Answer("The model.", schemas.Model)},
                (Reason.MODEL_NOT_FOUND, Reason.NOT_FOUND),
            ),
        ]
