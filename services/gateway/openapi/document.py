"""OpenAPI 3.1 from what the contracts declare. Source: spec.openapis.org/oas/v3.1.1."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.gateway.contract import Contract
from services.gateway.domain import Reason
from services.gateway.operation import FORM_TYPE, JSON_TYPE, Answer, Body, OpenOperation, Operation
from services.gateway.refusals import WORTH_REPEATING

Node = dict[str, Any]

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ANYBODY = (Reason.BAD_REQUEST, Reason.BACKEND_ERROR, Reason.BACKEND_UNREACHABLE, "INTERNAL")
_GUARDED = (
    *_ANYBODY,
    Reason.MISSING_API_KEY,
    Reason.INVALID_API_KEY,
    Reason.INVALID_TOKEN,
    "INVALID_GUEST_TOKEN",
    Reason.FORBIDDEN,
    Reason.RATE_LIMITED,
    Reason.OVERLOADED,
)
_SECURITY: Sequence[Mapping[str, Sequence[str]]] = ({"key": ()}, {"bearer": ()}, {"key": (), "bearer": ()})
_SCHEMES: Node = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key: sk_live_… or sk_test_…."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or the token of a signed-in user."},
}
_RETRY = {"Retry-After": "Seconds to wait."}


def make_document(contracts: Sequence[Contract], version: str) -> Node:
    """The whole document; every contract under the prefix that is its own to document."""
    schemas: Node = {}
    paths: dict[str, Node] = {}
    for contract in contracts:
        writer = _ContractWriter(contract)
        schemas |= writer.schemas()
        for operation in contract.operations:
            path = _PARAMETER.sub(r"{\1}", contract.prefixes[0] + operation.path)
            paths.setdefault(path, {})[operation.method.lower()] = writer.operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Steno", "version": version, "summary": "Speech to text behind the contracts that clients already speak."},
        "tags": [_tag(contract) for contract in contracts],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }


def _tag(contract: Contract) -> Node:
    places = " and ".join(f"`{prefix or '/'}`" for prefix in contract.prefixes)
    return {"name": contract.name, "description": f"{contract.title}, at {places}"}


class _ContractWriter:
    """Writes the operations of one contract; its schemas carry its name, so that two contracts may use one word."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        models = sorted(set(_models(contract)), key=lambda model: model.__name__)
        template = f"#/components/schemas/{contract.name}.{{model}}"
        references, definitions = models_json_schema([(model, "validation") for model in models], ref_template=template)
        self._references = {model: dict(schema) for (model, _), schema in references.items()}
        self._schemas = {f"{contract.name}.{name}": schema for name, schema in definitions.get("$defs", {}).items()}

    def schemas(self) -> Node:
        """Everything that the operations refer to."""
        return self._schemas

    def operation(self, operation: Operation | OpenOperation) -> Node:
        """One operation object."""
        guarded = isinstance(operation, Operation)
        node: Node = {
            "operationId": f"{self._contract.name}_{operation.name}",
            "tags": [self._contract.name],
            "summary": operation.summary,
            "security": list(_SECURITY) if guarded else [],
            "responses": self._responses(operation, (*(_GUARDED if guarded else _ANYBODY), *operation.refusals)),
        }
        parameters = [
            *_path_parameters(operation.path),
            *self._fields(operation.query, "query"),
            *self._fields(operation.headers, "header"),
            *self._fields(self._contract.identity_headers if guarded else None, "header"),
        ]
        if parameters:
            node["parameters"] = parameters
        if operation.body is not None:
            node["requestBody"] = self._body(operation.body)
        return node

    def _responses(self, operation: Operation | OpenOperation, reasons: Iterable[str]) -> Node:
        responses: Node = {str(status): self._success(answer) for status, answer in operation.answers.items()}
        for status, codes in sorted(self._codes(reasons).items()):
            responses[str(status)] = self._refusal(status, codes)
        return responses

    def _codes(self, reasons: Iterable[str]) -> dict[int, set[str]]:
        by_status: dict[int, set[str]] = {}
        for reason in reasons:
            answer = self._contract.errors.answer(reason)
            by_status.setdefault(answer.status, set()).add(answer.code)
        return by_status

    def _refusal(self, status: int, codes: Iterable[str]) -> Node:
        named = sorted(code for code in codes if code)
        description = HTTPStatus(status).phrase + (f": {', '.join(f'`{code}`' for code in named)}." if named else ".")
        node: Node = {"description": description, "content": {JSON_TYPE: {"schema": self._references[self._contract.errors.model]}}}
        if status in WORTH_REPEATING:
            node["headers"] = _headers(_RETRY)
        return node

    def _success(self, answer: Answer) -> Node:
        node: Node = {"description": answer.description}
        content: Node = {media_type: {"schema": {}} for media_type in answer.media_types}
        if answer.body is not None:
            schema = self._references[answer.body]
            content[JSON_TYPE] = {"schema": {"type": "array", "items": schema} if answer.is_list else schema}
        if content:
            node["content"] = content
        if answer.headers:
            node["headers"] = _headers(answer.headers)
        return node

    def _body(self, body: Body) -> Node:
        schema = self._references[body.model]
        if body.media_type == FORM_TYPE and body.file:
            file: Node = {
                "type": "object",
                "properties": {body.file: {"type": "string", "contentMediaType": "application/octet-stream"}},
                "required": [body.file],
            }
            schema = {"allOf": [file, schema]}
        return {"required": True, "content": {body.media_type: {"schema": schema}}}

    def _fields(self, model: type[BaseModel] | None, place: str) -> Iterator[Node]:
        """The fields of a model as parameters."""
        if model is None:
            return
        schema = model.model_json_schema(ref_template=f"#/components/schemas/{self._contract.name}.{{model}}")
        for name, field in schema.get("properties", {}).items():
            field = {key: value for key, value in field.items() if key != "title"}  # noqa: PLW2901 - the same, tidied
            node = {"name": name, "in": place, "required": name in schema.get("required", ()), "schema": _given(field)}
            if "description" in field:
                node["description"] = node["schema"].pop("description")
            yield node


def _models(contract: Contract) -> Iterator[type[BaseModel]]:
    yield contract.errors.model
    for operation in contract.operations:
        if operation.body is not None:
            yield operation.body.model
        for answer in operation.answers.values():
            if answer.body is not None:
                yield answer.body


def _path_parameters(path: str) -> Iterator[Node]:
    for name in _PARAMETER.findall(path):
        schema: Node = {"type": "string", "minLength": 1}
        if name.endswith("_id"):
            schema["format"] = "uuid"
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _given(field: Node) -> Node:
    """The schema of a parameter that is there: what is left out of a request is not null."""
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return field
    kept = {key: value for key, value in field.items() if key not in ("anyOf", "default") or (key == "default" and value is not None)}
    return {**options[0], **kept}


def _headers(sentences: Mapping[str, str]) -> Node:
    return {name: {"description": sentence, "schema": {"type": "string"}} for name, sentence in sentences.items()}
