"""Operations on jobs and what they produced."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.contracts.native import schemas
from services.gateway.contracts.native.claims import Claims
from services.gateway.contracts.native.jobs import Jobs
from services.gateway.contracts.native.results import Results
from services.gateway.domain import Reason
from services.gateway.operation import Answer, Body, OpenOperation, Operation
from services.gateway.playback import Playback
from services.gateway.requests import read_id

_OF_JOB = (Reason.BAD_ID, "JOB_NOT_FOUND", "AUTHENTICATION_REQUIRED")
_UNREADABLE = (Reason.NOT_READY, Reason.JOB_FAILED, Reason.JOB_CANCELLED, Reason.BAD_FORMAT)
_AUDIO_TYPES = ("audio/*", "video/*")
_TEXT_TYPES = ("text/plain", "application/vnd.openxmlformats-officedocument.wordprocessingml.document")


def job_operations(jobs: Jobs, claims: Claims) -> Sequence[Operation]:
    """Look, follow, remove, claim."""
    return [
        Operation(
            "GET",
            "/jobs",
            "list_jobs",
            "The caller's jobs, newest first",
            jobs.list_jobs,
            {200: Answer("Some of the jobs.", schemas.JobRow, is_list=True)},
            (Reason.BAD_REQUEST,),
            query=schemas.ListQuery,
        ),
        Operation("GET", "/jobs/{job_id}", "get_job", "One job", jobs.status, {200: Answer("Its row.", schemas.JobRow)}, _OF_JOB),
        _delete(jobs),
        _follow(jobs),
        _claim(claims),
    ]


def _delete(jobs: Jobs) -> Operation:
    return Operation(
        "DELETE",
        "/jobs/{job_id}",
        "delete_job",
        "Cancel a job in flight, remove an ended one",
        jobs.delete,
        {204: Answer("It is cancelled or removed.")},
        _OF_JOB,
    )


def _follow(jobs: Jobs) -> Operation:
    return Operation(
        "GET",
        "/jobs/{job_id}/events",
        "follow_job",
        "A job's changes as server-sent events",
        jobs.follow,
        {200: Answer("Events until the job ends.", media_types=("text/event-stream",)), 204: Answer("The last event was seen.")},
        (*_OF_JOB, Reason.OVERLOADED),
    )


def _claim(claims: Claims) -> Operation:
    return Operation(
        "POST",
        "/jobs/claim",
        "claim_jobs",
        "Make jobs that a guest submitted the signed-in user's",
        claims.claim,
        {200: Answer("How many changed hands.", schemas.Claimed)},
        (Reason.BAD_REQUEST, Reason.BAD_FIELD, Reason.AUTHENTICATION_REQUIRED),
        Body(schemas.Claim),
    )


def result_operations(results: Results, playback: Playback) -> Sequence[Operation | OpenOperation]:
    """Transcripts and recordings."""
    return [
        _transcript(results, "/jobs/{job_id}/result", "get_result", "The transcript of a job"),
        _transcript(results, "/jobs/{job_id}/transcript", "get_transcript", "The transcript of a job, under its other name"),
        Operation(
            "GET",
            "/jobs/{job_id}/audio/url",
            "get_audio_url",
            "Where the job's audio can be played from",
            results.audio_url,
            {200: Answer("A URL that works for a while.", schemas.PlaybackUrl)},
            (*_OF_JOB, Reason.NOT_READY, Reason.AUDIO_EXPIRED, Reason.AUDIO_MISSING),
        ),
        play_media(playback),
    ]


def _transcript(results: Results, path: str, name: str, summary: str) -> Operation:
    return Operation(
        "GET",
        path,
        name,
        summary,
        results.result,
        {200: Answer("The transcript.", schemas.TranscriptDocument, _TEXT_TYPES)},
        (*_OF_JOB, *_UNREADABLE),
        query=schemas.ResultQuery,
    )


def play_media(playback: Playback) -> OpenOperation:
    """The relay of signed reads."""

    async def play(request: Request) -> Response:
        """The audio behind a playback URL. Raises Refusal."""
        return await playback.relay(request, read_id(request, "media_id"))

    return OpenOperation(
        "GET",
        "/media/{media_id}",
        "play_media",
        "The audio behind a playback URL",
        play,
        {200: Answer("The bytes.", media_types=_AUDIO_TYPES), 206: Answer("A range of them.", media_types=_AUDIO_TYPES)},
        (Reason.BAD_ID, Reason.NOT_FOUND),
    )
