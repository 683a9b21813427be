"""The data plane over TLS: bytes for callers whose certificate is for one of those that move bytes."""

import ssl
from pathlib import Path

import httpx2
import pytest

from services.stack.certificates.folder import CertificateFolder, make_certificates
from services.storage.data_plane.app import make_data_plane
from services.storage.data_plane.server import listen, open_data_plane
from tests.storage.conftest import Storehouse

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_bytes_are_moved_for_the_services_that_move_them_alone(disk_storehouse: Storehouse, tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "certificates")
    make_certificates(folder, ["storage", "gateway", "inference", "client/lab", "billing", "operator"])
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with open_data_plane(make_data_plane(disk_storehouse.depot, 8), listener, 1.0, folder.open("storage")):
            _, url = await disk_storehouse.begin()
            path = httpx2.URL(url).raw_path.decode()

            async def answer(identity: str, method: str = "DELETE") -> httpx2.Response:
                trust = folder.open(identity).client_context()
                async with httpx2.AsyncClient(verify=trust, trust_env=False, timeout=5) as http:
                    return await http.request(method, f"https://127.0.0.1:{port}{path}", content=b"a" if method == "PUT" else None)

            for identity in ("billing", "operator"):
                refused = await answer(identity)
                assert (refused.status_code, refused.json()["code"]) == (403, "SERVICE_NOT_ALLOWED")
            for identity in ("inference", "client/lab"):
                assert (await answer(identity)).status_code == 405
            assert (await answer("gateway", "PUT")).status_code == 201
            unknown = ssl.create_default_context(cafile=str(folder.of("storage").authority))
            async with httpx2.AsyncClient(verify=unknown, trust_env=False) as http:
                with pytest.raises(httpx2.TransportError):
                    await http.get(f"https://127.0.0.1:{port}{path}")
            async with httpx2.AsyncClient(trust_env=False) as http:
                with pytest.raises(httpx2.TransportError):
                    await http.get(f"http://127.0.0.1:{port}{path}")
