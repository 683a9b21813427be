"""Certificates are taken up while a service runs, and nothing that is said in the meantime is lost."""

import asyncio
import shutil
import ssl
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from joserfc.jwk import OKPKey
from prometheus_client import REGISTRY
from pydantic import ValidationError

from services.mesh.channel import open_channel
from services.mesh.identity import TokenSigner, acting_for, load_key, write_new_key
from services.mesh.nats_config import NatsTls, write_config
from services.mesh.nats_link import open_link
from services.mesh.settings import ServiceSettings, UnusableSettings
from services.mesh.status import RemoteError
from services.mesh.tls.certificates import open_certificates
from services.mesh.tls.settings import TlsSettings, tls_problems
from services.stack.certificates.folder import CertificateFolder, make_certificates
from steno.jobs.v1.jobs_service_pb2 import DESCRIPTOR, FindJobRequest, WatchJobRequest
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceAsyncStub
from tests.mesh.tls_world import AUDIENCE, issue, open_world
from tests.servers import NatsServer, free_port, nats_binary, nats_server, wait_for_port

MADE = ("gateway", "jobs", "billing", "nats", "client/lab")


@pytest.fixture
def folder(tmp_path: Path) -> CertificateFolder:
    made = CertificateFolder(tmp_path / "certificates")
    make_certificates(made, MADE)
    return made


@pytest.fixture
def key(tmp_path: Path) -> OKPKey:
    write_new_key(tmp_path / "identity.pem")
    return load_key(tmp_path / "identity.pem")


def change_authority(folder: CertificateFolder) -> None:
    """Everything anew, the authority too."""
    shutil.rmtree(folder.root / "authority")
    make_certificates(folder, MADE)


async def test_a_new_authority_is_taken_up_at_once_and_a_stream_goes_on(folder: CertificateFolder, key: OKPKey) -> None:
    server, gateway, late = folder.open("billing"), folder.open("gateway"), folder.open("gateway")
    services = [DESCRIPTOR.services_by_name["JobsService"]]
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(open_world(server, key))

        async def stub(tls: object) -> JobsServiceAsyncStub:
            opening = open_channel(world.address, audience=AUDIENCE, signer=TokenSigner(key, "gateway"), services=services, tls=tls)  # type: ignore[arg-type]
            return JobsServiceAsyncStub(await stack.enter_async_context(opening))

        jobs, outdated = await stub(gateway), await stub(late)
        with acting_for("w"):
            await jobs.FindJob(FindJobRequest())
            stream = jobs.WatchJob(WatchJobRequest())
            change_authority(folder)
            server.refresh()
            gateway.refresh()
            await jobs.FindJob(FindJobRequest())
            with pytest.raises(RemoteError, match="UNAVAILABLE"):
                await outdated.FindJob(FindJobRequest(), timeout=5)
            assert len([answer async for answer in stream]) == 1
    assert sum(world.handled.values()) == 3


async def test_contexts_that_were_given_away_speak_with_the_newest_certificate(folder: CertificateFolder) -> None:
    server, client, outdated = folder.open("billing"), folder.open("gateway"), folder.open("jobs")
    theirs, ours, old = server.server_context(), client.client_context(), outdated.client_context()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=theirs)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        change_authority(folder)
        server.refresh()
        client.refresh()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ours)
        assert await reader.readline() == b"hello\n"
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)


async def test_files_swapped_by_a_symbolic_link_are_noticed(folder: CertificateFolder, tmp_path: Path) -> None:
    volume, shown = tmp_path / "volume", folder.of("jobs").folder
    shutil.copytree(shown, volume / "..1")
    (volume / "..data").symlink_to("..1")
    names = {"certificate": "tls.crt", "key": "tls.key", "authority": "ca.crt"}
    for name in names.values():
        (volume / name).symlink_to(Path("..data") / name)
    settings = TlsSettings(**{f"tls_{what}_file": volume / name for what, name in names.items()})  # type: ignore[arg-type]
    async with open_certificates(settings, every_seconds=0.02) as certificates, asyncio.timeout(20):
        assert certificates is not None
        first = certificates.current
        make_certificates(folder, ["jobs"], anew=True)
        shutil.copytree(shown, volume / "..2")
        (volume / "..new").symlink_to("..2")
        (volume / "..new").replace(volume / "..data")
        while certificates.current is first:
            await asyncio.sleep(0.01)
        assert certificates.current.content[0] == (volume / "..2" / "tls.crt").read_bytes()


