"""Users of an outside issuer in the whole mesh: their own jobs, their own credit, their own names."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.mesh import SAMPLES, Mesh, running_mesh, wait_for
from tests.oidc import OidcIssuer, running_issuer

SILENCE = SAMPLES / "clips" / "silence.flac"


@dataclass
class Signing:
    """A mesh that trusts two issuers: one for users of every workspace, one for members of the first."""

    mesh: Mesh
    users: OidcIssuer
    members: OidcIssuer
    app_key: str

    def headers(self, email: str = "", **more: str) -> dict[str, str]:
        """What an application sends for one of its users, or for a guest."""
        token = {"Authorization": f"Bearer {self.users.mint(email=email)}"} if email else {}
        return {"X-API-Key": self.app_key, **token, **more}

    def ask(self, path: str, headers: Mapping[str, str]) -> httpx2.Response:
        with self.mesh.client_for("") as client:
            return client.get(f"/api/v1{path}", headers=headers)

    def submit(self, headers: Mapping[str, str]) -> dict[str, Any]:
        with self.mesh.client_for("") as client, SILENCE.open("rb") as file:
            response = client.post("/api/v1/transcribe", files={"file": (SILENCE.name, file)}, headers=headers)
        assert response.status_code == 202, response.text
        answer: dict[str, Any] = response.json()
        return answer


def table(issuer: OidcIssuer, rest: str = "") -> str:
    return f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["steno"]\nallow_plain_http = true\n{rest}\n'


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signing]:
    """The gateway is started again once the first workspace has an id for the file of issuers."""
    folder: Path = tmp_path_factory.mktemp("signing")
    issuers = folder / "issuers.toml"
    with running_issuer("ES256") as users, running_issuer("ES256") as members:
        issuers.write_text(table(users))
        environment = {"STENO_GATEWAY_OIDC_ISSUERS_FILE": str(issuers), "STENO_GATEWAY_EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8"}
        with running_mesh(folder, environment) as mesh:
            workspace_id = json.loads((mesh.data / "keys" / "first-workspace.json").read_text())["workspace_id"]
            issuers.write_text(table(users) + table(members, f'workspace_id = "{workspace_id}"\nrole = "member"'))
            before = mesh.kill("gateway")
            wait_for(lambda: mesh.child_pid("gateway") not in (None, before) and mesh.is_ready(), 30, "the gateway to be back")
            made = mesh.client.post("/api/v1/auth/api-keys", json={"name": "app", "kind": "app"})
            yield Signing(mesh, users, members, made.raise_for_status().json()["key"])


def test_a_user_has_a_plan_jobs_and_credit_of_its_own(signing: Signing) -> None:
    ada, grace = signing.headers("ada@example.com"), signing.headers("grace@example.com")
    assert signing.ask("/me", ada).json()["email"] == "ada@example.com"
    assert signing.ask("/me", ada).json()["signed_in"] is True
    submitted = signing.submit(ada)
    assert "claim_token" not in submitted
    job = f"/jobs/{submitted['job_id']}"
    assert signing.ask(job, ada).status_code == 200
    assert signing.ask(job, signing.headers("ADA@example.com")).status_code == 200
    assert signing.ask(job, grace).status_code == 404
    assert [row["job_id"] for row in signing.ask("/jobs", ada).json()] == [submitted["job_id"]]
    assert signing.ask("/jobs", grace).json() == []


def test_a_guest_learns_that_it_should_sign_in(signing: Signing) -> None:
    submitted = signing.submit(signing.headers("ada@example.com"))
    response = signing.ask(f"/jobs/{submitted['job_id']}", signing.headers())
    assert (response.status_code, response.json()["code"]) == (401, "AUTHENTICATION_REQUIRED")


def test_a_guest_proves_its_job_by_its_claim_token(signing: Signing) -> None:
    submitted = signing.submit(signing.headers())
    path, claim = f"/jobs/{submitted['job_id']}", submitted["claim_token"]
    assert signing.ask(path, signing.headers(**{"X-Claim-Token": claim})).status_code == 200
    assert signing.ask(path, signing.headers(**{"X-Claim-Token": "wrong"})).status_code == 404
    assert signing.ask(path, signing.headers("ada@example.com")).status_code == 404


def test_a_member_acts_as_the_workspace_without_a_key(signing: Signing) -> None:
    member = {"Authorization": f"Bearer {signing.members.mint(email='boss@example.com')}"}
    me = signing.ask("/me", member).json()
    assert (me["email"], me["signed_in"]) == ("boss@example.com", True)
    assert signing.ask("/auth/api-keys", member).status_code == 200
    job_id = signing.mesh.submitted(SILENCE)
    assert signing.ask(f"/jobs/{job_id}", member).status_code == 200


def test_a_token_alone_of_the_users_issuer_is_refused(signing: Signing) -> None:
    response = signing.ask("/me", {"Authorization": f"Bearer {signing.users.mint()}"})
    assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN")


def test_a_server_names_its_user_if_its_key_may(signing: Signing) -> None:
    client = signing.mesh.client
    made = client.post("/api/v1/auth/api-keys", json={"name": "server", "scopes": ["read", "write", "act_as_user"]})
    server = {"X-API-Key": made.raise_for_status().json()["key"], "X-User-Email": "linus@example.com"}
    submitted = signing.submit(server)
    assert signing.ask(f"/jobs/{submitted['job_id']}", signing.headers("linus@example.com")).status_code == 200
    assert client.post("/api/v1/transcribe", headers={"X-User-Email": "linus@example.com"}).json()["code"] == "FORBIDDEN"


def test_no_token_is_in_any_log(signing: Signing) -> None:
    good, bad = signing.users.mint(), signing.users.mint(sub="")
    assert signing.ask("/me", signing.headers() | {"Authorization": f"Bearer {good}"}).status_code == 200
    assert signing.ask("/me", signing.headers() | {"Authorization": f"Bearer {bad}"}).status_code == 401
    logs = "".join(path.read_text(errors="replace") for path in (signing.mesh.data / "logs").glob("*.log"))
    assert "token refused" in logs
    for part in (*good.split("."), *bad.split("."), signing.app_key):
        assert part not in logs
