"""uvicorn as a part of the service: our socket, our signals, our protocol."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from services.gateway.settings import GatewaySettings
from services.mesh.edge.leaving import Application, closing_when
from services.mesh.edge.limits import EdgeBody, EdgeLimits, affordable_connections
from services.mesh.edge.protocol import EdgeProtocol
from services.mesh.lifecycle import Lifecycle

_BACKLOG = 1024
_REFUSAL_HEADERS = (b"access-control-allow-origin: *",)
# What uvicorn cancels at the end of the grace period still has uploads to forget.
_CLEAN_UP_SECONDS = 6.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def open_http_server(app: ASGIApp, settings: GatewaySettings, lifecycle: Lifecycle, body_of: EdgeBody) -> AsyncIterator[int]:
    """Serve the app; yields the port. On leaving, requests in hand finish within the grace period. Raises OSError.

    body_of: what is said to a request that never reaches the app.
    """
    listener = _listen(settings.host, settings.port)
    server = _Server(_config(closing_when(lifecycle.leaving, app), settings, body_of))
    ended = asyncio.Event()
    lifecycle.spawn(_serve(server, listener, ended), "http server")
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await ended.wait()


async def _serve(server: _Server, listener: socket.socket, ended: asyncio.Event) -> None:
    try:
        await server.serve(sockets=[listener])
        if cancelled := set(server.server_state.tasks):
            await asyncio.wait(cancelled, timeout=_CLEAN_UP_SECONDS)
    finally:
        listener.close()
        ended.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _config(app: Application, settings: GatewaySettings, body_of: EdgeBody) -> uvicorn.Config:
    connections = affordable_connections(settings.max_connections)
    limits = EdgeLimits(settings.header_deadline_seconds, settings.body_deadline_seconds, max_connections=connections)
    return uvicorn.Config(
        cast("Any", app),
        http=cast("Any", partial(EdgeProtocol, limits=limits, body_of=body_of, headers=_REFUSAL_HEADERS)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.idle_connection_seconds,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_grace_seconds)),
    )
