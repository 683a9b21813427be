"""stream=true: the text as the windows of a job are finished, as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.contracts.openai.asks import Ask, Format
from services.gateway.contracts.openai.waits import check_done
from services.gateway.domain import Json, Reason, Refusal
from services.gateway.events import KEEPALIVE, EventStream, JobEvents, Patience, beating, passing
from services.gateway.formats.diarized import diarized_segments
from services.gateway.formats.escaping import plain
from services.gateway.formats.logprobs import to_logprobs
from services.gateway.limits import Slots
from services.gateway.refusals import ContractErrors
from services.gateway.transcripts import Transcripts, parse
from services.mesh.identity import Caller, calling_as
from services.mesh.status import RemoteError
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import WatchTextRequest
from steno.jobs.v1.transcript_pb2 import Transcript

_WATCH_SECONDS = 600.0


@dataclass(frozen=True)
class TextStreams:
    """Streams the text of jobs."""

    events: JobEvents
    slots: Slots
    transcripts: Transcripts
    errors: ContractErrors
    wait_seconds: float

    def answer(self, job: Job, ask: Ask, reader: Caller) -> ASGIApp:
        """The events of a job as an answer that begins at once. reader: for whom the job is followed."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            with calling_as(reader):
                await EventStream(self.slots, self._told(scope, job, ask))(scope, receive, send)

        return answer

    async def _told(self, scope: Scope, job: Job, ask: Ask) -> AsyncGenerator[bytes, None]:
        """Events and keepalives; the last event says it when something goes wrong on the way."""
        until = time.monotonic() + self.wait_seconds
        try:
            async with aclosing(self._events(job, ask)) as events:
                async for event in events:
                    yield KEEPALIVE if event is None else _encoded(event)
                    _check_time(until)
        except Exception as error:
            yield _encoded(self.errors.body_of(self.errors.tell(scope, error)))

    async def _events(self, job: Job, ask: Ask) -> AsyncGenerator[Mapping[str, Json] | None, None]:
        said = ""
        async with aclosing(self._pieces(job.id)) as pieces:
            async for piece in pieces:
                delta = f" {piece}" if piece and said else piece
                said += delta or ""
                if delta != "":
                    yield None if delta is None else _delta(delta)
        async with aclosing(self.events.changes(job.id, 0)) as changes:
            async for change in changes:
                job = change or job
                if change is None:
                    yield None
        check_done(job)
        transcript = parse(await self.transcripts.read(job))
        for event in await asyncio.to_thread(_closing, transcript, ask, said):
            yield event

    async def _pieces(self, job_id: str) -> AsyncGenerator[str | None, None]:
        """The text of each window in order, None after each silence, until the job ends; a broken watch is taken up again."""
        last_ms, patience = -1, Patience(self.events.stopping)
        while patience.left:
            watch = aiter(self.events.jobs.WatchText(WatchTextRequest(job_id=job_id), timeout=_WATCH_SECONDS))
            try:
                async with aclosing(beating(watch, self.events.keepalive_seconds, self.events.stopping)) as beats:
                    async for beat in beats:
                        if beat is None:
                            yield None
                        elif beat.start_offset_ms > last_ms:
                            last_ms = beat.start_offset_ms
                            patience.restore()
                            yield plain(beat.text)
            except RemoteError as error:
                if not passing(error):
                    raise
                await patience.wait()
            else:
                return


def _check_time(until: float) -> None:
    if time.monotonic() > until:
        raise Refusal(Reason.NOT_READY)


def _closing(transcript: Transcript, ask: Ask, said: str) -> list[Mapping[str, Json]]:
    """What is left to say when the job is done. The deltas always join to the text of the last event."""
    rest = unsaid(plain(transcript.text), said)
    events: list[Mapping[str, Json]] = [_delta(rest)] if rest else []
    if ask.format is Format.DIARIZED_JSON:
        events += diarized_segments(transcript, ask.names)
    done: dict[str, Json] = {"type": "transcript.text.done", "text": said + rest}
    if ask.logprobs:
        done["logprobs"] = list(to_logprobs(transcript))
    return [*events, done]


def unsaid(text: str, said: str) -> str:
    """The words at the end of the final text that were not said yet; nothing when the two differ before that.

    Only letters and digits are compared: sentences get their capitals and full stops when all windows are known.
    """
    if not said:
        return text
    rest = _after(text, said)
    return rest if _letters(rest) else ""


def _after(text: str, said: str) -> str:
    spoken = iter(_letters(said))
    expected = next(spoken, None)
    for index, character in enumerate(text):
        if expected is None:
            return _without_mark(text[index:], said)
        for letter in _letters(character):
            if letter != expected:
                return ""
            expected = next(spoken, None)
    return ""


def _without_mark(rest: str, said: str) -> str:
    """The rest without the punctuation at its start, when what was said ended in some."""
    if said[-1].isalnum():
        return rest
    start = next((index for index, character in enumerate(rest) if character.isalnum() or character.isspace()), len(rest))
    return rest[start:]


def _letters(text: str) -> list[str]:
    return [character for character in text.lower() if character.isalnum()]


def _delta(text: str) -> Mapping[str, Json]:
    return {"type": "transcript.text.delta", "delta": text}


def _encoded(event: Mapping[str, Json]) -> bytes:
    return f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'), allow_nan=False)}\n\n".encode()
