"""InferenceService over gRPC."""

from services.inference.engines.engine import Engine
from services.mesh.interceptors import Context
from steno.inference.v1.inference_service_pb2 import ListModelsRequest, ListModelsResponse, Model
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceServicer


class InferenceRpc(InferenceServiceServicer):
    """Says what the engine runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """The engine's one speech model."""
        engine = self._engine
        model = Model(name=engine.model, engine=engine.name, languages=engine.languages, production=engine.name != "local")
        return ListModelsResponse(models=[model])
