"""A real tritonserver for tests, supervised as `steno up --engine triton` does."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from services.inference.models.catalogue.bundled import install_bundled
from services.stack.children import Child
from services.stack.layout import hold_free_port
from services.stack.triton.deployment import find_deployment
from services.stack.triton.health import is_ready
from services.stack.triton.interpreter import VARIABLE, validated
from services.stack.triton.python import Python
from services.stack.triton.server import HOST, MODELS, TritonServer

START_SECONDS = 120.0


@dataclass(frozen=True)
class RunningTriton:
    """A server under supervision: kill `child.pid`, and it comes back."""

    server: TritonServer
    child: Child

    @property
    def address(self) -> str:
        """host:port of its gRPC."""
        return self.server.address

    async def until_ready(self) -> None:
        """Wait until it answers. Fails with its log."""
        until = time.monotonic() + START_SECONDS
        while not await is_ready(self.address):
            assert time.monotonic() < until, self.child.tail()[-4000:]
            assert self.child.starts < 4, self.child.tail()[-4000:]
            await asyncio.sleep(0.05)


def interpreter() -> Python:
    """The one that `make setup-triton` prepared."""
    folder = Path(os.environ.get(VARIABLE) or Path(sys.prefix) / "triton")
    assert folder.is_dir(), "make setup-triton prepares the interpreter of Triton's models"
    return validated(folder)


@asynccontextmanager
async def triton_server(
    folder: Path,
    *,
    repository: Path | None = None,
    models: Sequence[str] = MODELS,
    variables: Mapping[str, str] | None = None,
    detectors: Path | None = None,
) -> AsyncIterator[RunningTriton]:
    """A ready server with these models; it ends with the block. variables: environment of the models."""
    with ExitStack() as held:
        grpc_port, metrics_port = hold_free_port(held), hold_free_port(held)
    repository = repository or find_deployment() / "model_repository"
    server = TritonServer(folder, interpreter(), repository, f"{HOST}:{grpc_port}", metrics_port, models, variables or {}, detectors)
    folder.parent.mkdir(parents=True, exist_ok=True)
    server.prepare()
    running = RunningTriton(server, Child(server.child(), folder / "triton.log"))
    async with supervised(running.child):
        await running.until_ready()
        yield running


@asynccontextmanager
async def supervised(child: Child) -> AsyncIterator[None]:
    """Keeps the child running until left, then ends it."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child.keep_running(stopping), name=child.spec.name)
        try:
            yield
        finally:
            stopping.set()
            await child.stop()


@contextmanager
def shared_triton(folder: Path, **options: Any) -> Iterator[RunningTriton]:
    """`triton_server` for tests of any event loop: its supervisor has a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(triton_server(folder, **options)) as running:
        yield running


def speech_variables(folder: Path) -> Mapping[str, str]:
    """Environment of the models, with the bundled test model installed below the folder."""
    model = install_bundled(folder)
    return {"STENO_TRITON_MODELS_DIRECTORY": str(folder), "STENO_TRITON_WHISPER_MODEL": model.name}
