"""Every gRPC method that takes an id, called with an API key, and what it answers to the last byte."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from faults.doors.declared import DETECTION, Kind
from steno.billing.v1 import accounts_service_pb2, billing_service_pb2, payments_service_pb2
from steno.inference.v1 import inference_service_pb2
from steno.jobs.v1 import detection_jobs_service_pb2, jobs_service_pb2, work_service_pb2
from steno.storage.v1 import datasets_service_pb2, storage_service_pb2

SERVERS: Mapping[str, Sequence[ModuleType]] = {
    "jobs": (jobs_service_pb2, work_service_pb2, detection_jobs_service_pb2),
    "storage": (storage_service_pb2, datasets_service_pb2),
    "inference": (inference_service_pb2,),
    "billing": (accounts_service_pb2, billing_service_pb2, payments_service_pb2),
}
KINDS: Mapping[str, Kind] = {
    "job_id": "job",
    "media_id": "media",
    "artefact_id": "artefact",
    "transcript_artefact_id": "artefact",
    "id": "key",
    "checkout_id": "checkout",
    "claim_tokens": "claim",
    "workspace_id": "workspace",
    "guest_token": "wallet",
    **DETECTION,
}
# Names that only look like ids of something.
OTHER = {"page_token": "a place in the caller's own list", "worker_id": "what a worker calls itself"}
_LOOKS_LIKE_AN_ID = re.compile(r"(^|_)ids?$|_tokens?$")
_SECONDS = 20.0


@dataclass(frozen=True)
class Method:
    """One field of one method of one server that takes an id of this kind."""

    server: str
    descriptor: MethodDescriptor
    field: FieldDescriptor
    kind: Kind

    def __str__(self) -> str:
        return f"{self.path} ({self.field.name})"

    @property
    def path(self) -> str:
        """As gRPC calls it."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    def request(self, value: str) -> Message:
        """A request for the thing of this id, and nothing else."""
        message = GetMessageClass(self.descriptor.input_type)()
        if self.field.is_repeated:
            getattr(message, self.field.name).append(value)
        else:
            setattr(message, self.field.name, value)
        return message


def methods() -> list[Method]:
    """All of them, from the protos. Fails for an id that nobody here has one of."""
    return [
        Method(server, method, field, _kind(field, method))
        for server, modules in SERVERS.items()
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        for field in _ids(method.input_type)
    ]


def _ids(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING and _LOOKS_LIKE_AN_ID.search(field.name) and field.name not in OTHER:
            yield field


def _kind(field: FieldDescriptor, method: MethodDescriptor) -> Kind:
    assert field.name in KINDS, f"{method.full_name} takes {field.name}: nobody here owns such a thing"
    return KINDS[field.name]


async def call(channel: grpc.aio.Channel, method: Method, value: str, api_key: str) -> tuple[Any, ...]:
    """Status, words, details and messages of the answer, the id in them replaced: it is the caller's own."""
    metadata = (("x-api-key", api_key),)
    content = method.request(value).SerializeToString()
    try:
        if method.descriptor.server_streaming:
            stream: Any = channel.unary_stream(method.path)(content, metadata=metadata, timeout=_SECONDS)  # type: ignore[arg-type]
            messages = [message async for message in stream]
        else:
            messages = [await channel.unary_unary(method.path)(content, metadata=metadata, timeout=_SECONDS)]  # type: ignore[arg-type]
    except grpc.aio.AioRpcError as error:
        details = sorted((key, _bytes(told)) for key, told in error.trailing_metadata() or () if key != "date")
        return (
            error.code().name,
            (error.details() or "").replace(value, "ID"),
            *((key, told.replace(value.encode(), b"ID")) for key, told in details),
        )
    return "OK", *(message.replace(value.encode(), b"ID") for message in messages)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
