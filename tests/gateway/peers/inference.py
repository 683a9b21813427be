"""The models."""

from typing import Any

from steno.inference.v1 import inference_service_pb2 as inference
from steno.inference.v1 import inference_service_pb2_grpc as inference_grpc


class InferencePeer(inference_grpc.InferenceServiceServicer):
    """One model."""

    async def ListModels(self, request: Any, context: Any) -> inference.ListModelsResponse:
        return inference.ListModelsResponse(models=[inference.Model(name="pocketsphinx-en-us", engine="local", languages=["en"])])
