"""What jobs are and may become: errors, edges, and the rules for orders."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import unquote, urlsplit

from services.mesh.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    InvalidField,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
)
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job, JobError, KnownSpeaker, TranscriptionConfig
from steno.storage.v1.media_pb2 import Media

QUEUED: Final = Job.STATE_QUEUED
PROCESSING: Final = Job.STATE_PROCESSING
DONE: Final = Job.STATE_DONE
FAILED: Final = Job.STATE_FAILED
CANCELLED: Final = Job.STATE_CANCELLED
ENDED: Final = frozenset({DONE, FAILED, CANCELLED})
READY: Final = Job.WAITING_UNSPECIFIED
FETCH: Final = Job.WAITING_FETCH
UPLOAD: Final = Job.WAITING_UPLOAD
TRANSCRIPTION: Final = Job.KIND_UNSPECIFIED
TRAINING: Final = Job.KIND_TRAINING
DETECTION: Final = Job.KIND_DETECTION
# The class of work of each kind of job, and so the queue that its workers share.
WORK_CLASSES: Final[dict[int, str]] = {TRANSCRIPTION: "transcription", TRAINING: "training", DETECTION: "detection"}

MAX_SPEAKER_COUNT: Final = 20
MAX_PROMPT_BYTES: Final = 4096
MAX_TITLE_CHARACTERS: Final = 255
MAX_KNOWN_SPEAKERS: Final = 4
MAX_NAME_CHARACTERS: Final = 64
MAX_EMBEDDING_BYTES: Final = 4096
MAX_CLAIM_TOKENS: Final = 100
MAX_KEY_TTL: Final = timedelta(days=366)
MAX_WINDOW_BYTES: Final = 1 << 20
MAX_WINDOW_INDEX: Final = 100_000
MAX_PAGE_SIZE: Final = 100
DEFAULT_PAGE_SIZE: Final = 20
# Longer than a hold, a transaction and a difference between two clocks together.
_ORDER_MARGIN: Final = timedelta(minutes=10)

_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:/-]{1,255}")
_LANGUAGE_TAG = re.compile(r"([A-Za-z]{2})([-_][A-Za-z0-9]{2,8})*")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# The two-letter codes of ISO 639-1.
_LANGUAGE_CODES: Final = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en "
    "eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja "
    "jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb "
    "nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq "
    "sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
_LANGUAGES: Final = frozenset(_LANGUAGE_CODES.split())


class JobNotFound(NotFound):
    """No job has this id."""


class JobAlreadyEnded(FailedPrecondition):
    """The job has its final state."""


class JobLeased(Aborted):
    """Another worker holds the job's lease."""


class StaleFence(Aborted):
    """The claim was overtaken, or the job ended or was deleted."""


class InvalidIdempotencyKey(InvalidArgument):
    """An idempotency key is 1 to 255 characters of A-Z a-z 0-9 _ . : / and -."""


class IdempotencyKeyReused(FailedPrecondition):
    """The idempotency key made another job from another request."""


class MediaNotFound(NotFound):
    """The workspace has no ready media with this id."""


class MediaTaken(FailedPrecondition):
    """Another job was made from this media."""


class MediaTooLarge(InvalidArgument):
    """The file has more bytes than the plan allows."""


class MediaTooLong(InvalidArgument):
    """The file holds more audio than the plan allows."""


class InvalidLanguage(InvalidArgument):
    """Not an ISO 639-1 language code."""


class AttemptsExhausted(ResourceExhausted):
    """The job was taken again and again without finishing a window."""


class AuthenticationRequired(Unauthenticated):
    """The job is somebody's, and the request does not prove whose."""


class UploadExpired(FailedPrecondition):
    """The upload was not completed in time."""


class NoCredits(ResourceExhausted):
    """There is no credit left."""


class UnsupportedMedia(InvalidArgument):
    """Files of this type are not accepted."""


class UploadIncomplete(FailedPrecondition):
    """The announced bytes have not arrived."""


class TrainingJobNotFound(NotFound):
    """The caller has no training with this id."""


class ModelNotFound(NotFound):
    """The caller has no detector with this id."""


class ModelInactive(FailedPrecondition):
    """The detector is switched off."""


class ModelInUse(FailedPrecondition):
    """Files wait for the detector."""


class InferenceJobNotFound(NotFound):
    """The caller has no inference order with this id."""


class FileNotFound(NotFound):
    """The inference order has no such file."""


class AnnotationSetNotPublished(FailedPrecondition):
    """Only a published annotation set can be trained on."""


