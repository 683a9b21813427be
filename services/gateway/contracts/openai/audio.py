"""POST /audio/transcriptions and POST /audio/translations: a file in, the transcript out, a durable job between them."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.types import ASGIApp

from services.gateway.contracts.openai.asks import FORM_LIMITS, Ask, check_complete, read_transcription, read_translation
from services.gateway.contracts.openai.documents import render
from services.gateway.contracts.openai.models import ModelNames
from services.gateway.contracts.openai.streams import TextStreams
from services.gateway.contracts.openai.voices import Voices
from services.gateway.contracts.openai.waits import Waits
from services.gateway.domain import Client
from services.gateway.submissions import Fields, Order, Submissions
from services.gateway.transcripts import Transcripts
from services.mesh.identity import Caller, CallerKind, calling_as
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from steno.jobs.v1.jobs_service_pb2 import CreateJobResponse


@dataclass(frozen=True)
class Audio:
    """Takes files in and waits for what becomes of them."""

    submissions: Submissions
    models: ModelNames
    voices: Voices
    waits: Waits
    streams: TextStreams
    transcripts: Transcripts
    retry_window_seconds: int

    def precheck(self, request: Request) -> None:
        """Refuse by the announced length alone, whoever asks. Raises Refusal."""
        self.submissions.precheck(request, FORM_LIMITS)

    async def transcribe(self, request: Request, client: Client) -> ASGIApp:
        """What was said, in the language it was said in. Raises Refusal and RemoteError."""
        return await self._answer(request, client, read_transcription)

    async def translate(self, request: Request, client: Client) -> ASGIApp:
        """What was said, in English. Raises Refusal and RemoteError."""
        return await self._answer(request, client, read_translation)

    async def _answer(self, request: Request, client: Client, read: Callable[[Fields], Ask]) -> ASGIApp:
        form = _Form(read, self.models, self.voices)
        submit = self.submissions.submit_again(
            request, client, form.order, self.retry_window_seconds, complete=form.complete, form_limits=FORM_LIMITS
        )
        answer = await submit
        _show_job(request, answer)
        reader = _reader(client.caller, answer)
        if form.ask.stream:
            return self.streams.answer(answer.job, form.ask, reader)
        with calling_as(reader):
            job = await self.waits.done(request, answer.job)
            document = await self.transcripts.read(job)
        return await asyncio.to_thread(render, document, form.ask)


class _Form:
    """A form on its way in; `ask` is what it says so far."""

    def __init__(self, read: Callable[[Fields], Ask], models: ModelNames, voices: Voices) -> None:
        self._read = read
        self._models = models
        self._voices = voices
        self.ask = read({})

    def order(self, fields: Fields) -> Order:
        """The order in the fields so far. Raises Refusal."""
        self.ask = self._read(fields)
        return Order(Job.SOURCE_API, self.ask.config)

    async def complete(self, fields: Fields, order: Order) -> Order:
        """The order of the whole form, its references turned into voices and forgotten. Raises Refusal and RemoteError."""
        check_complete(self.ask)
        await self._models.check_submit(self.ask.model)
        known = await self._voices.known(self.ask.names, self.ask.references)
        self.ask = replace(self.ask, references=())
        config = TranscriptionConfig()
        config.CopyFrom(order.config)
        config.known_speakers.extend(known)
        return replace(order, config=config)


def _reader(caller: Caller, answer: CreateJobResponse) -> Caller:
    """The gateway itself, for whoever made the job: the key may be one that only writes, the caller a guest without its proof yet."""
    digest = hashlib.sha256(answer.claim_token.encode()).hexdigest() if answer.claim_token else ""
    job = answer.job
    return Caller(CallerKind.SERVICE, "gateway", job.workspace_id, job.owner, wallet_id=caller.wallet_id, claim_digest=digest)


def _show_job(request: Request, answer: CreateJobResponse) -> None:
    """Name the job in whatever is answered from here on, and to a guest prove whose it is."""
    state = request.scope["state"]
    told = [(b"x-steno-job-id", answer.job.id.encode())]
    if answer.claim_token:
        told.append((b"x-claim-token", answer.claim_token.encode()))
    state["answer_headers"] = [*state.get("answer_headers", ()), *told]
