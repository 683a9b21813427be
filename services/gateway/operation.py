"""What a contract declares of each thing that clients can do: enough to route it, guard it and document it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import ASGIApp

from services.gateway.domain import Client
from services.mesh.identity import Scope

Handler = Callable[[Request, Client], Awaitable[ASGIApp]]
OpenHandler = Callable[[Request], Awaitable[ASGIApp]]
Precheck = Callable[[Request], None]

JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"


class RateKind(StrEnum):
    """Which of a contract's rates a request counts against; named like the fields of the proto's RateClass."""

    UPLOADS = "uploads"
    READS = "reads"
    TOKENS = "tokens"


@dataclass(frozen=True)
class Answer:
    """A success as it is documented.

    body: the schema of a JSON body, None for none. media_types: what else the body may be. headers: name to sentence.
    """

    description: str
    body: type[BaseModel] | None = None
    media_types: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    is_list: bool = False


@dataclass(frozen=True)
class Body:
    """A request body as it is documented; `file` names the form's file part, if it has one."""

    model: type[BaseModel]
    media_type: str = JSON_TYPE
    file: str = ""


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    path: below the contract's prefix, with {parameters}. refusals: reasons beyond those that every operation can have.
    scope: what a limited key must be allowed; None: "read" for GET, "write" for the rest. precheck: refuses on the head
    alone, before the key is looked at. query, headers: models of what the handler reads beside the body.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answers: Mapping[int, Answer]
    refusals: tuple[str, ...] = ()
    body: Body | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    scope: Scope | None = None
    rate: RateKind = RateKind.READS
    precheck: Precheck | None = None

    @property
    def needed_scope(self) -> Scope:
        """What a limited key must be allowed."""
        if self.scope is not None:
            return self.scope
        return Scope.READ if self.method == "GET" else Scope.WRITE


@dataclass(frozen=True)
class OpenOperation:
    """One GET or POST that asks for no key."""

    method: str
    path: str
    name: str
    summary: str
    handler: OpenHandler
    answers: Mapping[int, Answer]
    refusals: tuple[str, ...] = ()
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    body: Body | None = None