class AudioNotReady(FailedPrecondition):
    """Not every audio file of the dataset is ready."""


class TooLittleAudio(FailedPrecondition):
    """A training needs at least five minutes of audio."""


class TooFewAnnotations(FailedPrecondition):
    """A type to learn has no annotation in the set."""


class UnknownArtifactType(InvalidArgument):
    """The dataset does not declare this artifact type."""


@dataclass(frozen=True)
class Policy:
    """How long and how often things may go on; the settings say the values."""

    lease: timedelta = timedelta(seconds=30)
    max_attempts: int = 5
    max_claims: int = 1000
    retry_delay: timedelta = timedelta(seconds=2)
    max_retry_delay: timedelta = timedelta(seconds=60)
    dispatch_window: int = 16
    lost_dispatch_age: timedelta = timedelta(seconds=5)
    stale_dispatch_age: timedelta = timedelta(minutes=5)
    open_hold_age: timedelta = timedelta(seconds=60)
    orphan_hold_age: timedelta = timedelta(minutes=5)
    tombstone_age: timedelta = timedelta(days=30)
    orphan_media_age: timedelta = timedelta(hours=2)
    upload_age: timedelta = timedelta(hours=2)
    fetch_deadline: timedelta = timedelta(hours=1)
    fetch_look: timedelta = timedelta(seconds=1)
    commit_deadline: timedelta = timedelta(minutes=2)
    text_age: timedelta = timedelta(minutes=1)
    clock_difference: timedelta = timedelta(minutes=5)
    batch_size: int = 100


def language_code(asked: str) -> str:
    """The ISO 639-1 code of a language tag: lower case, without its region; empty for "" and "auto"."""
    if asked.lower() in {"", "auto"}:
        return ""
    match = _LANGUAGE_TAG.fullmatch(asked)
    code = match[1].lower() if match else ""
    if code not in _LANGUAGES:
        raise InvalidLanguage(language=asked[:32])
    return code


def accepted_config(asked: TranscriptionConfig) -> TranscriptionConfig:
    """The order as it will be stored. Raises InvalidLanguage or InvalidField."""
    _check_speakers(asked)
    if len(asked.prompt.encode()) > MAX_PROMPT_BYTES or "\0" in asked.prompt:
        raise InvalidField(f"A prompt has at most {MAX_PROMPT_BYTES} bytes of text.", field="config.prompt")
    _check_known_speakers(asked.known_speakers)
    if asked.task not in TranscriptionConfig.Task.values():
        raise InvalidField("task is not one that Steno knows.", field="config.task")
    if not (math.isfinite(asked.temperature) and 0 <= asked.temperature <= 1):
        raise InvalidField("temperature is 0 to 1.", field="config.temperature")
    config = TranscriptionConfig()
    config.CopyFrom(asked)
    config.language = language_code(asked.language)
    return config


def _check_speakers(config: TranscriptionConfig) -> None:
    for field in ("speaker_count", "min_speaker_count", "max_speaker_count"):
        if not 0 <= getattr(config, field) <= MAX_SPEAKER_COUNT:
            raise InvalidField(f"{field} is 0 to {MAX_SPEAKER_COUNT}.", field=f"config.{field}")
    if 0 < config.max_speaker_count < config.min_speaker_count:
        raise InvalidField("min_speaker_count is at most max_speaker_count.", field="config.min_speaker_count")


def _check_known_speakers(speakers: Sequence[KnownSpeaker]) -> None:
    field = "config.known_speakers"
    if len(speakers) > MAX_KNOWN_SPEAKERS:
        raise InvalidField(f"At most {MAX_KNOWN_SPEAKERS} speakers can be known.", field=field)
    if len({speaker.name for speaker in speakers}) < len(speakers):
        raise InvalidField("Every known speaker has a name of its own.", field=field)
    for speaker in speakers:
        if not 0 < len(speaker.name) <= MAX_NAME_CHARACTERS or "\0" in speaker.name:
            raise InvalidField(f"The name of a known speaker has 1 to {MAX_NAME_CHARACTERS} characters.", field=field)
        if not 0 < len(speaker.embedding) <= MAX_EMBEDDING_BYTES or len(speaker.embedding) % 4:
            raise InvalidField(f"A voice is 1 to {MAX_EMBEDDING_BYTES // 4} float32.", field=field)


def accepted_title(asked: str) -> str:
    """The title as it will be stored, without spaces around it. Raises InvalidField."""
    if len(asked) > MAX_TITLE_CHARACTERS or "\0" in asked:
        raise InvalidField(f"A title has at most {MAX_TITLE_CHARACTERS} characters.", field="title")
    return asked.strip()


