"""A fleet: two replicas of every service on one Postgres, one S3 server and one nats-server, each of which can be restarted."""

import asyncio
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from faults.balancer import Balanced, Outcomes, Rota, door
from faults.meshes import HURRIED, WITH_DATABASE, Stores, World, compiled, distributed_environment, s3_server
from faults.replicas import Replica
from services.mesh.identity import TokenSigner, load_key
from services.mesh.nats_config import write_config
from services.stack.data_directory import DataDirectory
from services.stack.first_workspace import ensure_first_workspace
from services.stack.layout import SERVICES, Ports, choose_ports, nats_program, service_children
from tests.e2e.mesh import Mesh
from tests.servers import free_port, new_postgres_database, postgres_server

# Longer than the rota takes to look.
_NOTICE_SECONDS = "2"


@dataclass
class BalancedMesh(Mesh):
    """A mesh behind a balancer; `process` is its nats-server."""

    rota: Rota
    outcomes: Outcomes

    def client_for(self, api_key: str) -> httpx2.Client:
        """A REST client that presents this key to whichever gateway is ready."""
        headers = {"X-API-Key": api_key} if api_key else {}
        transport = Balanced(self.rota, self.outcomes)
        return httpx2.Client(base_url="http://gateways", headers=headers, timeout=60.0, trust_env=False, transport=transport)


@dataclass(frozen=True)
class Fleet:
    """A running fleet. replicas: by service. outcomes: of every request through its balancer."""

    world: World
    replicas: Mapping[str, Sequence[Replica]]
    outcomes: Outcomes


@contextmanager
def open_fleet(folder: Path) -> Iterator[Fleet]:
    """Two replicas of everything in the folder, ready; they end with the block."""
    data = DataDirectory(folder / "data")
    data.prepare()
    with ExitStack() as stack:
        server, s3_url = stack.enter_context(postgres_server()), stack.enter_context(s3_server())
        database = new_postgres_database(server)
        ports = _ports()
        nats = stack.enter_context(_nats(data, ports[0].nats))
        door_port = free_port()
        shared = {**HURRIED, **compiled(), **distributed_environment(database, s3_url), **_wiring(ports, door_port)}
        replicas = {service: [_replica(data, service, number, ports[number], shared) for number in (0, 1)] for service in SERVICES}
        stack.enter_context(_running([replica for pair in replicas.values() for replica in pair]))
        stack.enter_context(door(door_port, stack.enter_context(Rota(replicas["storage"]).watching())))
        rota, outcomes = stack.enter_context(Rota(replicas["gateway"]).watching()), Outcomes()
        mesh = BalancedMesh(folder, nats, _ready(data, ports), rota, outcomes)
        stack.enter_context(mesh.client)
        yield Fleet(World(mesh, Stores(dict.fromkeys(WITH_DATABASE, database), s3_url)), replicas, outcomes)


def _ports() -> Sequence[Ports]:
    """Of each replica, none of them twice."""
    while True:
        both = [choose_ports(0), choose_ports(0)]
        taken = [port for one in both for port in (*one.services.values(), one.storage_data, one.nats)]
        if len(set(taken)) == len(taken):
            return both


@contextmanager
def _nats(data: DataDirectory, port: int) -> Iterator[subprocess.Popen[bytes]]:
    config = data.root / "nats.conf"
    write_config(config, port, data.events)
    with (data.logs / "nats.log").open("ab") as log:
        process = subprocess.Popen([str(nats_program()), "-c", str(config)], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _running(replicas: Sequence[Replica]) -> Iterator[None]:
    """All at once; they end in the order in which a mesh does."""
    try:
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.wait_until_ready()
        yield
    finally:
        for replica in reversed(replicas):
            if replica.process is not None and replica.process.poll() is None:
                replica.process.kill()
                replica.process.wait()


def _wiring(ports: Sequence[Ports], door_port: int) -> Mapping[str, str]:
    """Every service by the addresses of both its replicas; storage's data plane by that of its door."""
    url = f"http://127.0.0.1:{door_port}"
    both = {service: "ipv4:" + ",".join(one.address(service) for one in ports) for service in SERVICES}
    return {
        **{f"STENO_{caller.upper()}_{callee.upper()}_ADDRESS": both[callee] for caller in SERVICES for callee in SERVICES},
        **{f"STENO_{service.upper()}_NATS_URL": f"nats://127.0.0.1:{ports[0].nats}" for service in SERVICES},
        **{f"STENO_{service.upper()}_SHUTDOWN_NOTICE_SECONDS": _NOTICE_SECONDS for service in ("gateway", "storage")},
        "STENO_STORAGE_DATA_URL": url,
        "STENO_GATEWAY_STORAGE_DATA_URL": url,
    }


def _replica(data: DataDirectory, service: str, number: int, ports: Ports, shared: Mapping[str, str]) -> Replica:
    own = {
        "STENO_INFERENCE_SCRATCH_DIRECTORY": str(data.scratch / str(number)),
        "STENO_STORAGE_BLOB_DIRECTORY": str(data.blobs / str(number)),
    }
    spec = next(child for child in service_children(data, ports, {**shared, **own}) if child.name == service)
    data_port = ports.storage_data if service == "storage" else 0
    log = data.logs / f"{service}-{number}.log"
    return Replica(service, number, ports.services[service], data_port, spec.command, spec.environment, log)


def _ready(data: DataDirectory, ports: Sequence[Ports]) -> Mapping[str, object]:
    """What the ready file of a mesh says."""
    signer = TokenSigner(load_key(data.identity_key), "operator")
    workspace = asyncio.run(ensure_first_workspace(data, ports[0].address("billing"), signer))
    return {
        "url": "http://gateways",
        "api_key": workspace.api_key,
        "workspace_id": workspace.workspace_id,
        "grpc": {service: ports[0].address(service) for service in SERVICES},
    }
