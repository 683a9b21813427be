"""Real servers for tests: nats-server and Postgres, each in its own directory, killed and restarted at will."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from services.mesh.nats_config import write_config

_START_SECONDS = 20.0
_ROLE = "steno"


@dataclass
class NatsServer:
    """A nats-server on one port and one store for its whole life, whatever happens to its process."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """The JetStream store."""
        return self.directory / "jetstream"

    async def start(self) -> None:
        """Start and wait until it accepts."""
        config = self.directory / "nats.json"
        write_config(config, self.port, self.store)
        with (self.directory / "nats.log").open("ab") as log:
            self.process = subprocess.Popen([nats_binary(), "-c", str(config)], stdout=log, stderr=log)
        await wait_for_port(self.port)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        self._end(signal.SIGTERM)

    def wipe(self) -> None:
        """Lose the store of a stopped server."""
        shutil.rmtree(self.store)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=_START_SECONDS)
            self.process = None


@asynccontextmanager
async def nats_server(directory: Path) -> AsyncIterator[NatsServer]:
    """A running nats-server; ends with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    server = NatsServer(directory, free_port())
    await server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a running Postgres with a store of its own; both end with the block."""
    with warnings.catch_warnings():
        # The wheel looks for XDG_RUNTIME_DIR while it is imported.
        warnings.simplefilter("ignore")
        from pgserver.postgres_server import PostgresServer, get_server
    # Not below pytest's directory: that is root's alone, and Postgres runs as another user.
    directory = Path(tempfile.mkdtemp(prefix="steno-postgres-"))

    def started(tries: int) -> PostgresServer:
        try:
            return get_server(directory, cleanup_mode="stop")
        except subprocess.TimeoutExpired:
            # The wheel waits for ten seconds, which a busy machine may not have; asked again, it takes the server that is starting.
            if tries == 1:
                raise
            return started(tries - 1)

    server = started(6)
    try:
        socket_directory = server.get_uri().rpartition("host=")[2]
        url = f"postgresql+psycopg://postgres@/postgres?host={socket_directory}"
        _prepare(url)
        yield url
    finally:
        _drop(directory)
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


def _drop(directory: Path) -> None:
    """Ends the server without its last checkpoint: nobody reads what it would write."""
    with suppress(FileNotFoundError, psutil.NoSuchProcess):
        process = psutil.Process(int((directory / "postmaster.pid").read_text().split()[0]))
        process.send_signal(signal.SIGQUIT)
        psutil.wait_procs([process], timeout=20)


def _prepare(server_url: str) -> None:
    """No fsync: no test cuts the power, and a killed process loses nothing without it. And a role that row security binds."""
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE ROLE {_ROLE} LOGIN".encode())


def new_postgres_database(server_url: str) -> str:
    """The URL of a new, empty database on the server, as the role that owns it and is not a superuser."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {_ROLE}".encode())
    return server_url.replace("postgres@/postgres?", f"{_ROLE}@/{name}?")


def as_superuser(database_url: str) -> str:
    """The URL of a database of `new_postgres_database` for the superuser, whom row security does not hold."""
    return database_url.replace(f"{_ROLE}@", "postgres@")


def nats_binary() -> str:
    """The nats-server of this environment."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server")
    return found


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_for_port(port: int) -> None:
    """Until something accepts on the port. Raises TimeoutError after twenty seconds."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"nothing accepts on port {port}")
