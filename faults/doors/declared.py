"""What the contracts declare: every operation under every prefix, and every place of it that takes something's id."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import httpx2
from pydantic import BaseModel

from services.gateway.addresses import TrustedProxies
from services.gateway.contract import Contract
from services.gateway.contracts.registry import Parts, make_contracts
from services.gateway.events import JobEvents
from services.gateway.limits import Slots
from services.gateway.operation import JSON_TYPE, OpenOperation, Operation
from services.gateway.peers import open_peers
from services.gateway.playback import Playback
from services.gateway.settings import GatewaySettings
from services.gateway.submissions import Submissions
from services.gateway.summaries.summaries import open_summaries
from services.gateway.transcripts import Transcripts
from services.mesh.identity import TokenSigner, load_key
from services.mesh.lifecycle import Lifecycle
from services.stack.data_directory import DataDirectory
from tests.e2e.mesh import Mesh

Where = Literal["path", "query", "body"]
Kind = Literal[
    "job",
    "media",
    "key",
    "checkout",
    "claim",
    "workspace",
    "artefact",
    "wallet",
    "dataset",
    "audio",
    "annotation set",
    "annotation",
    "training",
    "model",
    "inference",
    "file",
]
# Those of artifact detection: in their paths ids stand within ids.
DETECTION: Mapping[str, Kind] = {
    "dataset_id": "dataset",
    "audio_id": "audio",
    "audio_file_id": "audio",
    "annotation_set_id": "annotation set",
    "annotation_id": "annotation",
    "training_job_id": "training",
    "model_id": "model",
    "inference_job_id": "inference",
    "file_id": "file",
}
# What an id of this name is an id of. A name that is not here stops the campaign: a new kind of thing needs somebody who owns one.
KINDS: Mapping[str, Kind] = {
    "job_id": "job",
    "transcription_id": "job",
    "id": "job",
    "media_id": "media",
    "key_id": "key",
    "tokenId": "key",
    "checkout_id": "checkout",
    "claim_tokens": "claim",
    "workspaceId": "workspace",
    **DETECTION,
}
# Parameters that name nothing of anybody's.
COMMON = {"model": "the same models for everyone"}
# Among ids by name: the one for names that have none of their own.
_ANY = ""
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_LOOKS_LIKE_AN_ID = re.compile(r"(^|_)ids?$|Ids?$|[Tt]okens?$")


@dataclass(frozen=True)
class Place:
    """Where an operation takes an id. variant: of a body that has several forms, the schema of this one."""

    where: Where
    name: str
    kind: Kind
    variant: Mapping[str, Any] | None = None
    definitions: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Door:
    """One place of one operation under one prefix."""

    contract: str
    prefix: str
    operation: Operation | OpenOperation
    place: Place

    def __str__(self) -> str:
        return f"{self.operation.method} {self.prefix}{self.operation.path} ({self.place.where} {self.place.name})"

    @property
    def parameters(self) -> Sequence[str]:
        """Names in its path."""
        return _PARAMETER.findall(self.operation.path)

    def request(self, value: str, around: Mapping[str, str] = MappingProxyType({})) -> tuple[str, dict[str, Any]]:
        """The path and the rest of a request for the thing of this id. around: ids at other places, by name; elsewhere the same id."""
        ids = {_ANY: value, **around, self.place.name: value}
        path = _PARAMETER.sub(lambda found: ids.get(found[1], value), self.prefix + self.operation.path)
        if self.place.where == "query":
            return path, {"params": {self.place.name: value}}
        if self.place.where == "body":
            assert self.place.variant is not None
            return path, {"json": _example(self.place.variant, self.place.definitions or {}, ids, self.place.name)}
        if self.operation.body is None or self.operation.body.media_type != JSON_TYPE:
            return path, {}
        schema = self.operation.body.model.model_json_schema(by_alias=True)
        return path, {"json": _example(schema, schema.get("$defs", {}), ids)}


def doors(contracts: Sequence[Contract]) -> list[Door]:
    """All of them. Fails for a place that nobody knows how to fill."""
    return [
        Door(contract.name, prefix, operation, place)
        for contract in contracts
        for operation in contract.operations
        for place in _places(operation)
        for prefix in contract.prefixes
    ]


def without_ids(contracts: Sequence[Contract]) -> list[tuple[str, Operation]]:
    """GET operations that take no id, with their prefix: what the caller has, never what others have."""
    plain = [(contract, operation) for contract in contracts for operation in contract.operations if isinstance(operation, Operation)]
    reads = [(contract, operation) for contract, operation in plain if operation.method == "GET" and "{" not in operation.path]
    return [(prefix, operation) for contract, operation in reads for prefix in contract.prefixes]


def _places(operation: Operation | OpenOperation) -> Iterator[Place]:
    for name in _PARAMETER.findall(operation.path):
        if name not in COMMON:
            yield Place("path", name, _kind(name, operation))
    for name in _fields(operation.query):
        if _LOOKS_LIKE_AN_ID.search(name):
            yield Place("query", name, _kind(name, operation))
    if operation.body is not None:
        yield from _body_places(operation, operation.body.model, operation.body.media_type)


def _body_places(operation: Operation | OpenOperation, model: type[BaseModel], media_type: str) -> Iterator[Place]:
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    for variant in [_resolved(option, definitions) for option in schema.get("oneOf", schema.get("anyOf", [schema]))]:
        for name in variant.get("properties", {}):
            if _LOOKS_LIKE_AN_ID.search(name):
                assert media_type == JSON_TYPE, f"{operation.name}: an id in a form, which no cell sends"
                yield Place("body", name, _kind(name, operation), variant, definitions)


def _kind(name: str, operation: Operation | OpenOperation) -> Kind:
    assert name in KINDS, f"{operation.method} {operation.path} takes {name!r}: nobody here owns such a thing"
    return KINDS[name]


def _fields(model: type[BaseModel] | None) -> Iterator[str]:
    yield from model.model_json_schema(by_alias=True).get("properties", {}) if model is not None else ()


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _example(variant: Mapping[str, Any], definitions: Mapping[str, Any], ids: Mapping[str, str], name: str = "") -> dict[str, Any]:
    """A body with what it must have, and the id of this name. ids: by the names that take them."""
    fields = variant["properties"]
    wanted = list(variant.get("required", ()))
    if not wanted and variant.get("minProperties"):
        wanted = [field for field in fields if not _LOOKS_LIKE_AN_ID.search(field)][:1]
    body = {field: ids[field] if field in ids else _least(fields[field], definitions, ids) for field in wanted}
    if name:
        body[name] = [ids[name]] if _resolved(fields[name], definitions).get("type") == "array" else ids[name]
    return body


def _least(schema: Mapping[str, Any], definitions: Mapping[str, Any], ids: Mapping[str, str]) -> Any:
    schema = _resolved(schema, definitions)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("format") == "uuid":
        return ids[_ANY]
    if "examples" in schema:
        return schema["examples"][0]
    if schema["type"] == "object":
        return _example(schema, definitions, ids) if "properties" in schema else {}
    if schema["type"] == "array":
        return [_least(schema["items"], definitions, ids)] * schema.get("minItems", 0)
    if schema["type"] in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"string": "x", "boolean": True}[schema["type"]]


async def read_contracts(mesh: Mesh) -> Sequence[Contract]:
    """The gateway's contracts, made by the gateway's own registry; nothing is asked of the mesh."""
    places = {f"{service}_address": address for service, address in mesh.ready["grpc"].items() if service != "gateway"}
    key_file = DataDirectory(mesh.data).identity_key
    settings = GatewaySettings(identity_key_file=key_file, **places)
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(open_peers(settings, TokenSigner(load_key(key_file), "gateway")))
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        return make_contracts(
            Parts(
                settings=settings,
                peers=peers,
                http=http,
                submissions=Submissions(peers, settings, Slots(1), TrustedProxies(())),
                transcripts=Transcripts(peers.storage, http, cache_bytes=0, max_bytes=1),
                summaries=await stack.enter_async_context(open_summaries(settings)),
                events=JobEvents(peers.jobs, 1.0, Lifecycle(1.0).stopping),
                event_slots=Slots(1),
                playback=Playback(http, settings.storage_data_url),
            )
        )
