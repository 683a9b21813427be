"""Which models the embedded mesh runs."""

from collections.abc import Sequence
from typing import NamedTuple

from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as
from services.mesh.tls.certificates import Certificates
from steno.inference.v1.inference_service_pb2 import DESCRIPTOR, ListModelsRequest
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceStub

_TIMEOUT_SECONDS = 15.0


class RunningModel(NamedTuple):
    """A speech model that is ready. test: of no use for real speech."""

    name: str
    engine: str
    languages: Sequence[str]
    production: bool
    test: bool


async def list_models(
    inference_address: str, signer: TokenSigner, workspace_id: str, tls: Certificates | None = None
) -> Sequence[RunningModel]:
    """The models in order of preference. Raises RemoteError."""
    services = [DESCRIPTOR.services_by_name["InferenceService"]]
    operator = Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")
    async with open_channel(
        inference_address, audience="inference", signer=signer, services=services, timeout_seconds=_TIMEOUT_SECONDS, tls=tls
    ) as channel:
        with calling_as(operator):
            answer = await InferenceServiceStub(channel).ListModels(ListModelsRequest())
    return [RunningModel(model.name, model.engine, list(model.languages), model.production, model.test) for model in answer.models]
