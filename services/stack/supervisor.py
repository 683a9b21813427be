"""`steno up`: start everything, say when it is ready, keep it running, stop it in order."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from services.mesh.channel import check_health, open_channel
from services.mesh.errors import MeshError
from services.mesh.identity import TokenSigner, load_key
from services.mesh.lifecycle import Lifecycle, wait_or_stop
from services.mesh.nats_config import write_config
from services.stack.children import Child, ChildSpec
from services.stack.data_directory import DataDirectory, FirstWorkspace, write_private
from services.stack.first_workspace import ensure_first_workspace
from services.stack.layout import HOST, Ports, choose_ports, nats_child, service_children

READY_SECONDS = 90.0
_POLL_SECONDS = 0.05
_TRIES_BEFORE_READY = 4
_STOP_ORDER = (("gateway",), ("inference",), ("jobs", "storage", "billing"), ("nats",))


class StartFailed(Exception):
    """The mesh did not become ready; the message says which part and why."""


@dataclass(frozen=True)
class Mesh:
    """A running embedded mesh."""

    url: str
    workspace: FirstWorkspace
    children: Mapping[str, Child]


@asynccontextmanager
async def open_mesh(
    data: DataDirectory, *, port: int, lifecycle: Lifecycle, overrides: Mapping[str, str], progress: Callable[[str], None]
) -> AsyncIterator[Mesh]:
    """Run the whole mesh until left; ready when yielded.

    overrides: environment of the services that wins over the caller's. Raises StartFailed, DataDirectoryError,
    and OSError when the gateway's port is taken.
    """
    with data.locked():
        data.prepare()
        ports = choose_ports(port)
        config = data.root / "nats.conf"
        write_config(config, ports.nats, data.events)
        specs: list[ChildSpec] = [nats_child(config), *service_children(data, ports, overrides)]
        children = {spec.name: Child(spec, data.logs / f"{spec.name}.log") for spec in specs}
        async with lifecycle.working():
            for child in children.values():
                lifecycle.spawn(child.keep_running(lifecycle.stopping), f"child {child.spec.name}")
            try:
                yield await _ready(data, ports, children, lifecycle, progress)
            finally:
                lifecycle.stop()
                await _stop(children)


async def _ready(
    data: DataDirectory, ports: Ports, children: Mapping[str, Child], lifecycle: Lifecycle, progress: Callable[[str], None]
) -> Mesh:
    signer = TokenSigner(load_key(data.identity_key), "operator")
    until = time.monotonic() + READY_SECONDS
    for name in ("billing", "storage", "jobs", "inference"):
        progress(f"waiting for {name}")
        async with open_channel(ports.address(name), audience=name, signer=signer) as channel:
            await _wait(lambda channel=channel: check_health(channel), children, name, lifecycle, until)
    workspace = await ensure_first_workspace(data, ports.address("billing"), signer)
    progress("waiting for gateway")
    url = f"http://{HOST}:{ports.services['gateway']}"
    async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as client:
        await _wait(lambda: _gateway_ready(client, url), children, "gateway", lifecycle, until)
    return Mesh(url, workspace, children)


async def _gateway_ready(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


async def _wait(ask: Callable[..., object], children: Mapping[str, Child], name: str, lifecycle: Lifecycle, until: float) -> None:
    while not await _answers(ask):
        child = children[name]
        if child.starts > _TRIES_BEFORE_READY or time.monotonic() > until:
            raise StartFailed(f"{name} did not become ready; the end of {child.log_file}:\n{child.tail()}")
        if await wait_or_stop(lifecycle.stopping, _POLL_SECONDS):
            raise StartFailed("stopped before the mesh was ready")


async def _answers(ask: Callable[..., object]) -> bool:
    try:
        answer = ask()
        return bool(await answer) if asyncio.iscoroutine(answer) else bool(answer)
    except MeshError:
        return False


async def _stop(children: Mapping[str, Child]) -> None:
    for names in _STOP_ORDER:
        await asyncio.gather(*(children[name].stop() for name in names))


async def up(
    data: DataDirectory,
    *,
    port: int,
    ready_file: Path | None,
    overrides: Mapping[str, str],
    progress: Callable[[str], None],
    announce: Callable[[Mesh], None],
) -> int:
    """Run the mesh until SIGTERM or SIGINT. Returns the exit status."""
    lifecycle = Lifecycle()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.stop)
    async with open_mesh(data, port=port, lifecycle=lifecycle, overrides=overrides, progress=progress) as mesh:
        if ready_file is not None:
            write_private(ready_file, json.dumps(_ready_document(mesh)))
        announce(mesh)
        try:
            await lifecycle.stopping.wait()
            progress("stopping")
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)
    return 0 if lifecycle.failure is None else 1


def _ready_document(mesh: Mesh) -> dict[str, object]:
    return {
        "url": mesh.url,
        "api_key": mesh.workspace.api_key,
        "pid": os.getpid(),
        "workspace_id": mesh.workspace.workspace_id,
        "children": {name: child.pid for name, child in mesh.children.items()},
    }
