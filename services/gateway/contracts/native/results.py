"""GET /jobs/{id}/result and its playback URL."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.domain import Client, Json, Reason, Refusal
from services.gateway.formats.docx import to_docx
from services.gateway.formats.json import to_json
from services.gateway.formats.srt import to_srt
from services.gateway.formats.txt import to_txt
from services.gateway.formats.vtt import to_vtt
from services.gateway.peers import Peers
from services.gateway.playback import public_path
from services.gateway.requests import read_id
from services.gateway.transcripts import Transcripts, parse
from services.mesh.status import RemoteError, is_remote
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import GetJobRequest
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.storage.v1.media_pb2 import SignedUrl
from steno.storage.v1.storage_service_pb2 import SignMediaUrlRequest

_DISK = "disk"
_DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_TEXTS: dict[str, tuple[str, Callable[[Transcript], str]]] = {
    "json": ("application/json", to_json),
    "txt": ("text/plain; charset=utf-8", to_txt),
    "srt": ("text/plain; charset=utf-8", to_srt),
    "vtt": ("text/plain; charset=utf-8", to_vtt),
}
FORMATS = frozenset({*_TEXTS, "docx"})


@dataclass(frozen=True)
class Results:
    """Serves what jobs produced."""

    peers: Peers
    transcripts: Transcripts

    async def result(self, request: Request, client: Client) -> Response:
        """The transcript in the asked format. Raises Refusal and RemoteError."""
        form = _format(request)
        job = (await self.peers.jobs.GetJob(GetJobRequest(job_id=read_id(request, "job_id")))).job
        _check_done(job)
        document = await self.transcripts.read(job)
        return await asyncio.to_thread(_rendered, document, form, job.filename)

    async def audio_url(self, request: Request, client: Client) -> Response:
        """Where the job's audio can be played from for a while. Raises Refusal and RemoteError."""
        job = (await self.peers.jobs.GetJob(GetJobRequest(job_id=read_id(request, "job_id")))).job
        _check_kept(job)
        try:
            answer = await self.peers.storage.SignMediaUrl(SignMediaUrlRequest(media_id=job.media_id))
        except RemoteError as error:
            if is_remote(error, "MEDIA_NOT_FOUND"):
                raise Refusal(Reason.AUDIO_MISSING) from error
            raise
        return JSONResponse(_playback(answer.download_url))


def _format(request: Request) -> str:
    values = request.query_params.getlist("format") or ["json"]
    if len(values) != 1 or values[0] not in FORMATS:
        raise Refusal(Reason.BAD_FORMAT)
    return values[0]


def _check_done(job: Job) -> None:
    if job.state == Job.STATE_FAILED:
        message = job.error.message or job.error.reason
        raise Refusal(Reason.JOB_FAILED, message, extra={"reason": job.error.reason})
    if job.state == Job.STATE_CANCELLED:
        raise Refusal(Reason.JOB_CANCELLED)
    if job.state != Job.STATE_DONE:
        raise Refusal(Reason.NOT_READY)


def _rendered(document: bytes, form: str, filename: str) -> Response:
    transcript = parse(document)
    if form == "docx":
        return Response(to_docx(transcript, filename), media_type=_DOCX_TYPE, headers={"content-disposition": _attachment(filename, form)})
    media_type, render = _TEXTS[form]
    return Response(render(transcript), headers={"content-type": media_type})


def _attachment(filename: str, form: str) -> str:
    """Content-Disposition with the name in ASCII and in full. Source: RFC 6266."""
    name = f"{filename.rpartition('.')[0] or filename or 'transcript'}.{form}"
    plain = "".join(character if character.isascii() and (character.isalnum() or character in " ._-") else "_" for character in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _playback(signed: SignedUrl) -> dict[str, Json]:
    left = signed.expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
    return {
        "url": public_path(signed.url) if signed.store == _DISK else signed.url,
        "storage": signed.store,
        "expires_in": max(int(left.total_seconds()), 0),
    }


def _check_kept(job: Job) -> None:
    if job.HasField("audio_expire_time") and job.audio_expire_time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC):
        raise Refusal(Reason.AUDIO_EXPIRED, extra={"retention_days": job.retention_days})
    if job.waiting and job.state == Job.STATE_QUEUED:
        raise Refusal(Reason.NOT_READY, "The audio has not arrived yet.")
