"""The mesh under test: embedded (SQLite, a directory) and distributed (Postgres, S3)."""

from collections.abc import Iterator, Mapping

import pytest

from faults.meshes import distributed_mesh
from services.stack.triton.interpreter import VARIABLE
from tests.e2e.mesh import Mesh, running_mesh
from tests.triton_server import interpreter


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """One mesh on SQLite and a directory for all tests that leave it whole."""
    with running_mesh(tmp_path_factory.mktemp("embedded"), tls=request.config.getoption("--tls")) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def triton_environment() -> Mapping[str, str]:
    """What a module's mesh over Triton is told besides; a module may say otherwise."""
    return {}


@pytest.fixture(scope="module")
def triton_tls() -> bool:
    """Whether a module's mesh over Triton encrypts what its parts say; a module may say so."""
    return False


@pytest.fixture(scope="module")
def on_triton(tmp_path_factory: pytest.TempPathFactory, triton_environment: Mapping[str, str], triton_tls: bool) -> Iterator[Mesh]:
    """One mesh over a tritonserver of its own for the tests of a module; they leave it whole."""
    environment = {VARIABLE: str(interpreter().executable.parent.parent), **triton_environment}
    with running_mesh(tmp_path_factory.mktemp("triton"), environment, engine="triton", tls=triton_tls) as mesh:
        yield mesh


@pytest.fixture(scope="session")
def distributed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """One mesh on Postgres and S3 for all tests that leave it whole."""
    with distributed_mesh(tmp_path_factory.mktemp("distributed"), tls=request.config.getoption("--tls")) as mesh:
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
