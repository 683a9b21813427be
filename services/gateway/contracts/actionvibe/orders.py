"""The form's fields as a transcription order."""

import re

from services.gateway.domain import Reason, Refusal
from services.gateway.form_fields import language, single, strict
from services.gateway.submissions import Fields, Order
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig

DEFAULT_LANGUAGE = "en"
DEFAULT_TITLE = "API Upload"
MAX_TITLE_CHARACTERS = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_order(fields: Fields) -> Order:
    """The order in a form, always with speakers; unknown fields say nothing. Raises Refusal."""
    config = TranscriptionConfig(language=language(fields, DEFAULT_LANGUAGE), diarize=True, word_timestamps=True, strict=strict(fields))
    return Order(Job.SOURCE_API, config, _title(fields))


def _title(fields: Fields) -> str:
    title = single(fields, "title").strip()
    if len(title) > MAX_TITLE_CHARACTERS or _CONTROL.search(title):
        raise Refusal(Reason.BAD_FIELD, f"title is one line of at most {MAX_TITLE_CHARACTERS} characters.", field="title")
    return title or DEFAULT_TITLE
