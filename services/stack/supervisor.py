"""`steno up`: start everything, say when it is ready, keep it running, stop it in order."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from services.mesh.channel import check_health, open_channel
from services.mesh.errors import MeshError
from services.mesh.identity import TokenSigner, load_key
from services.mesh.lifecycle import Lifecycle, wait_or_stop
from services.mesh.nats_config import NatsTls, write_config
from services.stack.certificates.folder import TRUST_DOMAIN, CertificateFolder, make_certificates
from services.stack.certificates.renewal import keep_certificates
from services.stack.children import LONGEST_RESTART_SECONDS, Child, ChildSpec
from services.stack.data_directory import DataDirectory, FirstWorkspace, write_private
from services.stack.echo import ShowLine, echo
from services.stack.event_store import keep_writable
from services.stack.first_workspace import ensure_first_workspace
from services.stack.last_words import last_words
from services.stack.layout import HOST, SERVICES, Ports, choose_ports, nats_child, service_children
from services.stack.models import RunningModel, list_models
from services.stack.triton.embedded import ADDRESS, EmbeddedTriton
from services.stack.triton.health import is_ready
from services.stack.triton.server import TritonServer

READY_SECONDS = 90.0
# A large model is read from a cold disk, and run once by its warm-up.
TRITON_READY_SECONDS = 300.0
_POLL_SECONDS = 0.05
_CONNECT_SECONDS = 2.0
_TRIES_BEFORE_READY = 4
_BAD_SETTINGS = 2
STOP_ORDER = (("gateway", "inference"), ("jobs", "storage", "billing", "triton"), ("nats",))


class StartFailed(Exception):
    """The mesh did not become ready; the message says which part and why."""


class StoppedEarly(Exception):
    """Somebody stopped the mesh before it was ready."""


@dataclass(frozen=True)
class Mesh:
    """A running embedded mesh."""

    url: str
    ports: Ports
    workspace: FirstWorkspace
    children: Mapping[str, Child]
    models: Sequence[RunningModel]
    triton: EmbeddedTriton | None
    tls: bool


@asynccontextmanager
async def open_mesh(
    data: DataDirectory,
    *,
    port: int,
    lifecycle: Lifecycle,
    overrides: Mapping[str, str],
    progress: Callable[[str], None],
    triton: EmbeddedTriton | None = None,
    show_line: ShowLine | None = None,
    tls: bool = False,
    restart_seconds: float = LONGEST_RESTART_SECONDS,
) -> AsyncIterator[Mesh]:
    """Run the whole mesh until left; ready when yielded.

    overrides: environment of the services that wins over the caller's. tls: encrypt all that the parts say to each other.
    restart_seconds: the longest wait before a part that keeps ending is started again.
    Raises StartFailed, StoppedEarly, DataDirectoryError, TritonUnavailable, FileNotFoundError without nats-server, ValueError for an
    authority that cannot be read, and OSError when the gateway's port is taken.
    """
    with ExitStack() as stack:
        lock = await asyncio.to_thread(stack.enter_context, data.locked(progress))
        data.prepare()
        ports = choose_ports(port)
        certificates = await asyncio.to_thread(_make_certificates, data) if tls else None
        specs = _make_specs(data, ports, overrides, triton, certificates)
        children = {spec.name: Child(spec, data.logs / f"{spec.name}.log", [lock], restart_seconds) for spec in specs}
        async with lifecycle.working():
            for name, child in children.items():
                if show_line is not None:
                    lifecycle.spawn(echo(name, child.log_file, show_line, lifecycle.stopping), f"echo {name}")
                lifecycle.spawn(child.keep_running(lifecycle.stopping), f"child {name}")
            lifecycle.spawn(keep_writable(children["nats"], ports.nats_health_url, data.events, lifecycle.stopping), "event store")
            if certificates is not None:
                lifecycle.spawn(keep_certificates(certificates, children["nats"], lifecycle.stopping), "certificates")
            try:
                yield await _ready(data, ports, children, triton, lifecycle, progress, certificates)
            finally:
                lifecycle.stop()
                await stop_in_order(children)


def _make_certificates(data: DataDirectory) -> CertificateFolder:
    folder = CertificateFolder(data.certificates)
    make_certificates(folder)
    return folder


def _make_specs(
    data: DataDirectory,
    ports: Ports,
    overrides: Mapping[str, str],
    triton: EmbeddedTriton | None,
    certificates: CertificateFolder | None,
) -> Sequence[ChildSpec]:
    config = data.root / "nats.conf"
    write_config(config, ports.nats, data.events, health_port=ports.nats_health, tls=_nats_tls(certificates))
    specs: list[ChildSpec] = [nats_child(config)]
    if triton is not None:
        server = triton.server(ports.triton_metrics, certificates.of("triton") if certificates else None)
        server.prepare()
        specs.append(server.child())
        overrides = {**overrides, **_to(server)}
    return [*specs, *service_children(data, ports, overrides, certificates)]


def _nats_tls(certificates: CertificateFolder | None) -> NatsTls | None:
    if certificates is None:
        return None
    own = certificates.of("nats")
    return NatsTls(own.certificate, own.key, own.authority, [f"spiffe://{TRUST_DOMAIN}/{service}" for service in SERVICES])


def _to(triton: TritonServer) -> Mapping[str, str]:
    """How inference reaches its own Triton."""
    return {
        ADDRESS: triton.address,
        "STENO_INFERENCE_TRITON_TLS": "true" if triton.tls else "false",
        "STENO_INFERENCE_TRITON_MODEL_CONTROL": "true",
        "STENO_INFERENCE_TRITON_REPOSITORY": str(triton.detectors or ""),
    }


async def _ready(
    data: DataDirectory,
    ports: Ports,
    children: Mapping[str, Child],
    triton: EmbeddedTriton | None,
    lifecycle: Lifecycle,
    progress: Callable[[str], None],
    certificates: CertificateFolder | None,
) -> Mesh:
    tls = await asyncio.to_thread(certificates.open, "operator") if certificates else None
    signer = TokenSigner(load_key(data.identity_key), "operator")
    until = time.monotonic() + READY_SECONDS
    progress("waiting for nats")
    await _wait(lambda: _listens(ports.nats), children, "nats", lifecycle, until)
    if triton is not None:
        progress("waiting for triton")
        until = time.monotonic() + TRITON_READY_SECONDS
        await _wait(lambda: is_ready(triton.address, tls), children, "triton", lifecycle, until)
        until = time.monotonic() + READY_SECONDS
    for name in ("billing", "storage", "jobs", "inference"):
        progress(f"waiting for {name}")
        async with open_channel(ports.address(name), audience=name, signer=signer, tls=tls) as channel:
            await _wait(lambda channel=channel: check_health(channel), children, name, lifecycle, until)
    workspace = await ensure_first_workspace(data, ports.address("billing"), signer, tls)
    progress("waiting for gateway")
    url = f"http://{HOST}:{ports.services['gateway']}"
    async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as client:
        await _wait(lambda: _gateway_ready(client, url), children, "gateway", lifecycle, until)
    models = await list_models(ports.address("inference"), signer, workspace.workspace_id, tls)
    return Mesh(url, ports, workspace, children, models, triton, tls=tls is not None)


async def _listens(port: int) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(HOST, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _gateway_ready(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


async def _wait(ask: Callable[..., Awaitable[bool]], children: Mapping[str, Child], name: str, lifecycle: Lifecycle, until: float) -> None:
    while not await _answers(ask):
        for child in children.values():
            _check_start(child)
        if time.monotonic() > until:
            raise StartFailed(last_words(children[name]))
        if await wait_or_stop(lifecycle.stopping, _POLL_SECONDS):
            raise StoppedEarly


def _check_start(child: Child) -> None:
    """Give up at once on a child that refuses its settings, and soon on one that keeps ending. Raises StartFailed."""
    if child.starts > _TRIES_BEFORE_READY or (child.process is not None and child.process.returncode == _BAD_SETTINGS):
        raise StartFailed(last_words(child))


async def _answers(ask: Callable[..., Awaitable[bool]]) -> bool:
    try:
        return await ask()
    except MeshError:
        return False


async def stop_in_order(children: Mapping[str, Child]) -> None:
    """End the doors first, then what they call, then the bus."""
    for names in STOP_ORDER:
        await asyncio.gather(*(children[name].stop() for name in names if name in children))


async def up(
    data: DataDirectory,
    *,
    port: int,
    ready_file: Path | None,
    overrides: Mapping[str, str],
    progress: Callable[[str], None],
    announce: Callable[[Mesh], None],
    triton: EmbeddedTriton | None = None,
    show_line: ShowLine | None = None,
    tls: bool = False,
    restart_seconds: float = LONGEST_RESTART_SECONDS,
) -> int:
    """Run the mesh until SIGTERM or SIGINT. Returns the exit status; raises what `open_mesh` does."""
    lifecycle = Lifecycle()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.stop)
    try:
        mesh_run = open_mesh(
            data,
            port=port,
            lifecycle=lifecycle,
            overrides=overrides,
            progress=progress,
            triton=triton,
            show_line=show_line,
            tls=tls,
            restart_seconds=restart_seconds,
        )
        async with mesh_run as mesh:
            with _there(data.addresses, {**_addresses(mesh), "tls": mesh.tls}), _there(ready_file, _ready_document(mesh)):
                announce(mesh)
                await lifecycle.stopping.wait()
            progress("stopping")
    except StoppedEarly:
        progress("stopped before everything was ready")
    return 0 if lifecycle.failure is None else 1


@contextmanager
def _there(path: Path | None, content: Mapping[str, object]) -> Iterator[None]:
    """A file that is there while the mesh is ready."""
    if path is None:
        yield
        return
    write_private(path, json.dumps(content))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _ready_document(mesh: Mesh) -> dict[str, object]:
    return {
        "url": mesh.url,
        "api_key": mesh.workspace.api_key,
        "pid": os.getpid(),
        "workspace_id": mesh.workspace.workspace_id,
        "grpc": _addresses(mesh),
        "models": [model._asdict() for model in mesh.models],
        "triton": _triton(mesh),
        "tls": mesh.tls,
    }


def _triton(mesh: Mesh) -> dict[str, str] | None:
    """Where the embedded Triton listens; None without one."""
    if mesh.triton is None:
        return None
    return {"grpc": mesh.triton.address, "metrics": f"http://{HOST}:{mesh.ports.triton_metrics}/metrics"}


def _addresses(mesh: Mesh) -> dict[str, object]:
    return {name: mesh.ports.address(name) for name in ("billing", "storage", "jobs", "inference")}
