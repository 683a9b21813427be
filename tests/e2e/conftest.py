"""The mesh under test: embedded (SQLite, a directory) and distributed (Postgres, S3)."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import obstore
import pytest
from obstore.store import S3Store

from services.stack.triton.interpreter import VARIABLE
from tests.e2e.mesh import Mesh, running_mesh, wait_for
from tests.servers import free_port, new_postgres_database, postgres_server
from tests.triton_server import interpreter

BUCKET = "steno"


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
        _wait_for_http(url)
        httpx2.put(f"{url}/{BUCKET}", trust_env=False).raise_for_status()
        yield url
    finally:
        process.kill()
        process.wait()


def _wait_for_http(url: str) -> None:
    def answers() -> bool:
        try:
            return httpx2.get(url, trust_env=False).status_code > 0
        except httpx2.TransportError:
            return False

    wait_for(answers, 30, "the S3 server")


def distributed_environment(postgres_url: str, s3_url: str) -> Mapping[str, str]:
    """Settings that put databases into Postgres and blobs into S3."""
    return {
        "STENO_BILLING_DATABASE_URL": postgres_url,
        "STENO_STORAGE_DATABASE_URL": postgres_url,
        "STENO_JOBS_DATABASE_URL": postgres_url,
        "STENO_STORAGE_BLOB_STORE": "s3",
        "STENO_STORAGE_S3_BUCKET": BUCKET,
        "STENO_STORAGE_S3_ENDPOINT": s3_url,
        "STENO_STORAGE_S3_ACCESS_KEY_ID": "test",
        "STENO_STORAGE_S3_SECRET_ACCESS_KEY": "test",
    }


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One mesh on SQLite and a directory for all tests that leave it whole."""
    with running_mesh(tmp_path_factory.mktemp("embedded")) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def on_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One mesh over a tritonserver of its own for the tests of a module; they leave it whole."""
    environment = {VARIABLE: str(interpreter().executable.parent.parent)}
    with running_mesh(tmp_path_factory.mktemp("triton"), environment, engine="triton") as mesh:
        yield mesh


@contextmanager
def distributed_mesh(folder: Path) -> Iterator[Mesh]:
    """A mesh on a Postgres and an S3 server of its own."""
    with postgres_server() as server, s3_server() as s3_url:
        environment = distributed_environment(new_postgres_database(server), s3_url)
        with running_mesh(folder, environment) as mesh:
            yield mesh


@pytest.fixture(scope="session")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One mesh on Postgres and S3 for all tests that leave it whole."""
    with distributed_mesh(tmp_path_factory.mktemp("distributed")) as mesh:
        yield mesh


@pytest.fixture(params=["embedded", "distributed"])
def mesh(request: pytest.FixtureRequest) -> Mesh:
    """Each kind of mesh in turn."""
    found: Mesh = request.getfixturevalue(request.param)
    return found


def stored_files(mesh: Mesh) -> set[str]:
    """Every blob and scratch file that the mesh keeps on this machine."""
    folders = (mesh.data / "blobs", mesh.data / "scratch")
    return {str(path.relative_to(mesh.data)) for folder in folders for path in folder.rglob("*") if path.is_file()}


def stored_objects(s3_url: str) -> list[str]:
    """Every object in the bucket."""
    store = S3Store(BUCKET, endpoint=s3_url, access_key_id="test", secret_access_key="test", client_options={"allow_http": True})
    return [item["path"] for page in obstore.list(store) for item in page]
