"""Many submits at the same moment: what sends them, through which gateways, and what it takes that credit stays on hold."""

import asyncio
import random
import signal
import subprocess
import sys
import time
import wave
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from steno.billing.v1.accounts_service_pb2 import CreateApiKeyRequest, CreateWorkspaceRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceStub
from tests.e2e.mesh import Mesh, wait_for
from tests.servers import free_port

_BOUNDARY = "clip-of-a-race"
_PATIENCE_SECONDS = 180.0
_LONGEST_PAUSE_SECONDS = 0.5
_REPEATED = (408, 425, 429, 502, 503, 504)


@dataclass(frozen=True)
class Outcome:
    """What a submit came to at last. unknown: how many times before nobody could tell."""

    status: int
    job_id: str
    replayed: bool
    unknown: int


def write_clip(path: Path, milliseconds: int) -> Path:
    """So much silence."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(2 * 8 * milliseconds))
    return path


@contextmanager
def no_worker(mesh: Mesh) -> Iterator[None]:
    """Within, no job goes on, so that every hold stays."""
    mesh.kill("inference", signal.SIGSTOP)
    try:
        yield
    finally:
        mesh.kill("inference", signal.SIGCONT)


@contextmanager
def second_gateway(mesh: Mesh) -> Iterator[str]:
    """URL of another gateway of the same mesh."""
    pid = wait_for(lambda: mesh.child_pid("gateway"), 30, "the first gateway")
    port = free_port()
    environment = {**psutil.Process(pid).environ(), "STENO_GATEWAY_PORT": str(port)}
    with (mesh.folder / "gateway-2.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "services.gateway"], env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _is_ready(url), 120, "the second gateway", every=0.3)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False, timeout=10).is_success
    except httpx2.TransportError:
        return False


async def new_customer(mesh: Mesh, plan: str) -> tuple[str, str]:
    """Id of a new workspace on the plan, and its API key."""
    signer = TokenSigner(load_key(mesh.data / "keys" / "identity.pem"), "operator")
    async with open_channel(mesh.ready["grpc"]["billing"], audience="billing", signer=signer, timeout_seconds=60) as channel:
        stub = AccountsServiceStub(channel)
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            workspace_id = (await stub.CreateWorkspace(CreateWorkspaceRequest(name="race", plan=plan))).workspace.id
        with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")):
            return workspace_id, (await stub.CreateApiKey(CreateApiKeyRequest(name="race"))).secret


@dataclass(frozen=True)
class Racers:
    """Clients of the gateways that all send one clip, each repeating what nobody knows the outcome of."""

    clients: tuple[httpx2.AsyncClient, ...]
    body: bytes

    async def race(self, api_key: str, keys: Mapping[int, str] | str, count: int) -> list[Outcome]:
        """The outcomes of so many submits at once. keys: the idempotency key of each, or one for all."""
        sends = (
            self._insist(self.clients[number % len(self.clients)], api_key, keys if isinstance(keys, str) else keys[number])
            for number in range(count)
        )
        return await asyncio.gather(*sends)

    async def _insist(self, client: httpx2.AsyncClient, api_key: str, key: str) -> Outcome:
        headers = {"X-API-Key": api_key, "Idempotency-Key": key, "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        until, unknown = time.monotonic() + _PATIENCE_SECONDS, 0
        while True:
            try:
                answer = await client.post("/api/v1/transcribe", content=self.body, headers=headers)
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code not in _REPEATED:
                job_id = str(answer.json().get("job_id", ""))
                return Outcome(answer.status_code, job_id, answer.headers.get("x-idempotent-replay") == "true", unknown)
            assert time.monotonic() < until, f"{key}: no answer in {_PATIENCE_SECONDS:.0f} s"
            unknown += 1
            await asyncio.sleep(random.uniform(0.05, _LONGEST_PAUSE_SECONDS))


@asynccontextmanager
async def open_racers(urls: tuple[str, ...], clip: Path, count: int) -> AsyncIterator[Racers]:
    """Clients with a connection for every one of so many submits at once."""
    limits = httpx2.Limits(max_connections=count, max_keepalive_connections=count)
    clients = tuple(httpx2.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) for url in urls)
    try:
        yield Racers(clients, _form(clip))
    finally:
        for client in clients:
            await client.aclose()


def _form(clip: Path) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{clip.name}"\r\nContent-Type: audio/wav\r\n\r\n'
    return head.encode() + clip.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
