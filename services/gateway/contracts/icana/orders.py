"""The form's fields as a transcription order."""

from services.gateway.form_fields import end_of_prompt, language, strict
from services.gateway.submissions import Fields, Order
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig

DEFAULT_LANGUAGE = "en"


def read_order(fields: Fields) -> Order:
    """The order in a form, always with speakers; unknown fields say nothing. Raises Refusal."""
    config = TranscriptionConfig(
        language=language(fields, DEFAULT_LANGUAGE),
        diarize=True,
        word_timestamps=True,
        prompt=end_of_prompt(fields),
        strict=strict(fields),
    )
    return Order(Job.SOURCE_API, config)
