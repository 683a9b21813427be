"""A mesh that trusts a local issuer and fetches from 127.0.0.2, with an application and its people."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.mesh import Mesh, running_mesh
from tests.e2e.web import Web, running_web
from tests.oidc import AUDIENCE, EMAIL, OidcIssuer, running_issuer

# The only address of this machine that submitted URLs may lead to.
PUBLIC_ADDRESS = "127.0.0.2"


@dataclass(frozen=True)
class OpenMesh:
    """A mesh, the web that it may fetch from, the issuer of its users, and the key of an application."""

    mesh: Mesh
    web: Web
    issuer: OidcIssuer
    app_key: str

    def token(self, email: str = EMAIL) -> str:
        """What a signed-in user shows."""
        return self.issuer.mint(email=email, sub=email)

    def guest(self, **headers: str) -> httpx2.Client:
        """A client of the application on behalf of nobody."""
        client = self.mesh.client_for(self.app_key)
        client.headers.update(headers)
        return client

    def user(self, email: str = EMAIL) -> httpx2.Client:
        """A client of the application on behalf of a user."""
        return self.guest(Authorization=f"Bearer {self.token(email)}")


@contextmanager
def running_open_mesh(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[OpenMesh]:
    """It, ready."""
    with running_web(PUBLIC_ADDRESS) as web, running_issuer() as issuer:
        issuers = folder / "issuers.toml"
        issuers.write_text(
            f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["{AUDIENCE}"]\nalgorithms = ["RS256"]\nallow_plain_http = true\n'
        )
        settings = {
            "STENO_GATEWAY_OIDC_ISSUERS_FILE": str(issuers),
            "STENO_GATEWAY_EGRESS_ALLOWED_NETWORKS": "127.0.0.1/32",
            "STENO_STORAGE_EGRESS_ALLOWED_NETWORKS": f"{PUBLIC_ADDRESS}/32",
            "STENO_JOBS_EGRESS_ALLOWED_NETWORKS": f"{PUBLIC_ADDRESS}/32",
        }
        with running_mesh(folder, {**settings, **(environment or {})}) as mesh:
            yield OpenMesh(mesh, web, issuer, new_key(mesh, kind="app"))


def new_key(mesh: Mesh, **fields: Any) -> str:
    """The secret of a fresh key of the mesh's workspace."""
    made = mesh.client.post("/api/v1/auth/api-keys", json={"name": "test", **fields}).raise_for_status()
    secret: str = made.json()["key"]
    return secret
