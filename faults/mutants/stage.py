"""The stage of a trial: a real nats-server and the real services of a copy of the product, each killed and started at will.

Inference is played, over WorkService and the bus, so that each step of a claim happens when the scenario says so.
"""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from faults.history import Call
from faults.mutants.outlet import Outlet
from faults.mutants.tree import Tree
from services.mesh.channel import check_health, open_channel
from services.mesh.errors import MeshError
from services.mesh.fault import VARIABLE
from services.mesh.identity import TokenSigner, load_key
from services.stack.children import ChildSpec, kill_group
from services.stack.data_directory import DataDirectory
from services.stack.first_workspace import ensure_first_workspace
from services.stack.layout import Ports, choose_ports, service_children
from tests.servers import NatsServer, nats_binary, wait_for_port

SERVICES = ("billing", "storage", "jobs", "gateway")
START_SECONDS = 240.0
_REACH_SECONDS = 120.0
_STOP_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
# What takes minutes in production takes seconds here; each stays above what it must exceed.
_HURRIED = {
    "STENO_JOBS_LEASE_SECONDS": "5",
    "STENO_JOBS_MAX_ATTEMPTS": "2",
    "STENO_JOBS_DISPATCH_INTERVAL_SECONDS": "0.2",
    "STENO_JOBS_SWEEP_INTERVAL_SECONDS": "0.2",
    "STENO_JOBS_CLEANUP_INTERVAL_SECONDS": "0.2",
    "STENO_JOBS_RECONCILE_INTERVAL_SECONDS": "0.5",
    "STENO_JOBS_OPEN_HOLD_SECONDS": "1",
    "STENO_JOBS_LOST_DISPATCH_SECONDS": "1",
    "STENO_JOBS_RETRY_DELAY_SECONDS": "0.1",
    "STENO_JOBS_MAX_RETRY_DELAY_SECONDS": "0.2",
    "STENO_STORAGE_REAP_SECONDS": "0.5",
}
_WRITE_CONFIG = """
import sys
from pathlib import Path
from services.mesh.nats_config import write_config
write_config(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
"""


class Unplayable(Exception):
    """The scenario could not be carried out, so that nothing is known about the product."""


