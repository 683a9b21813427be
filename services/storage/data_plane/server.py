"""uvicorn inside the service's process and event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import uvicorn

from services.mesh.edge.limits import EdgeLimits, affordable_connections
from services.mesh.edge.protocol import EdgeProtocol
from services.mesh.tls.certificates import Certificates
from services.mesh.tls.peers import admit_roles
from services.storage.data_plane.app import DataPlane

KEEP_ALIVE_SECONDS = 75
BACKLOG = 512
MAX_CONNECTIONS = 4000
# Far more patient than the gateway, which passes bodies on as its clients send them.
BODY_SECONDS = 60.0
BODY_BYTES_PER_SECOND = 128
STOP_SECONDS = 2.0
# Who sends and reads bytes; a signed URL is needed besides.
CALLERS = frozenset({"gateway", "inference", "client"})


class EmbeddedServer(uvicorn.Server):
    """uvicorn without its own signal handling; `run` alone handles signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def open_data_plane(
    app: DataPlane, listener: socket.socket, grace_seconds: float, tls: Certificates | None = None
) -> AsyncIterator[None]:
    """Serve on the listener until left; transfers in hand get the grace period. tls: for callers with certificates alone."""
    server = EmbeddedServer(_config(app, grace_seconds, tls))
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listener]), name="data plane")
        await server.listening.wait()
        try:
            yield
        finally:
            # Awaited here: an exception would have the group cancel uvicorn before it has taken its sockets off the loop.
            server.should_exit = True
            await asyncio.wait([serving], timeout=grace_seconds + STOP_SECONDS)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _config(app: DataPlane, grace_seconds: float, tls: Certificates | None) -> uvicorn.Config:
    connections = affordable_connections(MAX_CONNECTIONS)
    limits = EdgeLimits(body_deadline_seconds=BODY_SECONDS, body_bytes_per_second=BODY_BYTES_PER_SECOND, max_connections=connections)
    admit = admit_roles(tls.trust_domain, CALLERS) if tls else None
    config = uvicorn.Config(
        app,
        http=cast("Any", partial(EdgeProtocol, limits=limits, body_of=_refusal_body, admit=admit)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(grace_seconds)),
    )
    if tls:
        # From files uvicorn would read a chain that stays.
        config.load()
        config.ssl = tls.server_context()
    return config


def _refusal_body(path: str, status: int, code: str, sentence: str) -> Mapping[str, str]:
    return {"error": sentence, "code": code}
