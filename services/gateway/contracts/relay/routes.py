"""The Relay contract's operations, put together: at its own prefix, and its resources beside the native contract."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.types import ASGIApp

from services.gateway.contract import Contract
from services.gateway.contracts.native.account_routes import key_operations
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.job_routes import play_media
from services.gateway.contracts.native.schemas import IdentityHeaders
from services.gateway.contracts.relay.annotation_sets import AnnotationSets
from services.gateway.contracts.relay.dataset_routes import annotation_operations, audio_operations, dataset_operations, set_operations
from services.gateway.contracts.relay.datasets import Datasets
from services.gateway.contracts.relay.errors import beside_native_errors, relay_errors
from services.gateway.contracts.relay.inference import Inference
from services.gateway.contracts.relay.model_routes import inference_operations, model_operations, training_operations
from services.gateway.contracts.relay.models import Models
from services.gateway.contracts.relay.schemas import PostedForm
from services.gateway.contracts.relay.training import Training
from services.gateway.domain import Client, Reason, Refusal
from services.gateway.form_uploads import UPLOADS, FormUploads
from services.gateway.operation import FORM_TYPE, Answer, Body, Handler, OpenOperation, Operation
from services.gateway.playback import Playback

PREFIX = "/relay/api/v1"
NATIVE_PREFIX = "/api/v1"
_ROOTS = ("/datasets", "/training-jobs", "/models", "/inference-jobs", UPLOADS)


@dataclass(frozen=True)
class Relay:
    """The Relay contract over its parts. accounts: the native contract's, which serves the same paths."""

    accounts: Accounts
    playback: Playback
    uploads: FormUploads
    datasets: Datasets
    annotation_sets: AnnotationSets
    training: Training
    models: Models
    inference: Inference

    def contract(self) -> Contract:
        """All that it can do, at its own prefix."""
        account = [replace(operation, name=f"relay_{operation.name}") for operation in key_operations(self.accounts)]
        operations = [*account, *self._resources(), play_media(self.playback)]
        return Contract("relay", "Relay", (PREFIX,), operations, relay_errors(), owns=("/relay",))

    def beside_native(self) -> Contract:
        """What the native contract does not do, at the native prefix: the same statuses, errors with the native fields."""
        return Contract(
            "detection",
            "Artifact detection",
            (NATIVE_PREFIX,),
            self._resources(),
            beside_native_errors(),
            owns=tuple(NATIVE_PREFIX + root for root in _ROOTS),
            identity_headers=IdentityHeaders,
            counted_as="relay",
        )

    def _resources(self) -> Sequence[Operation | OpenOperation]:
        operations = [
            *dataset_operations(self.datasets),
            *audio_operations(self.datasets),
            *set_operations(self.annotation_sets),
            *annotation_operations(self.annotation_sets),
            *training_operations(self.training),
            *model_operations(self.models),
            *inference_operations(self.inference),
        ]
        return [*(replace(operation, handler=_known(operation.handler)) for operation in operations), self._post_form()]

    def _post_form(self) -> OpenOperation:
        return OpenOperation(
            "POST",
            UPLOADS,
            "post_form",
            "The bytes of an announced file; the fields of its form are the permission",
            self.uploads.relay,
            {204: Answer("They are stored.")},
            (Reason.NOT_FOUND, Reason.FILE_TOO_LARGE, Reason.OVERLOADED, Reason.STORE_FULL),
            body=Body(PostedForm, FORM_TYPE, "file"),
        )


def _known(handler: Handler) -> Handler:
    """Nothing here is anonymous: a guest without a wallet could never come back to it."""

    async def answer(request: Request, client: Client) -> ASGIApp:
        if client.guest and not client.caller.wallet_id:
            raise Refusal(Reason.FORBIDDEN)
        return await handler(request, client)

    return answer
