"""`steno transcribe`: send a recording, follow the job, bring out the transcript."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.client.api import Api, Row, open_api
from services.client.display import job_bar, say, upload_bar
from services.client.failures import CommandFailed, Interrupted, Unreachable, WrongUsage
from services.client.following import follow
from services.client.results import check_destination, deliver
from services.client.submission import Recording, find_recording, submit


@dataclass(frozen=True)
class Order:
    """What the command line asks for. speakers: 0 means that the engine counts them."""

    file: str
    transcript_format: str = "txt"
    output: Path | None = None
    language: str = ""
    diarize: bool = True
    word_timestamps: bool = True
    speakers: int = 0
    idempotency_key: str = ""
    detach: bool = False
    strict: bool = False


def transcribe(order: Order) -> None:
    """Carry out the order; with `detach` only submit it and print the job's id. Raises CommandFailed."""
    if order.detach and order.output is not None:
        raise WrongUsage("--detach does not wait for the transcript that --output would save: choose one.")
    if not order.detach:
        check_destination(order.transcript_format, order.output)
    recording = find_recording(order.file)
    with open_api() as api:
        job_id = str(_submit(api, recording, order)["job_id"])
        if order.detach:
            print(job_id)
            return
        finish(api, job_id, order.transcript_format, order.output)


def finish(api: Api, job_id: str, transcript_format: str, output: Path | None) -> None:
    """Follow a job to its end and deliver its transcript. Raises CommandFailed."""
    job = watch(api, job_id)
    check_done(job)
    deliver(api, job_id, transcript_format, output)
    if job.get("speech_detected") is False:
        say(f"{job.get('filename') or 'The recording'} holds no speech, so there is no transcript.")


def watch(api: Api, job_id: str) -> Row:
    """Follow a job to its end under a bar. Raises CommandFailed, also on Ctrl-C, saying that the job goes on."""
    later = f"The job goes on without you: `steno jobs watch {job_id}` follows it, `steno jobs result {job_id}` prints its transcript."
    try:
        with job_bar() as on_change:
            return follow(api, job_id, on_change)
    except KeyboardInterrupt as error:
        raise Interrupted(later) from error
    except Unreachable as error:
        raise CommandFailed(f"{error}\n{later}") from error


def check_done(job: Row) -> None:
    """Raises CommandFailed with the job's own reason when it failed or was cancelled."""
    if job.get("status") == "cancelled":
        raise CommandFailed(f"Job {job['job_id']} was cancelled.")
    if job.get("status") == "failed":
        raise CommandFailed(f"Job {job['job_id']} failed: {_reason(job)}")


def _reason(job: Row) -> str:
    error = job.get("error")
    if isinstance(error, dict):
        sentence, code = error.get("error") or error.get("message"), error.get("code") or error.get("reason")
    else:
        sentence, code = error, job.get("error_code") or job.get("code")
    sentence = sentence or "the server gave no reason"
    return f"{sentence} ({code})" if code else str(sentence)


def _submit(api: Api, recording: Recording, order: Order) -> Row:
    key = order.idempotency_key or str(uuid.uuid4())
    try:
        with upload_bar(recording.name, recording.size_bytes) as on_bytes:
            return submit(api, recording, dict(_fields(order)), key, on_bytes)
    except KeyboardInterrupt as error:
        raise Interrupted("The upload was stopped; nothing was submitted.") from error


def _fields(order: Order) -> Mapping[str, str]:
    fields = {
        "source": "api",
        "diarize": str(order.diarize).lower(),
        "word_timestamps": str(order.word_timestamps).lower(),
    }
    if order.language:
        fields["language"] = order.language
    if order.speakers:
        fields["speaker_count"] = str(order.speakers)
    if order.strict:
        fields["strict"] = "true"
    return fields
