"""Whose certificate may call what: every method of the protos, every identity."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from joserfc.jwk import OKPKey

from services.mesh.identity import API_KEY_METADATA_KEY, TOKEN_METADATA_KEY, Caller, CallerKind, TokenSigner, load_key, write_new_key
from services.mesh.tls.identity import role_of
from services.stack.certificates.folder import IDENTITIES, CertificateFolder, make_certificates
from steno.access.v1 import access_pb2
from tests.mesh.tls_world import (
    API_KEY,
    AUDIENCE,
    World,
    callers_of,
    credentials,
    descriptors,
    issue,
    methods,
    open_world,
    outcome,
    path_of,
)

ROOT = Path(__file__).resolve().parents[2]
EVERYBODY = (*IDENTITIES, "client/lab")
REFUSED = {
    "of two identities": ("spiffe://steno/gateway", "spiffe://steno/operator"),
    "of none": (),
    "of another domain": ("spiffe://elsewhere/operator",),
}
UNKNOWN: dict[str, dict[str, Any]] = {"of an authority that nobody knows": {"foreign": True}, "that has ended": {"days": -1}}
# Programs of other teams call these, see docs/grpc.md.
PUBLIC = {"JobsService", "DetectionJobsService", "StorageService", "DatasetsService", "InferenceService"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CertificateFolder:
    made = CertificateFolder(tmp_path_factory.mktemp("certificates"))
    make_certificates(made, EVERYBODY)
    return made


@pytest.fixture
def key(tmp_path: Path) -> OKPKey:
    write_new_key(tmp_path / "identity.pem")
    return load_key(tmp_path / "identity.pem")


@pytest.fixture
async def world(folder: CertificateFolder, key: OKPKey) -> AsyncIterator[World]:
    async with open_world(folder.open("billing"), key) as opened:
        yield opened


def shown(world: World, identity: str) -> Sequence[tuple[str, str]]:
    """What a service or the operator shows beside its certificate, and a client."""
    if role_of(identity) == "client":
        return [(API_KEY_METADATA_KEY, API_KEY)]
    kind = CallerKind.OPERATOR if identity == "operator" else CallerKind.SERVICE
    caller = Caller(kind, identity, "w", "workspace")
    return [(TOKEN_METADATA_KEY, TokenSigner(world.key, identity).mint(caller, AUDIENCE))]


@pytest.mark.parametrize("identity", EVERYBODY)
async def test_a_service_may_call_the_methods_that_name_it_and_no_other(world: World, folder: CertificateFolder, identity: str) -> None:
    async with grpc.aio.secure_channel(world.address, credentials(folder, identity)) as channel:
        got = {path_of(method): await outcome(channel, method, shown(world, identity)) for method in methods()}
    allowed = {path_of(method) for method in methods() if role_of(identity) in callers_of(method)}
    assert got == {path: "OK" if path in allowed else "PERMISSION_DENIED SERVICE_NOT_ALLOWED" for path in got}
    assert set(world.handled) == allowed


@pytest.mark.parametrize("certificate", REFUSED)
async def test_a_certificate_without_exactly_one_identity_of_the_mesh_calls_nothing(
    world: World, folder: CertificateFolder, certificate: str
) -> None:
    issue(folder, "odd", REFUSED[certificate])
    async with grpc.aio.secure_channel(world.address, credentials(folder, "odd")) as channel:
        got = {await outcome(channel, method, shown(world, "operator")) for method in methods()}
    assert got == {"UNAUTHENTICATED CERTIFICATE_REFUSED"}
    assert not world.handled


@pytest.mark.parametrize("certificate", [*UNKNOWN, "that is missing", "and plain text"])
async def test_whoever_shows_no_certificate_that_counts_is_not_heard(world: World, folder: CertificateFolder, certificate: str) -> None:
    async with AsyncExitStack() as stack:
        if certificate in UNKNOWN:
            issue(folder, "stranger", ["spiffe://steno/operator"], **UNKNOWN[certificate])
            opened = grpc.aio.secure_channel(world.address, credentials(folder, "stranger"))
        elif certificate == "that is missing":
            roots = folder.of("operator").authority.read_bytes()
            opened = grpc.aio.secure_channel(world.address, grpc.ssl_channel_credentials(roots))
        else:
            opened = grpc.aio.insecure_channel(world.address)
        channel = await stack.enter_async_context(opened)
        got = {await outcome(channel, method, shown(world, "operator")) for method in methods()}
    assert got == {"UNAVAILABLE SERVICE_UNAVAILABLE"}
    assert not world.handled


@pytest.mark.parametrize(("identity", "issuer"), [("gateway", "jobs"), ("gateway", "operator"), ("client/lab", "client/lab")])
async def test_a_token_counts_only_from_the_service_that_signed_it(
    world: World, folder: CertificateFolder, identity: str, issuer: str
) -> None:
    find = next(method for method in methods() if method.name == "FindJob")
    caller = Caller(CallerKind.KEY, issuer, "w", "workspace")
    metadata = [(TOKEN_METADATA_KEY, TokenSigner(world.key, issuer).mint(caller, AUDIENCE))]
    async with grpc.aio.secure_channel(world.address, credentials(folder, identity)) as channel:
        assert await outcome(channel, find, metadata) == "UNAUTHENTICATED INVALID_CALLER_TOKEN"
    assert not world.handled


def test_the_callers_of_a_method_are_those_whose_code_calls_it() -> None:
    code = {service: "\n".join(_sources(ROOT / "services" / service)) for service in ("gateway", "jobs", "billing", "storage", "inference")}
    code["operator"] = "\n".join(_sources(ROOT / "services" / "stack"))
    asking = {service for service in code if re.search(r"import (ApiKeys|open_authentication)\b", code[service])}
    for service in descriptors():
        for method in service.methods:
            used = {one for one, text in code.items() if re.search(rf"\.{method.name}\(", text)}
            used |= asking if method.name == "Authenticate" else set()
            public = method.GetOptions().Extensions[access_pb2.access] in (access_pb2.ACCESS_CALLER, access_pb2.ACCESS_IDENTIFIED)
            used |= {"client"} if service.name in PUBLIC and public else set()
            # Nothing of the mesh calls them: the ledger's books are the operator's to read.
            assert callers_of(method) == (used or {"operator"}), method.full_name


def _sources(folder: Path) -> Iterator[str]:
    return (path.read_text() for path in folder.rglob("*.py"))
