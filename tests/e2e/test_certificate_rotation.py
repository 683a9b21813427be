"""Certificates of a running mesh are replaced: every server shows its new one, nothing restarts and no job notices."""

import json
import socket
import ssl
from functools import partial
from pathlib import Path

from cryptography import x509

from services.stack.certificates.folder import make_certificates
from tests.e2e.mesh import SAMPLES, Mesh, running_mesh, wait_for

SERVERS = ("billing", "storage", "jobs", "inference", "nats")
CHILDREN = (*SERVERS, "gateway")
SECONDS = 60.0


def shown_by(mesh: Mesh, server: str) -> int:
    """Serial number of the certificate that a server shows to its callers."""
    if server == "nats":
        host, port = "127.0.0.1", json.loads((mesh.data / "nats.conf").read_text())["port"]
    else:
        host, port = mesh.ready["grpc"][server].rsplit(":", 1)
    operator = mesh.certificates.of("operator")
    context = ssl.create_default_context(cafile=str(operator.authority))
    context.load_cert_chain(operator.certificate, operator.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        return x509.load_der_x509_certificate(encrypted.getpeercert(binary_form=True) or b"").serial_number


def _differs(mesh: Mesh, server: str, serial_number: int) -> bool:
    return shown_by(mesh, server) != serial_number


def test_certificates_are_replaced_under_a_job(tmp_path: Path) -> None:
    with running_mesh(tmp_path, tls=True) as mesh:
        children = {name: mesh.child_pid(name) for name in CHILDREN}
        before = {server: shown_by(mesh, server) for server in SERVERS}
        job = mesh.submitted(SAMPLES / "meeting.flac")
        assert set(make_certificates(mesh.certificates, anew=True)) > set(CHILDREN)
        for server in SERVERS:
            wait_for(partial(_differs, mesh, server, before[server]), SECONDS, f"{server}'s new certificate")
        assert mesh.finished(job)["status"] == "done"
        assert mesh.result(job)["text"]
        assert mesh.transcribed(SAMPLES / "clips" / "hello.flac")["text"]
        assert {name: mesh.child_pid(name) for name in CHILDREN} == children
