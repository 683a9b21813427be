"""Shapes of the OpenAI contract, for its documents. Source: OpenAI API reference, audio and models."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel

from services.gateway.quality_schemas import Quality, SegmentQuality

FormatName = Literal["json", "text", "srt", "verbose_json", "vtt"]
Temperature = Annotated[float, Field(ge=0, le=1)]


class TranslationFields(BaseModel):
    """What a translation can say beside its file."""

    model: str = Field(min_length=1, max_length=255, description="Any name; it stands for a deployed model.")
    prompt: str | None = Field(None, description="Words and phrases that help to spell names; of a long one the last 4096 bytes count.")
    response_format: FormatName = "json"
    temperature: Temperature | None = None
    strict: bool = Field(False, description="Steno's own: fail where the transcript would otherwise have a gap.")


class TranscriptionFields(TranslationFields):
    """What a transcription can say beside its file; arrays are repeated fields, their names with or without the brackets."""

    language: str | None = Field(None, pattern="^([A-Za-z]{2}|auto)$", description="ISO 639-1 code; absent: found out.")
    languages: list[str] | None = Field(None, alias="languages[]", description="Possible languages; a single one is taken.")
    keywords: list[str] | None = Field(None, alias="keywords[]", description="Added to the prompt.")
    response_format: FormatName | Literal["diarized_json"] = "json"  # type: ignore[assignment]
    include: list[Literal["logprobs"]] | None = Field(None, alias="include[]")
    timestamp_granularities: list[Literal["word", "segment"]] | None = Field(None, alias="timestamp_granularities[]")
    stream: bool = Field(False, description="Answer with server-sent events as the text is ready.")
    chunking_strategy: str | None = Field(None, description='"auto", or an object of type server_vad as JSON or bracketed fields.')
    known_speaker_names: list[str] | None = Field(None, alias="known_speaker_names[]", max_length=4)
    known_speaker_references: list[str] | None = Field(
        None, alias="known_speaker_references[]", max_length=4, description="A data URL with 2 to 10 seconds of each one's voice."
    )


class Usage(BaseModel):
    """What the transcription used."""

    type: Literal["duration"]
    seconds: int


class Logprob(BaseModel):
    """How sure the model was of a word."""

    token: str
    bytes: list[int]
    logprob: float


class Transcription(BaseModel):
    """response_format json."""

    text: str
    logprobs: list[Logprob] | None = Field(None, description="Only when include[] asks for it.")
    usage: Usage | None = Field(None, description="Not of translations.")


class VerboseSegment(SegmentQuality):
    """A stretch of speech; times in seconds."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class VerboseWord(BaseModel):
    """A word; times in seconds."""

    word: str
    start: float
    end: float


class VerboseTranscription(Quality):
    """response_format verbose_json."""

    task: Literal["transcribe", "translate"]
    language: str = Field(description="English name in lower case.")
    duration: float
    text: str
    segments: list[VerboseSegment] | None = None
    words: list[VerboseWord] | None = None
    usage: Usage


class DiarizedSegment(SegmentQuality):
    """A stretch of speech of one speaker; times in seconds."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str


class DiarizedTranscription(Quality):
    """response_format diarized_json."""

    task: Literal["transcribe"]
    duration: float
    text: str
    segments: list[DiarizedSegment]
    usage: Usage


class TranscriptionAnswer(RootModel[DiarizedTranscription | VerboseTranscription | Transcription]):
    """The transcript in one of the JSON formats."""


class TranslationAnswer(RootModel[VerboseTranscription | Transcription]):
    """The translation in one of the JSON formats."""


class Model(BaseModel):
    """A name that submits may use."""

    id: str
    object: Literal["model"]
    created: int = Field(description="Always 0: nobody keeps it.")
    owned_by: str


class ModelList(BaseModel):
    """Every deployed model, and the names that stand for one."""

    object: Literal["list"]
    data: list[Model]
