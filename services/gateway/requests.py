"""Strict reading of what clients send beside media."""

import asyncio
import json
import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from services.gateway.domain import Reason, Refusal

MAX_JSON_BYTES = 256 * 1024
MAX_JSON_DEPTH = 32
# Longer ones are read beside the event loop.
_SHORT_JSON_BYTES = 64 * 1024
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:/-]{1,255}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
Body = TypeVar("Body", bound=BaseModel)


def read_id(request: Request, name: str) -> str:
    """A path parameter that is a UUID, in lower case. Raises Refusal."""
    return check_id(request.path_params[name])


def check_id(text: str) -> str:
    """A UUID in lower case. Raises Refusal."""
    if not _UUID.fullmatch(text):
        raise Refusal(Reason.BAD_ID)
    return text.lower()


def read_query(request: Request, name: str, default: str) -> str:
    """A query parameter given once or not at all. Raises Refusal."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise Refusal(Reason.BAD_REQUEST, f"Send {name} once.")
    return values[0] if values else default


def read_number(request: Request, name: str, *, default: int, least: int, most: int) -> int:
    """A whole number in a query parameter, in ASCII digits. Raises Refusal."""
    text = read_query(request, name, str(default))
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise Refusal(Reason.BAD_REQUEST, f"{name} is a whole number from {least} to {most}.")
    return int(text)


def read_idempotency_key(request: Request) -> str:
    """The client's key for safe retries; empty when there is none. Raises Refusal."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return ""
    if len(values) > 1 or not _IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise Refusal(Reason.BAD_IDEMPOTENCY_KEY)
    return values[0]


def content_length(request: Request) -> int:
    """The announced length of the body in bytes; 0 when unknown."""
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


async def read_json(request: Request, model: type[Body], most_bytes: int = MAX_JSON_BYTES) -> Body:
    """The JSON body as a model. Raises Refusal: BAD_REQUEST for no JSON object, BAD_FIELD for wrong fields."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(Reason.BAD_REQUEST, "Send a JSON object as application/json.")
    body = await read_body(request, most_bytes, "A JSON body")
    if len(body) > _SHORT_JSON_BYTES:
        return await asyncio.to_thread(_modelled, body, model)
    return _modelled(body, model)


def _modelled(body: bytes, model: type[Body]) -> Body:
    document = _parsed(body)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise Refusal(Reason.BAD_FIELD, problem["msg"][:200], field=field[:100]) from error


async def read_body(request: Request, most_bytes: int, what: str) -> bytes:
    """The whole body. Raises Refusal past its bound; what: names it in the sentence."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise Refusal(Reason.BAD_REQUEST, f"{what} has at most {most_bytes} bytes.")
    return bytes(body)


def _parsed(body: bytes) -> dict[str, object]:
    try:
        text = body.decode()
        _check_depth(text)
        document = json.loads(text, parse_constant=_no_constant)
        sound = isinstance(document, dict) and not _SURROGATE.search(json.dumps(document, ensure_ascii=False))
    except (ValueError, RecursionError) as error:
        raise Refusal(Reason.BAD_REQUEST, "The body is not valid JSON.") from error
    if not sound:
        raise Refusal(Reason.BAD_REQUEST, "The body is not a JSON object of UTF-8 text.")
    return dict(document)


def _check_depth(text: str) -> None:
    """A bound on nesting that counts brackets in strings too: too strict for texts of brackets, never too lax."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    if deepest > MAX_JSON_DEPTH:
        raise ValueError("nested too deeply")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
