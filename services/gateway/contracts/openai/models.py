"""Names of models: those deployed, those of OpenAI, and whatever else a client asks for."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.domain import Client, Json, Reason, Refusal
from services.mesh.status import RemoteError, is_remote
from steno.inference.v1.inference_service_pb2 import ListModelsRequest, Model
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub

# Stands for the model that inference prefers.
PREFERRED = "*"
OPENAI_NAMES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)
MAX_NAME_CHARACTERS = 255
_OWNER = "steno"
_LIST_SECONDS = 5.0


@dataclass(frozen=True)
class ModelNames:
    """Which names are accepted, and what they stand for.

    mapped: from name to deployed model. default: what all other names stand for; empty refuses them.
    """

    inference: InferenceServiceAsyncStub
    mapped: Mapping[str, str]
    default: str

    async def check(self, name: str) -> None:
        """Raises Refusal for a name that stands for no deployed model, and RemoteError when nobody knows."""
        if self.mapped.get(name, self.default) == PREFERRED and len(name) <= MAX_NAME_CHARACTERS:
            return
        deployed = {model.name for model in await self._deployed()}
        if len(name) > MAX_NAME_CHARACTERS or (name not in deployed and self._stands_for(name) not in {PREFERRED, *deployed}):
            raise Refusal(Reason.MODEL_NOT_FOUND, field="model")

    async def check_submit(self, name: str) -> None:
        """The same for a submit, which is accepted while inference is away: its job waits. Raises Refusal and RemoteError."""
        try:
            await self.check(name)
        except RemoteError as error:
            if not (self.default and is_remote(error, "SERVICE_UNAVAILABLE")):
                raise

    async def list_models(self, request: Request, client: Client) -> Response:
        """GET /models. Raises RemoteError."""
        return JSONResponse({"object": "list", "data": list((await self._known()).values())})

    async def retrieve_model(self, request: Request, client: Client) -> Response:
        """GET /models/{model}, for every name that a submit may use. Raises Refusal and RemoteError."""
        name: str = request.path_params["model"]
        known = await self._known()
        if not name:
            raise Refusal(Reason.NOT_FOUND)
        if name not in known:
            await self.check(name)
        return JSONResponse(known.get(name, _row(name, _OWNER)))

    async def _known(self) -> dict[str, Json]:
        deployed = await self._deployed()
        rows: dict[str, Json] = {model.name: _row(model.name, model.engine) for model in deployed}
        names = [name for name in (*self.mapped, *OPENAI_NAMES) if self._stands_for(name) in {PREFERRED, *rows}]
        return {**{name: _row(name, _OWNER) for name in names}, **rows} if rows else {}

    async def _deployed(self) -> list[Model]:
        return list((await self.inference.ListModels(ListModelsRequest(), timeout=_LIST_SECONDS)).models)

    def _stands_for(self, name: str) -> str:
        return self.mapped.get(name, self.default)


def _row(name: str, owner: str) -> Json:
    """A model as clients know it; nobody keeps when it was made."""
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
