"""Whether the gateway can serve: every dependency by name with its state, asked at most once a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import grpc

from services.gateway.domain import Json
from services.gateway.peers import Peers
from services.mesh import semconv
from services.mesh.channel import check_health
from services.mesh.errors import MeshError
from services.mesh.status import RemoteError
from steno.inference.v1.inference_service_pb2 import ListModelsRequest, Model

_ASK_AGAIN_SECONDS = 1.0
_CHECK_SECONDS = 2.0
_AGAIN_SECONDS = 0.1
# ListModels wants a caller with a workspace and looks at none of its data.

Check = Callable[[], Awaitable[bool]]
ModelList = Callable[[], Awaitable[list[Model]]]


@dataclass(frozen=True)
class Dependency:
    """Something to be reached; the gateway is not ready without a needed one."""

    check: Check
    needed: bool = True


class Readiness:
    """The state of the gateway and of what it depends on."""

    def __init__(
        self, dependencies: Mapping[str, Dependency], models: Callable[[], Awaitable[list[Model]]], stopping: asyncio.Event
    ) -> None:
        self._dependencies = dependencies
        self._models = models
        self._stopping = stopping
        self._lock = asyncio.Lock()
        self._report: tuple[bool, dict[str, Json]] = (False, {})
        self._asked = -_ASK_AGAIN_SECONDS

    async def report(self) -> tuple[bool, dict[str, Json]]:
        """Ready or not, and the document that says why."""
        if self._stopping.is_set():
            return False, {**self._report[1], "status": "stopping"}
        async with self._lock:
            if time.monotonic() - self._asked >= _ASK_AGAIN_SECONDS:
                self._report = await self._ask()
                self._asked = time.monotonic()
        return self._report

    async def _ask(self) -> tuple[bool, dict[str, Json]]:
        names = list(self._dependencies)
        up = dict(zip(names, await asyncio.gather(*(_is_up(self._dependencies[name]) for name in names)), strict=True))
        for name, is_up in up.items():
            semconv.READY.labels(name).set(is_up)
        ready = all(up[name] for name, dependency in self._dependencies.items() if dependency.needed)
        states: dict[str, Json] = {name: {"state": "up" if up[name] else "down"} for name in names}
        return ready, {"status": "ready" if ready else "not_ready", "dependencies": states, "models": await self._model_list()}

    async def _model_list(self) -> Json:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                models = await self._models()
        except (MeshError, TimeoutError):
            return []
        return [_described(model) for model in models]


def _described(model: Model) -> dict[str, Json]:
    return {
        "name": model.name,
        "engine": model.engine,
        "production": model.production,
        "test": model.test,
        "trouble": model.trouble or None,
    }


async def _is_up(dependency: Dependency) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await dependency.check()
    except (MeshError, OSError, TimeoutError):
        return False


def peer_dependencies(peers: Peers) -> dict[str, Dependency]:
    """The four services; without inference jobs are accepted and wait."""

    return {name: Dependency(partial(is_healthy, channel), needed=name != "inference") for name, channel in peers.channels.items()}


async def is_healthy(channel: grpc.aio.Channel) -> bool:
    """Asked twice: of several replicas the one that answered first may be leaving, and then another answers next. Raises RemoteError."""
    try:
        if await check_health(channel, _CHECK_SECONDS):
            return True
    except RemoteError as error:
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
    await asyncio.sleep(_AGAIN_SECONDS)
    return await check_health(channel, _CHECK_SECONDS)


async def list_models(peers: Peers) -> list[Model]:
    """What inference can run now, preferred first."""
    answer = await peers.inference.ListModels(ListModelsRequest(), timeout=_CHECK_SECONDS)
    return list(answer.models)
