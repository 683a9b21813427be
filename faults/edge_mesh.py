"""A mesh whose edge is tried: no rate is limited, so that every request reaches what is behind it, and its memory is watched."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil

from faults.plans import plans_without_rates
from tests.e2e.mesh import Mesh, running_mesh, wait_for

SERVICES = ("gateway", "billing", "storage", "jobs", "inference", "nats")
_MEBIBYTE = 1024**2


@contextmanager
def unhurried_mesh(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Mesh]:
    """A mesh whose plans limit no rate."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.toml").write_text(plans_without_rates())
    limits = {"STENO_BILLING_PLANS_FILE": str(folder / "plans.toml"), "STENO_INFERENCE_ENGINE_PROCESSES": "1"}
    with running_mesh(folder, {**limits, **(environment or {})}) as mesh:
        yield mesh


def gateway_port(mesh: Mesh) -> int:
    """Where the public API listens."""
    return urlsplit(mesh.ready["url"]).port or 80


def storage_port(mesh: Mesh) -> int:
    """Where storage's data plane listens."""
    return int(psutil.Process(pid_of(mesh, "storage")).environ()["STENO_STORAGE_DATA_PORT"])


def pid_of(mesh: Mesh, service: str) -> int:
    """The process of a service."""
    return wait_for(lambda: mesh.child_pid(service), 30, f"{service} to run")


def pids(mesh: Mesh) -> Mapping[str, int | None]:
    """Every process of the mesh now."""
    return {service: mesh.child_pid(service) for service in SERVICES}


def new_key(mesh: Mesh, name: str, *scopes: str) -> tuple[str, str]:
    """A further API key of the workspace: its id and its secret."""
    row = mesh.client.post("/api/v1/auth/api-keys", json={"name": name, "scopes": scopes}).raise_for_status().json()
    return row["id"], row["key"]


def revoke(mesh: Mesh, key_id: str, secret: str) -> None:
    """End a key, and wait until the gateway has heard of it."""
    mesh.client.delete(f"/api/v1/auth/api-keys/{key_id}").raise_for_status()
    with mesh.client_for(secret) as client:
        wait_for(lambda: client.get("/api/v1/me").status_code == httpx2.codes.UNAUTHORIZED, 15, "the key to end")


@dataclass(frozen=True)
class Memory:
    """Resident memory of one process, from a moment on."""

    pid: int
    before_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Memory":
        """From now on; the kernel's peak begins anew."""
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        return cls(pid, psutil.Process(pid).memory_info().rss)

    @property
    def growth_mb(self) -> float:
        """How much more it is now, in MiB."""
        return (psutil.Process(self.pid).memory_info().rss - self.before_bytes) / _MEBIBYTE

    @property
    def peak_growth_mb(self) -> float:
        """How much more it was at most, in MiB."""
        found = re.search(r"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 - self.before_bytes / _MEBIBYTE if found else 0.0