@pytest.mark.parametrize("fault", ["key of another", "of another service", "ended", "of an authority that is not trusted"])
def test_a_new_certificate_that_cannot_be_used_leaves_the_old_one(folder: CertificateFolder, fault: str) -> None:
    certificates = folder.open("jobs")
    kept, refused = certificates.current, REGISTRY.get_sample_value("steno_certificates_refused_total") or 0.0
    if fault == "key of another":
        folder.of("jobs").key.write_bytes(folder.of("gateway").key.read_bytes())
    else:
        uri = "spiffe://steno/gateway" if fault == "of another service" else "spiffe://steno/jobs"
        issue(folder, "jobs", [uri], days=-1 if fault == "ended" else 1, foreign=fault.startswith("of an authority"))
    certificates.refresh()
    assert REGISTRY.get_sample_value("steno_certificates_refused_total") == refused
    certificates.refresh()
    certificates.refresh()
    assert certificates.current is kept
    assert REGISTRY.get_sample_value("steno_certificates_refused_total") == refused + 1
    ends = REGISTRY.get_sample_value("steno_certificate_end_time_seconds", {"identity": "jobs"})
    assert ends == kept.ends.timestamp()


def test_a_service_does_not_start_with_a_certificate_of_two_identities(folder: CertificateFolder) -> None:
    issue(folder, "jobs", ["spiffe://steno/jobs", "spiffe://steno/billing"])
    with pytest.raises(UnusableSettings, match="must name one URI, spiffe://steno/SERVICE"):
        folder.open("jobs")


def test_certificate_key_and_authority_are_named_together_or_not_at_all(folder: CertificateFolder) -> None:
    with pytest.raises(ValidationError, match="tls_key_file and tls_authority_file must be set too"):
        ServiceSettings(tls_certificate_file=folder.of("jobs").certificate)
    assert len(tls_problems(ServiceSettings())) == 1
    own = folder.of("jobs")
    encrypted = ServiceSettings(tls_certificate_file=own.certificate, tls_key_file=own.key, tls_authority_file=own.authority)
    assert tls_problems(encrypted) == []


async def test_a_bus_in_plain_text_is_not_spoken_to(folder: CertificateFolder, tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats") as nats:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2), open_link(nats.url, name="jobs", tls=folder.open("jobs")):
                raise AssertionError("connected")
    log = (nats.directory / "nats.log").read_text()
    assert "Client parser ERROR" in log or "parser" in log.lower()


async def test_the_bus_takes_services_with_a_certificate_and_nobody_else(folder: CertificateFolder, tmp_path: Path) -> None:
    own, port = folder.of("nats"), free_port()
    tls = NatsTls(own.certificate, own.key, own.authority, ["spiffe://steno/jobs"])
    config = tmp_path / "nats.json"
    write_config(config, port, tmp_path / "store", tls=tls)
    server = NatsServer(tmp_path, port)
    with (tmp_path / "nats.log").open("ab") as log:
        server.process = subprocess.Popen([nats_binary(), "-c", str(config)], stdout=log, stderr=log)
    try:
        await wait_for_port(port)
        async with asyncio.timeout(20), open_link(server.url, name="jobs", tls=folder.open("jobs")) as link:
            await link.client.flush()
        for identity in ("client/lab", ""):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2), open_link(server.url, name="x", tls=folder.open(identity) if identity else None):
                    raise AssertionError("connected")
    finally:
        server.kill()


def test_a_probe_asks_with_the_certificate_of_its_service(folder: CertificateFolder, key: OKPKey) -> None:
    def asked(address: str, environment: Mapping[str, str]) -> int:
        return subprocess.run([sys.executable, "-m", "services.mesh.probe", address], env=environment, timeout=60, check=False).returncode

    async def ask() -> list[int]:
        async with open_world(folder.open("billing"), key) as world:
            own = folder.of("billing").environment("STENO_BILLING_")
            return [await asyncio.to_thread(asked, world.address, environment) for environment in (own, {})]

    assert asyncio.run(ask()) == [0, 1]
