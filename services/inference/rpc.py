"""InferenceService over gRPC."""

from services.inference.engines.engine import Engine
from services.inference.speakers import to_bytes
from services.inference.voices import Voices
from services.mesh.interceptors import Context
from steno.inference.v1.inference_service_pb2 import (
    EmbedSpeakerRequest,
    EmbedSpeakerResponse,
    ListModelsRequest,
    ListModelsResponse,
    Model,
)
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceServicer


class InferenceRpc(InferenceServiceServicer):
    """Says what the engine runs, and describes voices."""

    def __init__(self, engine: Engine, voices: Voices) -> None:
        self._engine = engine
        self._voices = voices

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """The engine's one speech model."""
        engine = self._engine
        model = Model(
            name=engine.model,
            engine=engine.name,
            languages=engine.languages,
            production=engine.name != "local",
            translates=engine.translates,
        )
        return ListModelsResponse(models=[model])

    async def EmbedSpeaker(self, request: EmbedSpeakerRequest, context: Context) -> EmbedSpeakerResponse:
        """The voice of the recording."""
        voice = await self._voices.describe(request.media)
        return EmbedSpeakerResponse(embedding=to_bytes(voice.embedding), duration_ms=voice.duration_ms)
