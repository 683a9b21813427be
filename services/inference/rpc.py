"""InferenceService over gRPC."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from services.inference.engines.engine import Engine
from services.inference.readiness import EngineReadiness
from services.inference.speakers import to_bytes
from services.inference.streaming.transcriptions import Transcriptions
from services.inference.voices import Voices
from services.mesh.identity import current_caller
from services.mesh.interceptors import Context
from steno.inference.v1.inference_service_pb2 import (
    EmbedSpeakerRequest,
    EmbedSpeakerResponse,
    ListModelsRequest,
    ListModelsResponse,
    Model,
    TranscribeRequest,
    TranscribeResponse,
)
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceServicer


class InferenceRpc(InferenceServiceServicer):
    """Says what the engine runs, transcribes, and describes voices."""

    def __init__(self, engine: Engine, readiness: EngineReadiness, voices: Voices, transcriptions: Transcriptions) -> None:
        self._engine = engine
        self._readiness = readiness
        self._voices = voices
        self._transcriptions = transcriptions

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """The engine's one speech model."""
        engine = self._engine
        model = Model(
            name=engine.model,
            engine=engine.name,
            languages=engine.languages,
            production=engine.production,
            translates=engine.translates,
            test=engine.test,
            precision=engine.precision,
            max_window_seconds=engine.max_window_seconds,
            trouble=self._readiness.trouble,
        )
        return ListModelsResponse(models=[model])

    async def Transcribe(self, request: TranscribeRequest, context: Context) -> AsyncIterator[TranscribeResponse]:
        """The segments of the audio, as they are found."""
        async with aclosing(self._transcriptions.stream(current_caller(), request)) as responses:
            async for response in responses:
                yield response

    async def EmbedSpeaker(self, request: EmbedSpeakerRequest, context: Context) -> EmbedSpeakerResponse:
        """The voice of the recording."""
        voice = await self._voices.describe(request.media)
        return EmbedSpeakerResponse(embedding=to_bytes(voice.embedding), duration_ms=voice.duration_ms)
