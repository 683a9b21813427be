"""A mesh whose machine knows names of our choosing, with a web that it may fetch from."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.mesh import Mesh, running_mesh
from tests.e2e.web import Web, running_web

PUBLIC = "127.0.0.2"
_HOSTS = Path("/etc/hosts")
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "sh", "-c")


@dataclass(frozen=True)
class NamedMesh:
    """The mesh and the web. knows_names: whether this machine allowed it names of its own."""

    mesh: Mesh
    web: Web
    knows_names: bool


@contextmanager
def running_named_mesh(folder: Path, names: Sequence[str], environment: Mapping[str, str], web: Web) -> Iterator[NamedMesh]:
    """It, ready. Every name leads to 127.0.0.1; only 127.0.0.2 may be fetched from."""
    hosts = folder / "hosts"
    hosts.write_text(_HOSTS.read_text() + "".join(f"127.0.0.1 {_in_ascii(name)}\n" for name in names))
    prefix = [*_OWN_MOUNTS, f'mount --bind "{hosts}" {_HOSTS} && exec "$@"', "sh"]
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False, timeout=30).returncode == 0
    settings = {
        "STENO_GATEWAY_EGRESS_ALLOWED_NETWORKS": f"{PUBLIC}/32",
        "STENO_STORAGE_EGRESS_ALLOWED_NETWORKS": f"{PUBLIC}/32",
        "STENO_JOBS_EGRESS_ALLOWED_NETWORKS": f"{PUBLIC}/32",
        "STENO_STORAGE_FETCH_SLOTS": "32",
        "STENO_JOBS_FETCH_SLOTS": "32",
        "STENO_JOBS_FETCH_INTERVAL_SECONDS": "0.1",
    }
    with running_mesh(folder, {**settings, **environment}, prefix=prefix if allowed else ()) as mesh:
        yield NamedMesh(mesh, web, allowed)


@contextmanager
def public_web() -> Iterator[Web]:
    """A web on the one address that such a mesh may fetch from."""
    with running_web(PUBLIC) as web:
        yield web


def _in_ascii(name: str) -> str:
    return name.encode("idna").decode("ascii")
