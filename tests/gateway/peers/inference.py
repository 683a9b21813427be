"""The models, and voices."""

import hashlib
from typing import Any

from services.mesh.errors import FailedPrecondition
from steno.inference.v1 import inference_service_pb2 as inference
from steno.inference.v1 import inference_service_pb2_grpc as inference_grpc
from tests.gateway.peers.storage import UnsupportedMedia
from tests.gateway.peers.world import World


class NoSpeech(FailedPrecondition):
    """Too little speech."""


class InferencePeer(inference_grpc.InferenceServiceServicer):
    """One model. A recording of MUSIC has no speech, one of TEXT is none, and one of LONG is 11 seconds long."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ListModels(self, request: Any, context: Any) -> inference.ListModelsResponse:
        return inference.ListModelsResponse(models=self.world.models)

    async def EmbedSpeaker(self, request: Any, context: Any) -> inference.EmbedSpeakerResponse:
        if request.media.startswith(b"TEXT"):
            raise UnsupportedMedia
        if request.media.startswith(b"MUSIC"):
            raise NoSpeech
        duration_ms = 11_000 if request.media.startswith(b"LONG") else 4_000
        return inference.EmbedSpeakerResponse(embedding=hashlib.sha256(request.media).digest(), duration_ms=duration_ms)
