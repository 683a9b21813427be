"""Whole meshes to break: embedded (SQLite, a directory) or distributed (Postgres, S3), with all that they keep."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from faults.campaign import DatabaseKind
from tests.e2e.mesh import Mesh, running_mesh, wait_for
from tests.servers import free_port, new_postgres_database, postgres_server

BUCKET = "steno"
# Its modules are many, and a busy machine reads them slowly.
_S3_SECONDS = 240.0
WITH_DATABASE = ("billing", "storage", "jobs")
# What a mesh waits for by the minute it does by the second here, so that a campaign sees it happen; each stays above what it must exceed.
HURRIED: Mapping[str, str] = {
    "STENO_INFERENCE_ENGINE_PROCESSES": "1",
    "STENO_JOBS_LEASE_SECONDS": "6",
    "STENO_JOBS_RETRY_DELAY_SECONDS": "0.2",
    "STENO_JOBS_MAX_RETRY_DELAY_SECONDS": "2",
    "STENO_JOBS_MAX_ATTEMPTS": "1000",
    "STENO_JOBS_SWEEP_INTERVAL_SECONDS": "1",
    "STENO_JOBS_LOST_DISPATCH_SECONDS": "3",
    "STENO_JOBS_STALE_DISPATCH_SECONDS": "20",
    "STENO_JOBS_RESERVE_SECONDS": "10",
    "STENO_JOBS_RECONCILE_INTERVAL_SECONDS": "2",
    "STENO_JOBS_OPEN_HOLD_SECONDS": "5",
    "STENO_JOBS_ORPHAN_HOLD_SECONDS": "20",
    "STENO_JOBS_CLEANUP_INTERVAL_SECONDS": "1",
    "STENO_JOBS_UPLOAD_INTERVAL_SECONDS": "2",
    "STENO_JOBS_RETENTION_INTERVAL_SECONDS": "2",
    "STENO_JOBS_EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
    "STENO_STORAGE_EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
    "STENO_STORAGE_REAP_SECONDS": "1",
    "STENO_STORAGE_SWEEP_SECONDS": "5",
    "STENO_BILLING_VERIFY_INTERVAL_SECONDS": "5",
}


@dataclass(frozen=True)
class Stores:
    """Where a mesh keeps everything. databases: SQLAlchemy URL by service. blobs: the directory, or the URL of the S3 server."""

    databases: Mapping[str, str]
    blobs: Path | str


@dataclass(frozen=True)
class World:
    """A running mesh and its stores."""

    mesh: Mesh
    stores: Stores


@contextmanager
def s3_server() -> Iterator[str]:
    """URL of a real S3 server with an empty bucket."""
    port = free_port()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(url), _S3_SECONDS, "the S3 server")
        httpx2.put(f"{url}/{BUCKET}", trust_env=False).raise_for_status()
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code > 0
    except httpx2.TransportError:
        return False


def distributed_environment(postgres_url: str, s3_url: str) -> Mapping[str, str]:
    """Settings that put databases into Postgres and blobs into S3."""
    return {
        **{f"STENO_{service.upper()}_DATABASE_URL": postgres_url for service in WITH_DATABASE},
        "STENO_STORAGE_BLOB_STORE": "s3",
        "STENO_STORAGE_S3_BUCKET": BUCKET,
        "STENO_STORAGE_S3_ENDPOINT": s3_url,
        "STENO_STORAGE_S3_ACCESS_KEY_ID": "test",
        "STENO_STORAGE_S3_SECRET_ACCESS_KEY": "test",
    }


@contextmanager
def distributed_world(folder: Path, environment: Mapping[str, str] | None = None, *, tls: bool = False) -> Iterator[World]:
    """A mesh on a Postgres and an S3 server of its own."""
    with postgres_server() as server, s3_server() as s3_url:
        database = new_postgres_database(server)
        with running_mesh(folder, {**distributed_environment(database, s3_url), **(environment or {})}, tls=tls) as mesh:
            yield World(mesh, Stores(dict.fromkeys(WITH_DATABASE, database), s3_url))


@contextmanager
def distributed_mesh(folder: Path, *, tls: bool = False) -> Iterator[Mesh]:
    """The same, without a look at its stores."""
    with distributed_world(folder, tls=tls) as world:
        yield world.mesh


@contextmanager
def embedded_world(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[World]:
    """A mesh on SQLite and a directory."""
    with running_mesh(folder, environment) as mesh:
        yield World(mesh, embedded_stores(mesh.data))


def embedded_stores(data: Path) -> Stores:
    """Where an embedded mesh keeps everything, below its data directory."""
    return Stores({service: f"sqlite:///{data / 'databases' / service}.db" for service in WITH_DATABASE}, data / "blobs")


def compiled() -> Mapping[str, str]:
    """Settings of Python: what limits the pace is how soon a service is back, and most of that is reading modules never compiled before."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / f"steno-compiled-{os.getuid()}")}


@contextmanager
def open_world(database: DatabaseKind, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[World]:
    """A mesh of either kind in the folder, hurried unless the environment says otherwise; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = distributed_world if database == "postgresql" else embedded_world
    with kind(folder, {**HURRIED, **compiled(), **(environment or {})}) as world:
        yield world