def accepted_ttl(asked: timedelta) -> timedelta:
    """How long an idempotency key stands for its order. Raises InvalidField."""
    if not timedelta(0) < asked <= MAX_KEY_TTL:
        raise InvalidField(f"idempotency_ttl is more than 0 and at most {MAX_KEY_TTL.days} days.", field="idempotency_ttl")
    return asked


def url_filename(url: str) -> str:
    """What a checked URL calls its media: the last segment of the path, else the host."""
    parts = urlsplit(url)
    segment = unquote(parts.path.rstrip("/").rpartition("/")[2], errors="replace")
    visible = "".join(character for character in segment if character.isprintable()).strip()
    return visible[:MAX_TITLE_CHARACTERS] or (parts.hostname or "")


def check_plan(plan: Plan, media: Media) -> None:
    """Raises MediaTooLarge or MediaTooLong for media past the plan's limits, however it came to storage; 0 is no limit."""
    if 0 < plan.max_upload_bytes < media.size_bytes:
        raise MediaTooLarge(max_size_bytes=str(plan.max_upload_bytes))
    if 0 < plan.max_duration_ms < media.probe.duration_ms:
        raise MediaTooLong(max_duration_ms=str(plan.max_duration_ms))


def check_media_age(policy: Policy, age: timedelta) -> None:
    """Raises MediaNotFound for media so old that it may be removed, as no job's, before a job of it is stored."""
    if age > policy.orphan_media_age - _ORDER_MARGIN:
        raise MediaNotFound("The media was announced too long ago to make a job of it.")


def check_source(source: Job.Source.ValueType) -> None:
    """Raises InvalidField unless the source is a named one."""
    if source not in Job.Source.values() or source == Job.SOURCE_UNSPECIFIED:
        raise InvalidField("source names how the media came to Steno.", field="source")


def check_idempotency_key(key: str) -> None:
    """Raises InvalidIdempotencyKey."""
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidIdempotencyKey()


def check_window(index: int, window: bytes) -> None:
    """Raises InvalidField for a window that cannot be one."""
    if not 0 <= index <= MAX_WINDOW_INDEX:
        raise InvalidField(f"index is 0 to {MAX_WINDOW_INDEX}.", field="index")
    if not 0 < len(window) <= MAX_WINDOW_BYTES:
        raise InvalidField(f"A window has 1 to {MAX_WINDOW_BYTES} bytes.", field="window")


def fingerprint(config: TranscriptionConfig, source: int, origin: str) -> str:
    """SHA-256, in hexadecimal, over what makes two orders the same order; a title does not.

    origin: the media's SHA-256, "url:" with the URL, or "upload:" with the name.
    """
    digest = sha256(config.SerializeToString(deterministic=True))
    digest.update(f"\0{source}\0{origin}".encode())
    return digest.hexdigest()


def page_size(asked: int) -> int:
    """Rows on a page. Raises InvalidField out of 0 to 100."""
    if not 0 <= asked <= MAX_PAGE_SIZE:
        raise InvalidField(f"page_size is 1 to {MAX_PAGE_SIZE}, or 0 for {DEFAULT_PAGE_SIZE}.", field="page_size")
    return asked or DEFAULT_PAGE_SIZE


def raised_progress(stored: float, reported: float) -> float:
    """Progress after a report: within 0 and 1 and never lower than before. NaN changes nothing."""
    return max(stored, min(reported, 1.0)) if reported == reported else stored


def retry_delay(policy: Policy, attempt: int, jitter: float) -> timedelta:
    """Wait before the next attempt: doubles from retry_delay to max_retry_delay; jitter in [0, 1) takes off up to half."""
    doublings = min(max(attempt - 1, 0), 20)
    grown = policy.retry_delay * (1 << doublings)
    return min(grown, policy.max_retry_delay) * (1 - jitter / 2)


def job_error(reason: str, message: str) -> JobError:
    """A worker's failure, bounded for display."""
    known = reason if _REASON.fullmatch(reason) else "INTERNAL"
    return JobError(reason=known, message=message.replace("\0", "")[:500])


def exhausted_error(attempts: int, last_message: str = "") -> JobError:
    """The error of a job that was tried too often."""
    sentence = AttemptsExhausted().message
    last = f" Last failure: {last_message}" if last_message else ""
    return job_error(AttemptsExhausted.reason(), f"{sentence} Gave up after {attempts} attempts.{last}")
