"""What every test shares."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import new_postgres_database, postgres_server
from tests.triton_server import RunningTriton, shared_triton, speech_variables


def pytest_addoption(parser: pytest.Parser) -> None:
    """--faults=long runs the fault tests over as many jobs as `make test-faults` promises; --tls encrypts the meshes that tests share."""
    parser.addoption("--faults", choices=("short", "long"), default="short")
    parser.addoption("--tls", action="store_true")


def pytest_configure() -> None:
    """Take Ctrl-C, and let the commands that tests start take it: what a shell runs in its background ignores it, with its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One Postgres for the whole session."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """One Triton with the models of speech for the whole session: leave it running, and its models loaded."""
    folder = tmp_path_factory.mktemp("triton")
    with shared_triton(folder / "server", variables=speech_variables(folder / "models")) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/steno.db"
    return new_postgres_database(request.getfixturevalue("postgres_url"))