async def reached(seconds: float, ask: Callable[[], Any], what: str) -> None:
    """Wait for a step of the scenario itself. Raises Unplayable."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        answer = ask()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return
        if asyncio.get_running_loop().time() > until:
            raise Unplayable(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(_PAUSE_SECONDS)


@dataclass
class Nats(NatsServer):
    """A nats-server as the copy configures it."""

    tree: Tree = field(kw_only=True)

    async def start(self) -> None:
        """Start and wait until it accepts."""
        config, environment = self.directory / "nats.json", {**os.environ, **self.tree.environment}
        write = [sys.executable, "-P", "-c", _WRITE_CONFIG, str(config), str(self.port), str(self.store)]
        await asyncio.to_thread(subprocess.run, write, env=environment, check=True)
        with (self.directory / "nats.log").open("ab") as log:
            self.process = subprocess.Popen([nats_binary(), "-c", str(config)], stdout=log, stderr=log)
        await wait_for_port(self.port)


@dataclass
class Stage:
    """Running services and their stores. ready: as `steno up` writes it. calls: what clients saw, for the checker."""

    folder: Path
    tree: Tree
    ports: Ports
    nats: Nats
    specs: Mapping[str, ChildSpec]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    outlet: Outlet | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def signer(self, service: str) -> TokenSigner:
        """What a service proves with that it is itself."""
        return TokenSigner(load_key(DataDirectory(self.data).identity_key), service)

    def client(self, api_key: str = "") -> httpx2.AsyncClient:
        """A REST client that presents this key, or the first workspace's."""
        headers = {"X-API-Key": api_key or self.ready["api_key"]}
        return httpx2.AsyncClient(base_url=self.ready["url"], headers=headers, timeout=60.0, trust_env=False)

    def arm(self, service: str, point: str, action: str = "exit") -> None:
        """The service does this once, when it next passes the crash point."""
        (self._faults(service) / point).write_text(action)

    async def passed(self, service: str, point: str) -> None:
        """Wait until an armed point was passed."""
        await reached(_REACH_SECONDS, lambda: not (self._faults(service) / point).exists(), f"{service} to pass {point}")

    async def crash(self, service: str) -> None:
        """Wait until the service died at its crash point. Raises Unplayable when it never comes there."""
        await reached(_REACH_SECONDS, lambda: self.processes[service].poll() is not None, f"{service} to reach its crash point")
        self._bury(service)

    def kill(self, service: str) -> None:
        """SIGKILL."""
        self.processes[service].kill()
        self._bury(service)

    async def stop(self, service: str) -> tuple[int | None, float]:
        """SIGTERM; the exit status, None when it had to be killed, and the seconds that it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.processes[service].terminate()
        with suppress(Unplayable):
            await reached(_STOP_SECONDS, lambda: self.processes[service].poll() is not None, "the end")
        status = self.processes[service].poll()
        self.kill(service)
        return status, loop.time() - started

    async def start(self, *services: str) -> None:
        """Start services, and wait until they are ready and known to run the copy."""
        for service in services:
            self._spawn(service)
        await asyncio.gather(*(self._until_ready(service) for service in services))
        self.tree.check(self.processes[service].pid for service in services)

    def rows(self, service: str, statement: str, *parameters: object) -> Sequence[Any]:
        """What a read-only look into a service's database finds."""
        file = self.data / "databases" / f"{service}.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=20.0)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, parameters).fetchall()

    async def reached_row(self, service: str, statement: str, *parameters: object) -> None:
        """Wait until the look finds something. Raises Unplayable."""
        await reached(_REACH_SECONDS, lambda: self.rows(service, statement, *parameters), f"{service}: {statement}")

    def log(self, service: str) -> str:
        """The last lines that a service logged."""
        return (self.folder / f"{service}.log").read_text(errors="replace")[-3000:]

    async def cut_power(self) -> None:
        """Everything stops at one instant; then it starts anew on what the disk held."""
        if self.outlet is None or self.nats.process is None:
            raise Unplayable("the stage is not on a disk of its own")
        running = [process.pid for process in self.processes.values() if process.poll() is None]
        await asyncio.to_thread(self.outlet.cut, [*running, self.nats.process.pid], self.close)
        await self.nats.start()
        await self.start(*SERVICES)

    def close(self) -> None:
        """Kill everything."""
        for service in list(self.processes):
            self.kill(service)
        self.nats.kill()

    def _faults(self, service: str) -> Path:
        return self.folder / "faults" / service

    def _spawn(self, service: str) -> None:
        spec, faults = self.specs[service], self._faults(service)
        faults.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                spec.command,
                env={**spec.environment, VARIABLE: str(faults)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _bury(self, service: str) -> None:
        process = self.processes[service]
        kill_group(process.pid)
        process.wait()

    async def _until_ready(self, service: str) -> None:
        async def answers() -> bool:
            if self.processes[service].poll() is not None:
                raise Unplayable(f"{service} ended with {self.processes[service].returncode}:\n{self.log(service)}")
            return await self._answers(service)

        await reached(START_SECONDS, answers, f"{service} to be ready")

    async def _answers(self, service: str) -> bool:
        address = self.ports.address(service)
        try:
            if service == "gateway":
                async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as client:
                    return (await client.get(f"http://{address}/readyz")).status_code == httpx2.codes.OK
            async with open_channel(address, audience=service, signer=self.signer("operator")) as channel:
                return await check_health(channel)
        except (MeshError, httpx2.TransportError):
            return False


@asynccontextmanager
async def open_stage(folder: Path, tree: Tree, settings: Mapping[str, str]) -> AsyncIterator[Stage]:
    """A stage whose services run the copy; everything ends with the block. Raises Unplayable."""
    data = DataDirectory(folder / "data")
    data.prepare()
    ports = choose_ports(0)
    overrides = {**_HURRIED, **settings, **tree.environment}
    specs = {spec.name: spec for spec in service_children(data, ports, overrides)}
    (folder / "nats").mkdir()
    stage = Stage(folder, tree, ports, Nats(folder / "nats", ports.nats, tree=tree), specs)
    async with AsyncExitStack() as stack:
        stack.callback(stage.close)
        await stage.nats.start()
        await stage.start(*SERVICES)
        first = await ensure_first_workspace(data, ports.address("billing"), stage.signer("operator"))
        grpc = {name: ports.address(name) for name in ("billing", "storage", "jobs")}
        stage.ready |= {
            "url": f"http://{ports.address('gateway')}",
            "api_key": first.api_key,
            "workspace_id": first.workspace_id,
            "grpc": grpc,
        }
        yield stage
