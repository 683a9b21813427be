"""What a form of the audio endpoints asks for. Parameters come before the file or after it, arrays as `name[]` or `name`."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from services.gateway.contracts.openai.fields import boolean, bracketed, choices, many, number
from services.gateway.domain import Reason, Refusal
from services.gateway.form_fields import language_code, single, strict
from services.gateway.formats.verbose import SEGMENT, WORD
from services.gateway.multipart import FormLimits
from services.gateway.submissions import Fields
from steno.jobs.v1.job_pb2 import TranscriptionConfig

MAX_SPEAKERS = 4
MAX_PROMPT_BYTES = 4096
MAX_NAME_CHARACTERS = 64
REFERENCES = "known_speaker_references"
NAMES = "known_speaker_names"
# A reference of 3 MiB in base64, with the head of its data URL.
_MAX_REFERENCE_BYTES = 4 * 1024 * 1024 + 512
FORM_LIMITS = FormLimits(
    max_fields=256,
    max_field_bytes=64 * 1024,
    max_total_bytes=MAX_SPEAKERS * _MAX_REFERENCE_BYTES + 256 * 1024,
    large_fields=frozenset({REFERENCES, f"{REFERENCES}[]"}),
    max_large_field_bytes=_MAX_REFERENCE_BYTES,
)


class Format(StrEnum):
    """How the transcript is answered."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VERBOSE_JSON = "verbose_json"
    VTT = "vtt"
    DIARIZED_JSON = "diarized_json"


@dataclass(frozen=True)
class Ask:
    """What a form says beside its file. references: data URLs, one for each of the speakers' names."""

    model: str
    format: Format
    config: TranscriptionConfig
    granularities: frozenset[str] = frozenset({SEGMENT})
    logprobs: bool = False
    stream: bool = False
    names: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def translates(self) -> bool:
        """Whether the answer is in English, whatever was spoken."""
        return self.config.task == TranscriptionConfig.TASK_TRANSLATE


class _Strategy(BaseModel):
    """Steno finds speech by its own means; what is sent is checked and then says nothing."""

    type: Literal["server_vad", "auto"]
    prefix_padding_ms: Annotated[int, Field(ge=0)] = 0
    silence_duration_ms: Annotated[int, Field(ge=0)] = 0
    threshold: Annotated[float, Field(ge=0, le=1)] = 0


def read_transcription(fields: Fields) -> Ask:
    """What the fields so far ask for; unknown ones say nothing. Raises Refusal."""
    form = _format(fields, set(Format))
    granularities = choices(fields, "timestamp_granularities", {SEGMENT, WORD}) or frozenset({SEGMENT})
    logprobs = bool(choices(fields, "include", {"logprobs"}))
    names = _names(fields)
    _check_chunking(fields)
    config = TranscriptionConfig(
        language=_language(fields),
        diarize=form is Format.DIARIZED_JSON or bool(names),
        word_timestamps=logprobs or form in (Format.SRT, Format.VTT) or (form is Format.VERBOSE_JSON and WORD in granularities),
        prompt=_prompt(fields),
        temperature=_temperature(fields),
        strict=strict(fields),
    )
    stream, references = boolean(fields, "stream"), many(fields, REFERENCES)
    return Ask(single(fields, "model"), form, config, granularities, logprobs, stream, names, references)


def read_translation(fields: Fields) -> Ask:
    """The same for a translation into English. Raises Refusal."""
    form = _format(fields, set(Format) - {Format.DIARIZED_JSON})
    config = TranscriptionConfig(
        task=TranscriptionConfig.TASK_TRANSLATE,
        word_timestamps=form in (Format.SRT, Format.VTT),
        prompt=_prompt(fields),
        temperature=_temperature(fields),
        strict=strict(fields),
    )
    return Ask(single(fields, "model"), form, config)


def check_complete(ask: Ask) -> None:
    """Refuse what is missing once the whole form has been read. Raises Refusal."""
    if not ask.model:
        raise Refusal(Reason.BAD_FIELD, "Name a model.", field="model")
    if len(ask.names) != len(ask.references):
        raise Refusal(Reason.BAD_FIELD, f"Send as many {REFERENCES} as {NAMES}.", field=REFERENCES)


def _format(fields: Fields, allowed: set[Format]) -> Format:
    text = single(fields, "response_format") or Format.JSON
    if text not in allowed:
        names = ", ".join(form for form in Format if form in allowed)
        raise Refusal(Reason.BAD_FIELD, f"response_format is one of {names}.", field="response_format")
    return Format(text)


def _language(fields: Fields) -> str:
    """The language asked for; of several possible ones none, for it is found out anyway."""
    possible = {language_code(text.lower(), "languages") for text in many(fields, "languages")}
    language = language_code(single(fields, "language").lower())
    return language or (possible.pop() if len(possible) == 1 else "")


def _prompt(fields: Fields) -> str:
    """Prompt and keywords in one; of a long one the end, which is what counts."""
    keywords = ", ".join(text.strip() for text in many(fields, "keywords"))
    text = " ".join(filter(None, (single(fields, "prompt").strip(), keywords)))
    if "\0" in text:
        raise Refusal(Reason.BAD_FIELD, "prompt is plain text.", field="prompt")
    return text.encode()[-MAX_PROMPT_BYTES:].decode(errors="ignore")


def _temperature(fields: Fields) -> float | None:
    return number(fields, "temperature", least=0, most=1)


def _names(fields: Fields) -> tuple[str, ...]:
    names = many(fields, NAMES)
    if len(names) > MAX_SPEAKERS or len(many(fields, REFERENCES)) > MAX_SPEAKERS:
        raise Refusal(Reason.BAD_FIELD, f"At most {MAX_SPEAKERS} speakers can be known.", field=NAMES)
    if len(set(names)) < len(names) or not all(_is_name(name) for name in names):
        raise Refusal(Reason.BAD_FIELD, f"Known names differ and have 1 to {MAX_NAME_CHARACTERS} printable characters.", field=NAMES)
    return names


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable() and name == " ".join(name.split())


def _check_chunking(fields: Fields) -> None:
    """ "auto", an object as bracketed fields, or one as JSON. Raises Refusal."""
    text, parts = single(fields, "chunking_strategy"), bracketed(fields, "chunking_strategy")
    if text in ("", "auto", "null") and not parts:
        return
    try:
        strategy = json.loads(text) if text else parts
        if strategy != "auto":
            _Strategy.model_validate(strategy)
    except (ValueError, RecursionError, ValidationError) as error:
        sentence = 'chunking_strategy is "auto" or an object of type server_vad.'
        raise Refusal(Reason.BAD_FIELD, sentence, field="chunking_strategy") from error
