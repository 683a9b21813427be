"""One Transcribe: the order checked, its audio read and paid for, its segments sent as they become certain."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx2

from services.inference.audio import Audio
from services.inference.charging import Cashier, Charge
from services.inference.domain import EngineUnavailable, Stopped, billable_ms
from services.inference.engines.engine import Engine, EngineFailed
from services.inference.failures import blaming, failure_of, ungrouped
from services.inference.lease import stop_when
from services.inference.orders import accepted_config, check_order
from services.inference.pipeline import PROGRESS_AFTER_DECODE, Order, Pipeline, Reports
from services.inference.scheduling import Party
from services.inference.slots import Slots
from services.inference.streaming.outbox import Outbox, stream
from services.inference.streaming.segments import SegmentStream
from services.inference.streaming.sources import Sources
from services.mesh import semconv
from services.mesh.errors import Internal, InvalidField, MeshError, ServiceUnavailable
from services.mesh.identity import Caller
from services.mesh.telemetry import bound_contextvars, get_logger
from steno.inference.v1.inference_service_pb2 import TranscribeCompleted, TranscribeRequest, TranscribeResponse, TranscribeStarted
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript


@dataclass(frozen=True)
class Transcriptions:
    """What a call needs. most_seconds: how long one may take, whatever its caller allows. stopping: ends those under way."""

    engine: Engine
    pipeline: Pipeline
    sources: Sources
    cashier: Cashier
    slots: Slots
    most_seconds: float
    stopping: asyncio.Event

    def stream(self, caller: Caller, request: TranscribeRequest, outbox: Outbox | None = None) -> AsyncGenerator[TranscribeResponse, None]:
        """What the request asks for, as it is found; closing the iterator cancels the work and gives the hold back. Raises MeshError."""

        async def work(out: Outbox) -> None:
            with _told():
                config = accepted_config(request.config)
                self._check_model(request.model)
                async with self.slots.take(), self._limited(), self.cashier.charging(caller.payer_id) as charge:
                    with bound_contextvars(transcription_id=charge.id):
                        await self._work(caller, request, config, charge, out)

        return stream(work, outbox or Outbox(), "transcribe")

    def _check_model(self, name: str) -> None:
        if name not in ("", self.engine.model):
            raise InvalidField(f"No model {name[:64]} runs here; {self.engine.model} does.", field="model")

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.most_seconds) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise EngineUnavailable("The transcription took too long.") from error

    async def _work(self, caller: Caller, request: TranscribeRequest, config: TranscriptionConfig, charge: Charge, out: Outbox) -> None:
        await self.engine.check()
        check_order(config, self.engine)

        def decoded(done_ms: int) -> None:
            out.advance(PROGRESS_AFTER_DECODE)

        async with self._kept(charge), self.sources.open(caller, request, charge, decoded) as audio:
            segments = SegmentStream(config, self.engine)
            order = Order(config, Party(caller.workspace_id, charge.id))
            async with blaming(self.engine):
                transcript = await self.pipeline.transcribe(audio, order, {}, _reports(audio, self.engine, segments, out))
            charged_ms = await charge.settle(billable_ms(transcript.audio_duration_ms, transcript.speech_detected))
        semconv.AUDIO_SECONDS.inc(transcript.audio_duration_ms / 1000)
        # After the charge: who leaves before it has not heard the end.
        for response in segments.finish(transcript):
            await out.put(response)
        await out.put(TranscribeResponse(completed=_completed(transcript, segments, charged_ms)))

    @asynccontextmanager
    async def _kept(self, charge: Charge) -> AsyncIterator[None]:
        """Within, the hold is renewed; its loss and the end of the service cancel the work."""
        with ungrouped():
            async with asyncio.TaskGroup() as group:
                watchers = [
                    group.create_task(charge.keep(), name=f"hold {charge.id}"),
                    group.create_task(stop_when(self.stopping), name=f"stop {charge.id}"),
                ]
                try:
                    yield
                finally:
                    for watcher in watchers:
                        watcher.cancel()


def _reports(audio: Audio, engine: Engine, segments: SegmentStream, out: Outbox) -> Reports:
    turn = asyncio.Lock()

    async def speech(detected: bool, ratio: float) -> None:
        started = TranscribeStarted(
            engine=engine.name,
            model=engine.model,
            audio_duration_ms=audio.duration_ms,
            speech_detected=detected,
            speech_ratio=ratio,
        )
        await out.put(TranscribeResponse(started=started))

    async def window(index: int, heard: WindowTranscript, progress: float) -> None:
        # What one window settles is sent whole before what the next does; windows end in any order.
        async with turn:
            for response in segments.add(index, heard):
                await out.put(response)
        out.advance(progress)

    return Reports(speech=speech, window=window, progress=out.advance, planned=segments.plan)


def _completed(transcript: Transcript, segments: SegmentStream, charged_ms: int) -> TranscribeCompleted:
    return TranscribeCompleted(
        language=transcript.language,
        languages=transcript.languages,
        speakers=transcript.speakers,
        billable_ms=charged_ms,
        speech_detected=transcript.speech_detected,
        suggestion=transcript.suggestion,
        truncated=transcript.truncated,
        segment_count=segments.segment_count,
        gap_count=segments.gap_count,
    )


@contextmanager
def _told() -> Iterator[None]:
    """Every failure as what the caller is told of it."""
    try:
        yield
    except MeshError:
        raise
    except Stopped as error:
        raise ServiceUnavailable("This server stops; try again.", service="inference") from error
    except Exception as error:
        failure = failure_of(error)
        if failure is not None and not isinstance(failure.error, Internal):
            raise failure.error from error
        if isinstance(error, EngineFailed):
            raise EngineUnavailable from error
        if isinstance(error, httpx2.HTTPError | OSError):
            get_logger("inference.transcriptions").warning("audio not read", error=repr(error))
            raise ServiceUnavailable("The audio could not be read now.") from error
        raise
