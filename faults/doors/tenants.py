"""A mesh with two workspaces, everybody who may ask in each, and something of every kind that belongs to somebody."""

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2

from faults.plans import plans_without_rates
from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from services.stack.data_directory import DataDirectory, write_private
from steno.billing.v1.accounts_service_pb2 import DESCRIPTOR, CreateApiKeyRequest, CreateWorkspaceRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub
from tests.billing.stripe_player import SECRET_KEY, WEBHOOK_SECRET, StripePlayer, stripe_player
from tests.e2e.mesh import SAMPLES, Mesh
from tests.e2e.open_mesh import OpenMesh, running_open_mesh

SILENCE = SAMPLES / "clips" / "silence.flac"
API = "/api/v1"


@dataclass(frozen=True)
class Actor:
    """Somebody who asks. owner: as whom it owns jobs; manages: whether the keys of the workspace are its business."""

    name: str
    headers: Mapping[str, str]
    owner: str = ""
    manages: bool = False


@dataclass(frozen=True)
class Job:
    """A job and what comes with it. query: the permission in the signed URL of its audio, or of its upload."""

    id: str
    media_id: str = ""
    query: str = ""
    claim_token: str = ""


@dataclass
class Workspace:
    """A tenant: its keys, and the people of its application."""

    mesh: Mesh
    opened: OpenMesh
    id: str
    owner_key: str
    app_key: str = ""
    read_key: str = ""
    server_key: str = ""
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.mesh.client_for("")
        self.app_key = self._new_key(kind="app")
        self.read_key = self._new_key(scopes=["read"])
        self.server_key = self._new_key(scopes=["read", "write", "act_as_user"])

    def owner(self) -> Actor:
        """Whoever has the workspace's own key."""
        return Actor("owner key", {"X-API-Key": self.owner_key}, "workspace", manages=True)

    def reader(self) -> Actor:
        """A key that may only read what is the workspace's."""
        return Actor("key that reads", {"X-API-Key": self.read_key}, "workspace")

    def user(self, email: str) -> Actor:
        """Somebody signed in."""
        return Actor(f"user {email}", {"X-API-Key": self.app_key, "Authorization": f"Bearer {self.opened.token(email)}"}, email)

    def named(self, email: str) -> Actor:
        """Somebody whom the application's server vouches for."""
        return Actor(f"server naming {email}", {"X-API-Key": self.server_key, "X-User-Email": email}, email)

    def guest(self, claim_token: str = "") -> Actor:
        """Nobody in particular, with what it got for a submit."""
        claim = {"X-Claim-Token": claim_token} if claim_token else {}
        return Actor("guest with a claim" if claim else "guest", {"X-API-Key": self.app_key, **claim}, "guest" if claim else "")

    def announced_job(self, actor: Actor) -> Job:
        """A job that waits for its upload, with where to put it."""
        answer = self.ask(actor, "POST", f"{API}/uploads/init", json={"filename": "a.flac", "size_bytes": SILENCE.stat().st_size})
        told = answer.raise_for_status().json()
        path, _, query = told["upload_url"].partition("?")
        return Job(told["job_id"], path.rpartition("/")[2], query, told.get("claim_token", ""))

    def submitted_job(self, actor: Actor) -> Job:
        """A job of silence."""
        with SILENCE.open("rb") as file:
            answer = self.ask(actor, "POST", f"{API}/transcribe", files={"file": (SILENCE.name, file)})
        told = answer.raise_for_status().json()
        return Job(told["job_id"], claim_token=told.get("claim_token", ""))

    def with_audio(self, actor: Actor, job: Job) -> Job:
        """The ended job with the signed URL of its audio."""
        shown = {**actor.headers, **({"X-Claim-Token": job.claim_token} if job.claim_token else {})}
        url = self.client.get(f"{API}/jobs/{job.id}/audio/url", headers=shown).raise_for_status().json()["url"]
        path, _, query = url.partition("?")
        return Job(job.id, path.rpartition("/")[2], query, job.claim_token)

    def checkout(self, actor: Actor) -> tuple[str, str]:
        """A purchase, and the token of the wallet that it made for a guest."""
        order = {"pack": "hours-10", "success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/left"}
        told = self.ask(actor, "POST", f"{API}/credits/checkout", json=order).raise_for_status().json()
        return told["checkout_id"], told.get("guest_token") or ""

    def key(self) -> str:
        """The id of a fresh key."""
        made = self.ask(self.owner(), "POST", f"{API}/auth/api-keys", json={"name": "fresh"}).raise_for_status()
        return str(made.json()["id"])

    def ask(self, actor: Actor, method: str, path: str, **content: object) -> httpx2.Response:
        """One request in somebody's name."""
        send = partial(self.client.request, method, path, headers=dict(actor.headers))
        return send(**content)  # type: ignore[arg-type]

    def _new_key(self, **fields: object) -> str:
        made = self.client.post(f"{API}/auth/api-keys", json={"name": "test", **fields}, headers={"X-API-Key": self.owner_key})
        return str(made.raise_for_status().json()["key"])


@dataclass(frozen=True)
class TwoTenants:
    """The mesh with its two workspaces."""

    opened: OpenMesh
    stripe: StripePlayer
    first: Workspace
    second: Workspace


@contextmanager
def running_tenants(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[TwoTenants]:
    """It, ready: no rate limits, credit on sale."""
    write_private(folder / "stripe-key", SECRET_KEY)
    write_private(folder / "stripe-secret", WEBHOOK_SECRET)
    (folder / "plans.toml").write_text(plans_without_rates())
    with stripe_player() as stripe:
        settings = {
            "STENO_BILLING_PLANS_FILE": str(folder / "plans.toml"),
            "STENO_BILLING_PAYMENT_PROVIDER": "stripe",
            "STENO_BILLING_STRIPE_URL": stripe.url,
            "STENO_BILLING_STRIPE_SECRET_KEY_FILE": str(folder / "stripe-key"),
            "STENO_BILLING_STRIPE_WEBHOOK_SECRET_FILE": str(folder / "stripe-secret"),
        }
        with running_open_mesh(folder, {**settings, **(environment or {})}) as opened:
            mesh = opened.mesh
            known = DataDirectory(mesh.data).read_first_workspace()
            assert known is not None
            first = Workspace(mesh, opened, known.workspace_id, known.api_key)
            second = Workspace(mesh, opened, *asyncio.run(_new_workspace(mesh)))
            with closing(first.client), closing(second.client):
                yield TwoTenants(opened, stripe, first, second)


def random_token() -> str:
    """What a token may look like."""
    return secrets.token_urlsafe(32)


async def _new_workspace(mesh: Mesh) -> tuple[str, str]:
    """Id and key of another tenant, made as the operator."""
    data = DataDirectory(mesh.data)
    signer, services = TokenSigner(load_key(data.identity_key), "operator"), [DESCRIPTOR.services_by_name["AccountsService"]]
    opened = open_channel(mesh.ready["grpc"]["billing"], audience="billing", signer=signer, services=services, timeout_seconds=15.0)
    async with opened as channel:
        accounts = AccountsServiceAsyncStub(channel)
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            made = await accounts.CreateWorkspace(CreateWorkspaceRequest(name="second"))
        with calling_as(Caller(CallerKind.OPERATOR, "operator", made.workspace.id, "workspace")):
            return made.workspace.id, (await accounts.CreateApiKey(CreateApiKeyRequest(name="first key"))).secret
