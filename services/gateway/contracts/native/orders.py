"""What a submit asks for, from a form's fields or from JSON, as a transcription order."""

import re
from collections.abc import Iterable

from services.gateway.contracts.native.rows import SOURCES
from services.gateway.contracts.native.schemas import JsonOrder
from services.gateway.domain import Reason, Refusal
from services.gateway.form_fields import MAX_PROMPT_BYTES, boolean, language_code, single
from services.gateway.submissions import Fields, Order
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig

MAX_SPEAKERS = 20
_NUMBER = re.compile(r"[0-9]{1,2}")


def read_order(fields: Fields) -> Order:
    """The order in a form; unknown fields say nothing. Raises Refusal."""
    config = TranscriptionConfig(
        language=language_code(single(fields, "language", "")),
        diarize=boolean(fields, "diarize", "true"),
        word_timestamps=boolean(fields, "word_timestamps", "true"),
        speaker_count=_speakers(fields),
        prompt=_prompt(single(fields, "prompt", "")),
        strict=boolean(fields, "strict", "false"),
    )
    return Order(_source(single(fields, "source", "upload")), config)


def order_of(asked: JsonOrder, default_source: str) -> Order:
    """The order in a JSON object. Raises Refusal."""
    counts = {"speaker_count": asked.speaker_count, "num_speakers": asked.num_speakers}
    config = TranscriptionConfig(
        language=language_code(asked.language or ""),
        diarize=asked.diarize,
        word_timestamps=asked.word_timestamps,
        speaker_count=_agreed(_speaker_count(name, count) for name, count in counts.items() if count is not None),
        prompt=_prompt(asked.prompt or ""),
        strict=asked.strict,
    )
    return Order(_source(asked.source if "source" in asked.model_fields_set else default_source), config)


def _source(name: object) -> Job.Source.ValueType:
    if not isinstance(name, str) or name not in SOURCES:
        raise Refusal(Reason.BAD_SOURCE)
    return SOURCES[name]


def _speakers(fields: Fields) -> int:
    names = [name for name in ("speaker_count", "num_speakers") if single(fields, name, "")]
    return _agreed(_speaker_count(name, _digits(name, single(fields, name, ""))) for name in names)


def _digits(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _bad_count(name)
    return int(text)


def _speaker_count(name: str, count: int) -> int:
    if not 1 <= count <= MAX_SPEAKERS:
        raise _bad_count(name)
    return count


def _bad_count(name: str) -> Refusal:
    return Refusal(Reason.BAD_FIELD, f"{name} is a whole number from 1 to {MAX_SPEAKERS}.", field=name)


def _agreed(counts: Iterable[int]) -> int:
    """The one number that both names of the field say; 0 for neither."""
    said = set(counts)
    if len(said) > 1:
        raise Refusal(Reason.BAD_FIELD, "speaker_count and num_speakers differ.", field="num_speakers")
    return said.pop() if said else 0


def _prompt(text: str) -> str:
    if len(text.encode()) > MAX_PROMPT_BYTES or "\0" in text:
        raise Refusal(Reason.BAD_FIELD, f"prompt has at most {MAX_PROMPT_BYTES} bytes of text.", field="prompt")
    return text
